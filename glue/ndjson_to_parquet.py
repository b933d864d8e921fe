"""The default Glue job: converts the files of a manifest to Parquet. Glue 5.0: Spark 3.5, Python 3.11, pyarrow 17.

Reads     the file versions that the manifest at --MANIFEST_PATH names
Extends   <--OUTPUT_PATH>/schema.json, the one schema of all output
Writes    <--OUTPUT_PATH>/parquet/date=<date>/manifest=<name>/    a row for every line that is a JSON object
          <--OUTPUT_PATH>/malformed/date=<date>/manifest=<name>/  other lines (NDJSON): file, line_number, text, reason
Replaces  both folders as a whole, and nothing else: a repeated run gives the same values.
Registers the folder of Parquet as a partition of the table --GLUE_TABLE in --GLUE_DATABASE, if they are given

The schema only grows: a column keeps its name and type for ever, and new fields become new columns. A value that does
not fit its column is kept as JSON in the column _rescued: columns and _rescued together are the row.

Spark hands out tasks, and no row leaves its task. A task reads its files batch by batch, parses each line once, and
writes one Parquet file with pyarrow on its local disk. It has the columns of the schema; the first batch decides the
columns of new fields. A task whose later batches need other columns reads on for the shape of the new fields, but
writes no more. The driver merges the shapes of all tasks and extends the schema. Tasks whose file has other columns
than the extended schema run again with it. If there are no new fields, each file is read once; otherwise some are read
twice.

A task uploads its file in parts, and the driver completes the uploads after every task has succeeded. S3 shows no file
before that: a task that is retried, or runs twice, cannot double a row. The bucket's lifecycle rule removes the uploads
that a failed run leaves. The marker _SUCCESS beside the Parquet files is removed first and written last: both folders
are complete where it exists.

Objects are read by GetObject, not by Spark's readers: Hadoop's paths are not S3 keys. Hadoop takes `*?[]{}\\` for
patterns, folds `a//b` into `a/b`, and silently skips names that begin with `_` or `.`.

The columns of new fields come from the whole manifest. A field of several types gets the narrowest type that holds all
its values exactly; if there is no such type, the column is text, as JSON, with every number as it was written. Spark's
or Arrow's own inference is not used: it loses empty names, empty objects and large numbers, makes two columns of a
field that a line names twice, and has no limit for objects whose names are data.
"""

import argparse
import gc
import json
import logging
import math
import random
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import partial, reduce
from itertools import chain
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from uuid import uuid4

import boto3
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from pyspark.sql import SparkSession

logger = logging.getLogger("ndjson_to_parquet")

# The record of a manifest names its run within seconds after the start, unless the response of the start was lost.
POLL_SECONDS = 5
POLLS = 12
# Each failed try means that another run has extended the schema. At most 50 runs of the stack's job are active at once.
SCHEMA_TRIES = 200
SCHEMA_WAIT_SECONDS = 0.5

CHUNK_BYTES = 1024**2
# Input bytes per task, which writes one output file; the tasks are a multiple of the cores. Small tasks are distributed
# evenly, large files need few read requests.
BYTES_PER_TASK = 32 * 1024**2
# Input bytes that a task holds in memory at a time: parsed, and as columns until a row group is written.
BYTES_PER_BATCH = 4 * 1024**2
BATCHES_PER_ROW_GROUP = 16
# Lines that are parsed together: if one of them is malformed, each is parsed by itself.
BYTES_PER_BLOCK = 64 * 1024
BYTES_PER_UPLOAD_PART = 64 * 1024**2
THREADS = 16

# An object with more names than this is a map: its names are data, not columns. Also the most columns of the schema.
MAX_NAMES = 1000
# Objects and lists within each other: deeper ones are text.
MAX_LEVELS = 30
# Deeper lines are malformed. Python's parser gives up at about 950, earlier or later as its caller's stack is deep.
MAX_NESTING = 800
# Digits with their point. A double has 15 decimal digits, IEEE 754's DBL_DIG.
SURE_DIGITS = 16
# Columns that do not come from the data: values that do not fit, as JSON; the source file of a row; and the partition
# columns, which are in the names of the folders.
RESCUED = "_rescued"
SOURCE = "source_file"
PARTITIONS = ("date", "manifest")
RESERVED = (RESCUED, SOURCE, *PARTITIONS)

# URI, version id or None, etag without quotes or None.
File: TypeAlias = tuple[str, str | None, str | None]
# URI, line number, the line. A file that cannot be read any more has a reason instead of lines.
Line: TypeAlias = tuple[str, int, bytes]
# Why a file cannot be read any more, by the code of S3's error; of any file, of a version, and of an etag.
GONE = {"NoSuchKey": "the file is gone: it was deleted after its manifest was written"}
GONE_VERSION = {
    "NoSuchVersion": "the version of the file is gone: it was deleted after its manifest was written",
    "MethodNotAllowed": "the version of the file is a delete marker, which has no content",
}
GONE_CONTENT = {"PreconditionFailed": "the file was replaced after its manifest was written: it has another etag"}
# Key, upload id, etags of the parts.
Upload: TypeAlias = tuple[str, str, list[str]]

# The type of a value: the name of a scalar type, or [shape of the elements], or {name: shape}.
Shape: TypeAlias = "str | list[Shape] | dict[str, Shape]"
NULL: Shape = "null"
# Values of several types, or a value that no type holds exactly.
JSON: Shape = "json"
SCALARS: dict[type, Shape] = {type(None): NULL, bool: "boolean", float: "double", str: "string"}
# The largest values of the types. An `int` fits into a double as well (RFC 8259, 6).
WHOLE_NUMBERS = {"int": 2**53, "long": 2**63 - 1, "decimal": 10**38 - 1}
WIDER: dict[frozenset[str], Shape] = {
    frozenset({"int", "long"}): "long",
    frozenset({"int", "decimal"}): "decimal",
    frozenset({"long", "decimal"}): "decimal",
    frozenset({"int", "double"}): "double",
}
# The type of a column: the name of a scalar type, or [type of the elements], or {name: type}.
ColumnType: TypeAlias = "str | list[ColumnType] | dict[str, ColumnType]"
# {field: type of its column}, in the order of the columns.
Schema: TypeAlias = "dict[str, ColumnType]"
DECIMAL = "decimal(38,0)"


def main(argv: Sequence[str]) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    options = parse(argv)
    record = take_manifest(
        boto3.client("dynamodb"),
        options.TRACKING_TABLE,
        options.DATE_PREFIX,
        options.MANIFEST_PATH,
        options.JOB_RUN_ID,
    )
    if record is None:
        return
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.getOrCreate()
    try:
        convert(
            spark,
            read_manifest(options.MANIFEST_PATH),
            int(record["file_size_bytes"]["N"]),
            options.OUTPUT_PATH,
            f"date={options.DATE_PREFIX}/manifest={PurePosixPath(options.MANIFEST_PATH).stem}",
            read_column_types(spark, options.COLUMN_TYPES),
            Catalog(options.GLUE_DATABASE, options.GLUE_TABLE) if options.GLUE_DATABASE else None,
        )
    except Mistake as mistake:
        sys.exit(f"{mistake}")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Glue hands over the run's arguments and JOB_RUN_ID among others; awsglue's getResolvedOptions does just this."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("MANIFEST_PATH", "DATE_PREFIX", "JOB_RUN_ID", "TRACKING_TABLE", "OUTPUT_PATH"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("COLUMN_TYPES", "GLUE_DATABASE", "GLUE_TABLE"):
        parser.add_argument(f"--{name}", default="")
    return parser.parse_known_args(argv)[0]


def take_manifest(
    dynamodb: "DynamoDBClient",
    table: str,
    date_prefix: str,
    manifest_path: str,
    run_id: str,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any] | None:
    """The manifest's record once it names this run; None where it names another, which does the work then.

    Glue has no idempotency token, so a manifest can have a second run. A record that names none after a minute (the
    answer to the start was lost) is made to name this one, under the state machine's own condition: one run wins.
    Raises LookupError where the table has no such record.
    """
    for poll in range(POLLS + 1):
        record = find_record(dynamodb, table, date_prefix, manifest_path)
        named = record.get("job_run_id", {}).get("S")
        if named is not None:
            if named == run_id:
                return record
            logger.info("%s belongs to run %s: this one, %s, leaves", manifest_path, named, run_id)
            return None
        if poll < POLLS:
            sleep(POLL_SECONDS)
    logger.info("%s names no run: this one, %s, takes it", manifest_path, run_id)
    try:
        dynamodb.update_item(
            TableName=table,
            Key={name: record[name] for name in ("date_prefix", "file_name")},
            UpdateExpression="SET #status = :started, job_run_id = :run_id, updated_at = :now",
            ConditionExpression="#status = :open",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":started": {"S": "started"},
                ":open": {"S": "open"},
                ":run_id": {"S": run_id},
                ":now": {"S": datetime.now(UTC).isoformat()},
            },
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        logger.info("another run was first: this one leaves")
        return None
    return record


def find_record(dynamodb: "DynamoDBClient", table: str, date_prefix: str, manifest_path: str) -> dict[str, Any]:
    """Reads the records of the date's manifests with the same batch number: few, and small."""
    batch = "-".join(PurePosixPath(manifest_path).name.split("-")[:2]) + "-"
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table,
        ConsistentRead=True,
        KeyConditionExpression="date_prefix = :partition AND begins_with(file_name, :batch)",
        FilterExpression="file_path = :path",
        ExpressionAttributeValues={
            ":partition": {"S": f"MANIFEST#{date_prefix}"},
            ":batch": {"S": batch},
            ":path": {"S": manifest_path},
        },
    )
    for page in pages:
        for item in page["Items"]:
            return dict(item)
    raise LookupError(f"table {table} has no record of {manifest_path}")


def read_manifest(manifest_path: str) -> list[File]:
    bucket, key = split_uri(manifest_path)
    return files_of(json.load(boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"]))


def files_of(document: dict[str, Any]) -> list[File]:
    """The files of a manifest. A manifest of an earlier release names their URIs only."""
    if "files" in document:
        return [(file["uri"], file["versionId"], file["etag"] or None) for file in document["files"]]
    return [(uri, None, None) for location in document["fileLocations"] for uri in location["URIPrefixes"]]


def split_uri(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


# The driver


class Part(NamedTuple):
    """Result of a task. `growth`: the shape of what its rows have beyond the schema."""

    number: int
    growth: Shape
    rows: int
    malformed: int
    uploads: list[Upload]
    is_complete: bool
    """False: the rows need other columns than the first batch. Nothing is uploaded."""


def convert(
    spark: "SparkSession",
    files: Sequence[File],
    size_bytes: int,
    output: str,
    folder: str,
    fixed: Schema,
    catalog: "Catalog | None" = None,
) -> None:
    """Writes both folders. `size_bytes`: the files' total size, about. `output`: s3://bucket or s3://bucket/prefix.
    `fixed`: types of fields, for those that have no column yet.

    The schema is extended before any file is visible. A run that ends in between leaves columns without values. The
    catalog has no partition of the folder while its files are replaced.
    """
    bucket, prefix = split_uri(output.rstrip("/"))
    parquet, malformed = (f"{prefix}/{kind}/{folder}/".lstrip("/") for kind in ("parquet", "malformed"))
    document = f"{prefix}/schema.json".lstrip("/")
    cores = spark.sparkContext.defaultParallelism
    tasks = max(1, min(len(files), math.ceil(size_bytes / BYTES_PER_TASK / cores) * cores))
    shares = [(task, files[len(files) * task // tasks : len(files) * (task + 1) // tasks]) for task in range(tasks)]
    s3 = boto3.client("s3")

    def run(shares: Sequence[tuple[int, Sequence[File]]], schema: Schema, is_final: bool) -> list[Part]:
        task = partial(convert_share, schema, is_final, bucket, parquet, malformed)
        return [Part(*part) for part in spark.sparkContext.parallelize(shares, len(shares)).map(task).collect()]

    stored, _ = read_schema(s3, bucket, document)
    warn_of_kept_types(stored, fixed)
    known = with_fixed(stored, fixed)
    parts = run(shares, known, is_final=False)
    growth = reduce(merge, (part.growth for part in parts))
    schema = extend_document(s3, bucket, document, lambda stored: extend(with_fixed(stored, fixed), growth))

    done = [part for part in parts if has_columns(part, known, schema)]
    again = [part for part in parts if not has_columns(part, known, schema)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(partial(abort, s3, bucket), (upload for part in again for upload in part.uploads)))
    if again:
        done += run([shares[part.number] for part in again], schema, is_final=True)

    rows = sum(part.rows for part in done)
    if count := sum(part.malformed for part in done):
        logger.warning("%s lines or files are malformed or gone: s3://%s/%s", count, bucket, malformed)
    values = [part.partition("=")[2] for part in folder.split("/")]
    if catalog:
        catalog.remove_partition(values)
    publish(s3, bucket, parquet, malformed, [upload for part in done for upload in part.uploads], schema)
    if catalog:
        catalog.add_partition(values, f"s3://{bucket}/{parquet}", lambda: read_schema(s3, bucket, document)[0])
    logger.info("%s files are %s lines in s3://%s/%s", len(files), rows, bucket, parquet)


def has_columns(part: Part, known: Schema, schema: Schema) -> bool:
    """Whether the file of a task has the columns of `schema`. A task without rows has no file."""
    return part.is_complete and (not part.rows or is_same(extend(known, part.growth), schema))


def publish(
    s3: "S3Client", bucket: str, parquet: str, malformed: str, uploads: Sequence[Upload], schema: Schema
) -> None:
    """Replaces both folders by these uploads."""
    delete(s3, bucket, parquet)
    delete(s3, bucket, malformed)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(partial(complete, s3, bucket), uploads))
    if not any(key.startswith(parquet) for key, _, _ in uploads):
        s3.put_object(Bucket=bucket, Key=f"{parquet}part-00000.parquet", Body=no_rows(schema))
    for folder in (malformed, parquet):
        s3.put_object(Bucket=bucket, Key=f"{folder}_SUCCESS", Body=b"")


def no_rows(schema: Schema) -> bytes:
    """A Parquet file without rows: readers find the table."""
    import pyarrow
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table_of(Batch([], [], []), Fields([]), schema), sink)
    return bytes(sink.getvalue())


def complete(s3: "S3Client", bucket: str, upload: Upload) -> None:
    key, upload_id, etags = upload
    s3.complete_multipart_upload(
        Bucket=bucket,
        Key=key,
        UploadId=upload_id,
        MultipartUpload={"Parts": [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, start=1)]},
    )


def abort(s3: "S3Client", bucket: str, upload: Upload) -> None:
    key, upload_id, _ = upload
    s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)


def delete(s3: "S3Client", bucket: str, prefix: str) -> None:
    """Deletes all objects of a folder, _SUCCESS first."""
    s3.delete_object(Bucket=bucket, Key=f"{prefix}_SUCCESS")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        if keys := [item["Key"] for item in page.get("Contents", [])]:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True})


# The document of the schema: one for all output, beside its folders


class Mistake(Exception):
    """A user's mistake, with its remedy. It ends the run with this message, without a stack trace."""


def read_schema(s3: "S3Client", bucket: str, key: str) -> tuple[Schema, str | None]:
    """The schema and the etag of its document; empty and None if there is no document yet. Raises Mistake."""
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return {}, None
    try:
        return of_spark(answer["Body"].read()), answer["ETag"]
    except ValueError as error:
        raise Mistake(f"s3://{bucket}/{key} is no schema: {error}. Restore its last version") from None


def extend_document(s3: "S3Client", bucket: str, key: str, change: Callable[[Schema], Schema]) -> Schema:
    """The schema after the change, which is stored unless it changes nothing.

    Other runs may extend it at the same time: the put is conditional. If another run was first, its schema is changed
    in turn, so no column is lost. Raises RuntimeError when others were first too often.
    """
    for _ in range(SCHEMA_TRIES):
        stored, etag = read_schema(s3, bucket, key)
        schema = change(stored)
        if is_same(schema, stored) or put_if_unchanged(s3, bucket, key, to_spark(schema), etag):
            return schema
        logger.info("another run has extended s3://%s/%s: reading it again", bucket, key)
        time.sleep(random.uniform(0, SCHEMA_WAIT_SECONDS))
    raise RuntimeError(f"s3://{bucket}/{key} was changed by others {SCHEMA_TRIES} times in a row")


def put_if_unchanged(s3: "S3Client", bucket: str, key: str, body: bytes, etag: str | None) -> bool:
    """Whether the object was written: only if it still has this etag; with None, only if there is none.

    The put_object of Glue 5.0's botocore has no parameter for the condition, so its header is set here.
    """
    condition = {"If-None-Match": "*"} if etag is None else {"If-Match": etag}

    def add_condition(params: dict[str, Any], **_: Any) -> None:
        params["headers"].update(condition)

    s3.meta.events.register("before-call.s3.PutObject", add_condition)
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
    except ClientError as error:
        # NoSuchKey: the document that was read is deleted.
        if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"):
            raise
        return False
    finally:
        s3.meta.events.unregister("before-call.s3.PutObject", add_condition)
    return True


def to_spark(schema: Schema) -> bytes:
    """The schema of the table as Spark's StructType.json(). A column of another name has its field as metadata."""
    columns = column_names(schema)
    fields = [
        spark_field(columns[name], spark_type(type_), {} if columns[name] == name else {"field": name})
        for name, type_ in schema.items()
    ]
    fields += [spark_field(name, "string", {}) for name in RESERVED]
    return json.dumps({"type": "struct", "fields": fields}, ensure_ascii=False, indent=1).encode()


def spark_field(name: str, type_: Any, metadata: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "type": type_, "nullable": True, "metadata": metadata}


def spark_type(type_: ColumnType) -> Any:
    if isinstance(type_, list):
        return {"type": "array", "elementType": spark_type(type_[0]), "containsNull": True}
    if isinstance(type_, dict):
        return {"type": "struct", "fields": [spark_field(name, spark_type(inner), {}) for name, inner in type_.items()]}
    return DECIMAL if type_ == "decimal" else type_


def of_spark(text: bytes | str) -> Schema:
    """The schema of a document. Raises ValueError."""
    document = json.loads(text)
    if not isinstance(document, dict) or document.get("type") != "struct":
        raise ValueError("not a schema in Spark's JSON format")
    fields = [
        (field["metadata"].get("field", field["name"]), field["type"])
        for field in document["fields"]
        if "field" in field["metadata"] or field["name"] not in RESERVED
    ]
    return column_types(fields, "")


def column_types(fields: Iterable[tuple[str, Any]], within: str) -> dict[str, ColumnType]:
    """The types of columns, or of a struct's fields, from Spark's. Raises ValueError."""
    types: dict[str, ColumnType] = {}
    for name, type_ in fields:
        if name in types:
            raise ValueError(f"it names {within + name!r} twice")
        types[name] = type_of_spark(type_, within + name)
    if len(types) > MAX_NAMES:
        raise ValueError(f"{within[:-1] or 'it'} has more than {MAX_NAMES} fields")
    return types


def type_of_spark(type_: Any, column: str) -> ColumnType:
    match type_:
        case {"type": "array", "elementType": element}:
            return [type_of_spark(element, column)]
        case {"type": "struct", "fields": fields}:
            struct = column_types(((field["name"], field["type"]) for field in fields), f"{column}.")
            if not 0 < len({name.lower() for name in struct}) == len(struct):
                raise ValueError(f"the struct {column!r} has no fields, or two that differ in case only")
            return struct
        case "boolean" | "long" | "double" | "string":
            return str(type_)
        case "decimal(38,0)":
            return "decimal"
    found = type_["type"] if isinstance(type_, dict) else type_
    raise ValueError(
        f"the column {column!r} has the type {found}; the types are boolean, long (in DDL: BIGINT), double, {DECIMAL}, "
        "string, array and struct"
    )


# The table in Glue's catalog

TABLE_INPUT = ("Name", "Description", "Owner", "Retention", "PartitionKeys", "TableType", "Parameters")
LONGEST_NAME = 255
LONGEST_TYPE = 131_072
HIVE_TYPES = {"long": "bigint", "decimal": DECIMAL}


class Catalog:
    """The table over the output, with a partition for each manifest whose folder is complete."""

    def __init__(self, database: str, table: str) -> None:
        self._glue = boto3.client("glue")
        self._database = database
        self._table = table

    def remove_partition(self, values: list[str]) -> None:
        """`values`: date and manifest."""
        with suppress(self._glue.exceptions.EntityNotFoundException):
            self._glue.delete_partition(DatabaseName=self._database, TableName=self._table, PartitionValues=values)

    def add_partition(self, values: list[str], location: str, read: Callable[[], Schema]) -> None:
        """`read`: reads the schema, whose columns the table gets first. Raises Mistake where there is no table."""
        storage = self._extend_columns(read)
        names = {"DatabaseName": self._database, "TableName": self._table}
        partition = {"Values": values, "StorageDescriptor": storage | {"Location": location}}
        try:
            self._glue.create_partition(**names, PartitionInput=partition)  # type: ignore[arg-type]
        except self._glue.exceptions.AlreadyExistsException:
            self._glue.update_partition(
                **names,
                PartitionValueList=values,
                PartitionInput=partition,  # type: ignore[arg-type]
            )

    def _extend_columns(self, read: Callable[[], Schema]) -> dict[str, Any]:
        """The table's storage descriptor, with the columns of the schema.

        The schema is read after the table and only grows, and the update is refused if another run was first: so no
        run takes a column of another away.
        """
        for _ in range(SCHEMA_TRIES):
            try:
                table: dict[str, Any] = dict(
                    self._glue.get_table(DatabaseName=self._database, Name=self._table)["Table"]
                )
            except self._glue.exceptions.EntityNotFoundException:
                raise Mistake(
                    f"the catalog has no table {self._database}.{self._table}: deploy the stack again to make it"
                ) from None
            columns = catalog_columns(read())
            storage: dict[str, Any] = table["StorageDescriptor"] | {"Columns": columns}
            if [(column["Name"], column.get("Type")) for column in table["StorageDescriptor"]["Columns"]] == [
                (column["Name"], column["Type"]) for column in columns
            ]:
                return storage
            kept: Any = {name: table[name] for name in TABLE_INPUT if table.get(name)}
            try:
                self._glue.update_table(
                    DatabaseName=self._database,
                    TableInput=kept | {"StorageDescriptor": storage},
                    VersionId=table["VersionId"],
                    SkipArchive=True,
                )
            except self._glue.exceptions.ConcurrentModificationException:
                logger.info("another run has changed the table %s: reading it again", self._table)
                time.sleep(random.uniform(0, SCHEMA_WAIT_SECONDS))
            else:
                return storage
        raise RuntimeError(f"the table {self._table} was changed by others {SCHEMA_TRIES} times in a row")


def catalog_columns(schema: Schema) -> list[dict[str, str]]:
    """The columns in Hive's types. Those that are no fields come first, so that the list only grows at its end."""
    columns = {RESCUED: "string", SOURCE: "string"}
    names = column_names(schema)
    for name, type_ in schema.items():
        hive = hive_type(type_)
        if hive and len(hive) <= LONGEST_TYPE and 0 < len(names[name]) <= LONGEST_NAME and names[name].isprintable():
            columns[names[name].lower()] = hive
        else:
            logger.warning("the column of the field %r is not in the catalog, which cannot name it", name)
    return [{"Name": name, "Type": type_} for name, type_ in columns.items()]


def hive_type(type_: ColumnType) -> str | None:
    """Without fields of structs that Hive's types cannot name; None if nothing is left."""
    if isinstance(type_, list):
        element = hive_type(type_[0])
        return element and f"array<{element}>"
    if isinstance(type_, dict):
        fields = {name.lower(): hive_type(inner) for name, inner in type_.items() if is_hive_name(name)}
        if unknown := [name for name in type_ if not is_hive_name(name)]:
            logger.warning("the fields %s of a struct are not in the catalog, which cannot name them", unknown)
        known = ",".join(f"{name}:{inner}" for name, inner in fields.items() if inner)
        return f"struct<{known}>" if known else None
    return HIVE_TYPES.get(type_, type_)


def is_hive_name(name: str) -> bool:
    """Whether Hive's parser of types, and that of Athena, takes the name of a field."""
    return name != "" and all(
        character < "\U00010000" and (character.isalpha() or character.isdecimal() or character in "_.$ ")
        for character in name
    )


# Types that are fixed from the start


def read_column_types(spark: "SparkSession", text: str) -> Schema:
    """The types of the parameter ColumnTypes: Spark's DDL, or s3://bucket/key of a document. Raises Mistake."""
    if not text:
        return {}
    try:
        if text.startswith("s3://"):
            bucket, key = split_uri(text)
            return of_spark(boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
        return of_ddl(spark, text)
    except (ValueError, ClientError) as error:
        raise Mistake(
            f"ColumnTypes {text!r} cannot be read: {error}. Write Spark's DDL, as in `amount DOUBLE, id BIGINT, "
            "payload STRUCT<a: BIGINT>`, or s3://bucket/key of a file in the format of schema.json"
        ) from None


def of_ddl(spark: "SparkSession", text: str) -> Schema:
    """By Spark's own parser. The names are those of fields. Raises ValueError."""
    from pyspark.errors import ParseException

    try:
        schema = json.loads(spark._jvm.org.apache.spark.sql.types.StructType.fromDDL(text).json())
    except ParseException as error:
        raise ValueError(str(error).strip().splitlines()[0]) from None
    return column_types(((field["name"], field["type"]) for field in schema["fields"]), "")


def with_fixed(schema: Schema, fixed: Schema) -> Schema:
    """The schema with columns of fixed types, for fields that have none. Raises Mistake."""
    columns = schema | {name: type_ for name, type_ in fixed.items() if name not in schema}
    if len(columns) > MAX_NAMES:
        raise Mistake(
            f"with the fields of ColumnTypes, the schema would have more than {MAX_NAMES} columns: name fewer"
        )
    return columns


def warn_of_kept_types(schema: Schema, fixed: Schema) -> None:
    for name, type_ in fixed.items():
        if name in schema and not has_type(schema[name], type_):
            logger.warning(
                "the column of %r keeps its type %s; ColumnTypes says %s, which has no effect",
                name,
                json.dumps(spark_type(schema[name])),
                json.dumps(spark_type(type_)),
            )


def has_type(type_: ColumnType, fixed: ColumnType) -> bool:
    """Whether a column has this type, apart from fields that its structs got later."""
    if isinstance(type_, list) and isinstance(fixed, list):
        return has_type(type_[0], fixed[0])
    if isinstance(type_, dict) and isinstance(fixed, dict):
        return all(name in type_ and has_type(type_[name], inner) for name, inner in fixed.items())
    return type_ == fixed


# A task


def convert_share(
    schema: Schema, is_final: bool, bucket: str, parquet: str, malformed: str, share: tuple[int, Sequence[File]]
) -> tuple[Any, ...]:
    """Converts some of the files; a Part as a plain tuple, since Spark's driver cannot load classes of the script.

    `is_final`: the rows get the columns of `schema` and no other.
    """
    number, files = share
    s3 = boto3.client("s3")
    # Parsed lines are many objects and no cycles: the collector would look at them again and again.
    gc.disable()
    try:
        with TemporaryDirectory() as directory:
            rows = RowFile(Path(directory, "rows"), schema, is_final)
            reports = ReportFile(Path(directory, "reports"))
            for batch in batches(s3, files, reports.add):
                rows.add(batch)
            rows.close()
            reports.close()
            uploads = []
            if rows.is_complete and rows.count:
                uploads.append(upload(s3, bucket, f"{parquet}part-{number:05}.parquet", rows.path))
            if rows.is_complete and reports.count:
                uploads.append(upload(s3, bucket, f"{malformed}part-{number:05}.json", reports.path))
    finally:
        gc.enable()
    return number, rows.growth, rows.count, reports.count, uploads, rows.is_complete


class RowFile:
    """The Parquet file of a task. It has the columns of the schema, and the first batch decides those of new fields."""

    def __init__(self, path: Path, schema: Schema, is_final: bool) -> None:
        self.path = path
        self.growth: Shape = {}
        self.count = 0
        self.is_complete = True
        """False: a batch needs other columns. The file is of no use; only `growth` and `count` go on."""
        self._known = schema
        self._schema = schema
        self._is_final = is_final
        self._tables: list[Any] = []
        self._writer: Any = None

    def add(self, batch: "Batch") -> None:
        fields = Fields(batch.rows)
        if not self._is_final:
            self.growth = merge(self.growth, growth_of_rows(self._known, fields))
            schema = extend(self._known, self.growth)
            if not self.count:
                self._schema = schema
            self.is_complete = self.is_complete and is_same(schema, self._schema)
        self.count += len(batch.rows)
        if self.is_complete:
            self._tables.append(table_of(batch, fields, self._schema))
        if len(self._tables) == BATCHES_PER_ROW_GROUP:
            self._write()

    def close(self) -> None:
        if self._tables:
            self._write()
        if self._writer:
            self._writer.close()

    def _write(self) -> None:
        import pyarrow.parquet

        table = pyarrow.concat_tables(self._tables)
        self._tables.clear()
        self._writer = self._writer or pyarrow.parquet.ParquetWriter(self.path, table.schema)
        self._writer.write_table(table)


class ReportFile:
    """The malformed lines of a task, and its files that are gone, as NDJSON."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file = path.open("wb")

    def add(self, uri: str, line_number: int | None, text: str | None, reason: str) -> None:
        self.count += 1
        fields = {"file": uri, "line_number": line_number, "text": text, "reason": reason}
        known = {name: value for name, value in fields.items() if value is not None}
        self._file.write(json.dumps(known, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        self._file.close()


def upload(s3: "S3Client", bucket: str, key: str, path: Path) -> Upload:
    """Uploads a file, which is not empty, without completing the upload."""
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    etags: list[str] = []
    with path.open("rb") as file:
        while body := file.read(BYTES_PER_UPLOAD_PART):
            part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=len(etags) + 1, Body=body)
            etags.append(part["ETag"])
    return key, upload_id, etags


class Batch(NamedTuple):
    """Rows of about BYTES_PER_BATCH, with the line and the source file of each."""

    rows: list[dict[str, Any]]
    lines: list[bytes]
    sources: list[str]


def batches(s3: "S3Client", files: Iterable[File], report: Callable[..., None]) -> Iterator[Batch]:
    """The rows of all files. Reports the other lines, and the files that are gone: URI, line number, text, reason."""
    decoder = strict_decoder()
    batch, size = Batch([], [], []), 0
    for block in blocks(read_lines(s3, files, report)):
        rows = parse_together([line for _, _, line in block], decoder)
        data, rows = (block, rows) if rows is not None else parse_one_by_one(block, decoder, report)
        batch.rows.extend(rows)
        batch.lines.extend(line for _, _, line in data)
        batch.sources.extend(uri for uri, _, _ in data)
        size += sum(len(line) for _, _, line in data)
        if size >= BYTES_PER_BATCH:
            yield batch
            batch, size = Batch([], [], []), 0
    if batch.rows:
        yield batch


def blocks(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Lines of about BYTES_PER_BLOCK together."""
    block: list[Line] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line[2])
        if size >= BYTES_PER_BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def read_lines(s3: "S3Client", files: Iterable[File], report: Callable[..., None]) -> Iterator[Line]:
    """Every line of every file, except blank lines."""
    for file in files:
        uri = file[0]
        body = open_file(s3, file, partial(report, uri, None, None))
        if body is None:
            continue
        for number, raw in enumerate(split_lines(body.iter_chunks(CHUNK_BYTES)), start=1):
            if raw.strip():
                yield uri, number, raw


def open_file(s3: "S3Client", file: File, report: Callable[[str], None]) -> "StreamingBody | None":
    """The version that the manifest names, never another one; None if it is gone, which is reported with the reason: a
    retry would not find it either.

    Any other error of S3 (access, an archived object) is raised: after its cause is fixed, a retry reads the file.
    """
    uri, version_id, etag = file
    bucket, key = split_uri(uri)
    # The version id "null" is one of S3's: that of an object from before the bucket had versions.
    if version_id is not None:
        pinned, gone = {"VersionId": version_id}, GONE | GONE_VERSION
    elif etag is not None:
        pinned, gone = {"IfMatch": f'"{etag}"'}, GONE | GONE_CONTENT
    else:
        pinned, gone = {}, GONE
    try:
        return s3.get_object(Bucket=bucket, Key=key, **pinned)["Body"]  # type: ignore[arg-type]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code not in gone:
            raise
        report(gone[code])
        return None


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of NDJSON, separated by \\n. A \\r before it is white space in JSON."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    yield rest


# Lines


def parse_together(lines: Sequence[bytes], decoder: json.JSONDecoder) -> list[dict[str, Any]] | None:
    """The objects of the lines, parsed as one list, which is faster; None if a line has to be looked at by itself.

    A mark between the lines, which no line can contain, tells fragments that are JSON only together from whole lines:
    each mark has to be an element of the list, with one object on each side. A string cannot reach across a line
    break, so no mark is part of a string.
    """
    if any(len(line) > MAX_NESTING and line.count(b"{") + line.count(b"[") > MAX_NESTING for line in lines):
        return None
    mark = uuid4().hex
    try:
        text = f',\n"{mark}",\n'.encode().join(lines).decode()
        values = loads(f"[{text}]", decoder)
    except (ValueError, RecursionError):
        return None
    rows = values[::2]
    is_whole = len(values) == 2 * len(lines) - 1 and values[1::2] == [mark] * (len(lines) - 1)
    return rows if is_whole and set(map(type, rows)) == {dict} else None


def parse_one_by_one(
    block: Iterable[Line], decoder: json.JSONDecoder, report: Callable[..., None]
) -> tuple[list[Line], list[dict[str, Any]]]:
    """The lines that are data, and the object of each. Reports the other lines."""
    data, rows = [], []
    for line in block:
        uri, number, raw = line
        text, row, reason = parse_line(raw, decoder)
        if row is None:
            report(uri, number, text, reason)
            continue
        data.append(line)
        rows.append(row)
    return data, rows


def parse_line(raw: bytes, decoder: json.JSONDecoder) -> tuple[str, dict[str, Any] | None, str | None]:
    """A line as text, and its object; or why it is malformed: not one JSON object (RFC 8259), or it would lose data."""
    try:
        text = text_of(raw)
    except UnicodeDecodeError as error:
        return raw.decode(errors="backslashreplace"), None, f"not UTF-8: {error}"
    try:
        if text.count("{") + text.count("[") > MAX_NESTING:
            check_nesting(text)
        value = loads(text, decoder)
    except (ValueError, RecursionError) as error:
        return text, None, f"{error}"
    return (text, value, None) if isinstance(value, dict) else (text, None, "not a JSON object")


def text_of(line: bytes) -> str:
    """Raises UnicodeDecodeError. Many files from Windows begin with a byte order mark."""
    return line.decode().removeprefix("\ufeff")


def strict_decoder() -> json.JSONDecoder:
    """Refuses non-JSON numbers, and names that readers would lose. Numbers that no double holds become Decimals."""
    return json.JSONDecoder(object_pairs_hook=names_once, parse_float=exact, parse_constant=no_number)


def loads(text: str, decoder: json.JSONDecoder) -> Any:
    """Raises ValueError, RecursionError."""
    document = text.strip(" \t\r\n")
    value, end = decoder.raw_decode(document)
    if end != len(document):
        raise json.JSONDecodeError("Extra data", document, end)
    if "\\u" in text and "\\ud" in text.lower():
        # Half of a surrogate pair is not a character: it would be stored as `?`.
        json.dumps(value, ensure_ascii=False, default=str).encode()
    return value


def check_nesting(text: str) -> None:
    """Raises ValueError. The text may be no JSON."""
    level = 0
    for bracket in re.sub(r'"(?:[^"\\]|\\.)*"|[^][{}"]+', "", text):
        level += 1 if bracket in "{[" else -1
        if level > MAX_NESTING:
            raise ValueError(f"objects or lists are nested in each other more than {MAX_NESTING} times")


def names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        twice = next(name for name in names if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"an object names {twice!r} twice")
    return names


def exact(digits: str) -> float | Decimal:
    """The double that gives these digits back, but for zeros and the form of the exponent; otherwise a Decimal."""
    number = float(digits)
    # A double gives back any 15 digits that are neither very large nor very small.
    if len(digits) <= SURE_DIGITS and "e" not in digits and "E" not in digits:
        return number
    if repr(number) == digits:
        return number
    if math.isinf(number):
        raise ValueError(f"{digits} is beyond the range of a double")
    try:
        written = Decimal(digits)
    except InvalidOperation:
        # An exponent that no Decimal holds. Any fraction does: the number is taken from the line.
        return Decimal("0.5")
    return number if written == Decimal(repr(number)) else written


def no_number(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


# Shapes of values, and the types of columns


def shape_of(values: Sequence[Any], levels: int = MAX_LEVELS) -> Shape:
    """The narrowest shape for all values. Column by column, which is much faster than row by row."""
    kinds = set(map(type, values))
    if len(kinds) == 1:
        return shape_of_kind(kinds.pop(), values, levels)
    of_kinds = (shape_of_kind(kind, [value for value in values if type(value) is kind], levels) for kind in kinds)
    return reduce(merge, of_kinds, NULL)


def shape_of_kind(kind: type, values: Sequence[Any], levels: int) -> Shape:
    """The shape of values of one type; there is at least one."""
    if kind is dict and levels:
        columns = columns_of(values)
        if len(columns) > MAX_NAMES:
            return JSON
        return {name: shape_of(column, levels - 1) for name, column in columns.items()}
    if kind is list and levels:
        return [shape_of(list(chain.from_iterable(values)), levels - 1)]
    if kind is int:
        largest = max(abs(max(values)), abs(min(values)))
        return next((name for name, limit in WHOLE_NUMBERS.items() if largest <= limit), JSON)
    return SCALARS.get(kind, JSON)


def columns_of(objects: Sequence[dict[str, Any]]) -> Mapping[str, Sequence[Any]]:
    """The values of each name; of the first MAX_NAMES names and a few more, if there are many more."""
    if len(set(map(tuple, objects))) == 1:
        return dict(zip(objects[0], zip(*map(dict.values, objects), strict=True), strict=True))
    columns: dict[str, list[Any]] = defaultdict(list)
    for names in objects:
        for name, value in names.items():
            columns[name].append(value)
        if len(columns) > MAX_NAMES:
            break
    return columns


def merge(one: Shape, other: Shape) -> Shape:
    """The narrowest shape for values of both. Associative and commutative, so the order of lines does not matter."""
    if other in (one, NULL):
        return one
    if one == NULL:
        return other
    if isinstance(one, dict) and isinstance(other, dict):
        fields = one | {name: merge(one.get(name, NULL), shape) for name, shape in other.items()}
        return fields if len(fields) <= MAX_NAMES else JSON
    if isinstance(one, list) and isinstance(other, list):
        return [merge(one[0], other[0])]
    if isinstance(one, str) and isinstance(other, str):
        return WIDER.get(frozenset({one, other}), JSON)
    return JSON


# The schema, and what rows have beyond it


class Fields:
    """The fields of a batch's rows, column by column, and their shapes."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows = rows
        names_of_rows = dict.fromkeys(map(tuple, rows))
        self.names = dict.fromkeys(chain.from_iterable(names_of_rows))
        self._columns: dict[str, Sequence[Any]] = {}
        if len(names_of_rows) == 1:
            self._columns = dict(zip(self.names, zip(*map(dict.values, rows), strict=True), strict=True))
        self._shapes: dict[str, Shape] = {}

    def values(self, name: str) -> Sequence[Any]:
        """A value for each row; None if the row has no such field."""
        return self._columns[name] if name in self._columns else [row.get(name) for row in self.rows]

    def shape(self, name: str) -> Shape:
        if name not in self._shapes:
            self._shapes[name] = shape_of(self.values(name), MAX_LEVELS - 1)
        return self._shapes[name]


def growth_of_rows(schema: Schema, fields: Fields) -> Shape:
    """The shape of what the rows have beyond the schema. JSON: more new fields than a schema can have."""
    new = [name for name in fields.names if name not in schema]
    if len(new) > MAX_NAMES:
        return JSON
    growth = {name: fields.shape(name) for name in new}
    for name in fields.names:
        if name in schema and not fits(schema[name], fields.shape(name)):
            growth[name] = growth_of(schema[name], fields.values(name), MAX_LEVELS - 1)
    return {name: shape for name, shape in growth.items() if shape != NULL}


def growth_of(type_: ColumnType, values: Sequence[Any], levels: int) -> Shape:
    """The shape of what the structs of a column have beyond its type; NULL if there is nothing."""
    if isinstance(type_, list):
        inner = growth_of(
            type_[0], list(chain.from_iterable(value for value in values if type(value) is list)), levels - 1
        )
        return NULL if inner == NULL else [inner]
    if isinstance(type_, dict):
        columns = columns_of([value for value in values if type(value) is dict])
        if len(columns) > MAX_NAMES:
            return JSON
        growth = {
            name: growth_of(type_[name], column, levels - 1) if name in type_ else shape_of(column, levels - 1)
            for name, column in columns.items()
        }
        return {name: shape for name, shape in growth.items() if shape != NULL} or NULL
    return NULL


def extend(schema: Schema, growth: Shape) -> Schema:
    """The schema with new columns, and with new fields in its structs. Columns and fields keep their order and type."""
    return add_fields(schema, growth, is_row=True) if isinstance(growth, dict) else schema


def grow(type_: ColumnType, growth: Shape) -> ColumnType:
    if isinstance(type_, list) and isinstance(growth, list):
        return [grow(type_[0], growth[0])]
    if isinstance(type_, dict) and isinstance(growth, dict):
        return add_fields(type_, growth, is_row=False)
    return type_


def add_fields(known: dict[str, ColumnType], growth: dict[str, Shape], is_row: bool) -> dict[str, ColumnType]:
    """New fields are added at the end; none if there would be more than MAX_NAMES.

    Only columns get another name if theirs differs from another in case only: a struct does not get such a field.
    """
    fields = {name: grow(type_, growth.get(name, NULL)) for name, type_ in known.items()}
    taken = {name.lower() for name in known}
    new: dict[str, ColumnType] = {}
    for name, shape in growth.items():
        type_ = column_type(shape)
        if name not in known and type_ is not None and (is_row or name.lower() not in taken):
            taken.add(name.lower())
            new[name] = type_
    return fields | new if len(fields) + len(new) <= MAX_NAMES else fields


def is_same(one: Schema, other: Schema) -> bool:
    """Whether the order is the same too: it decides the names of columns whose fields differ in case only."""
    return json.dumps(one) == json.dumps(other)


def column_names(names: Iterable[str]) -> dict[str, str]:
    """The column of each name. A name that is reserved, or differs from another only in case, gets `_` appended.

    Athena, Hive and, by default, Spark ignore the case of names.
    """
    taken = {name.lower() for name in RESERVED}
    columns = {}
    for name in names:
        column = name
        while column.lower() in taken:
            column += "_"
        taken.add(column.lower())
        columns[name] = column
    return columns


def column_type(shape: Shape) -> "ColumnType | None":
    """None: no value tells the type yet, as with empty lists. A type is for ever, so it is not guessed."""
    if isinstance(shape, list):
        inner = column_type(shape[0])
        return None if inner is None else [inner]
    if isinstance(shape, dict):
        if len({name.lower() for name in shape}) < len(shape):
            # Most readers know no names that differ in case only.
            return "string"
        fields = {name: column_type(inner) for name, inner in shape.items()}
        # Parquet has no empty struct.
        return {name: inner for name, inner in fields.items() if inner is not None} or None
    if shape == NULL:
        return None
    return {"int": "long", JSON: "string"}.get(shape, shape)


# The shapes whose values need no change to be stored with a type.
UNCHANGED = {
    "boolean": ("boolean",),
    "long": ("int", "long"),
    "double": ("int", "double"),
    "decimal": ("int", "long", "decimal"),
    "string": ("string",),
}


def fits(type_: ColumnType, shape: Shape) -> bool:
    """Whether values of this shape are stored with this type as they are. Otherwise each is looked at by `fit`."""
    if shape == NULL:
        return True
    if isinstance(type_, list) and isinstance(shape, list):
        return fits(type_[0], shape[0])
    if isinstance(type_, dict) and isinstance(shape, dict):
        return all(inner == NULL or (name in type_ and fits(type_[name], inner)) for name, inner in shape.items())
    return isinstance(type_, str) and isinstance(shape, str) and shape in UNCHANGED[type_]


def fit(type_: ColumnType, value: Any, written: Any) -> tuple[Any, Any]:
    """The value as the type stores it, and the rest that does not fit; None for no rest. `written`: of AsWritten.

    The rest of an object holds only the fields that do not fit. A list is kept as a whole on one side.
    """
    if value is None:
        return None, None
    if type_ == "string":
        return (value if type(value) is str else as_json(written)), None
    if isinstance(type_, dict) and type(value) is dict:
        stored, rest = {}, {}
        for name, inner in value.items():
            if name in type_:
                stored[name], left = fit(type_[name], inner, written[name])
            else:
                left = None if inner is None else written[name]
            if left is not None:
                rest[name] = left
        return stored, rest or None
    if isinstance(type_, list) and type(value) is list:
        elements = [fit(type_[0], inner, other) for inner, other in zip(value, written, strict=True)]
        if all(rest is None for _, rest in elements):
            return [stored for stored, _ in elements], None
    elif isinstance(type_, str) and (scalar := fit_scalar(type_, value)) is not None:
        return scalar, None
    return None, written


def fit_scalar(type_: str, value: Any) -> Any:
    """The same value as a boolean or number of this type; None if there is none."""
    kind = type(value)
    if type_ == "boolean":
        return value if kind is bool else None
    if kind not in (int, float, Decimal):
        return None
    if type_ == "double":
        if kind is int:
            return float(value) if abs(value) <= sys.float_info.max and int(float(value)) == value else None
        return value if kind is float else None
    # The digits of a double are those that it is written with, not those of its binary value.
    number = Decimal(repr(value)) if kind is float else value
    return int(number) if abs(number) <= WHOLE_NUMBERS[type_] and int(number) == number else None


# Tables


def table_of(batch: Batch, fields: Fields, schema: Schema) -> Any:
    """The rows as a pyarrow.Table with the columns of the schema, _rescued and the source file."""
    import pyarrow

    written = AsWritten(batch.lines)
    rescued: dict[int, dict[str, Any]] = defaultdict(dict)
    arrays = []
    for name, type_ in schema.items():
        if name not in fields.names:
            arrays.append(pyarrow.nulls(len(batch.rows), arrow_type(type_)))
            continue
        values = fields.values(name)
        if not fits(type_, fields.shape(name)):
            values = list(values)
            for index, value in enumerate(values):
                if not fits(type_, shape_of([value])):
                    values[index], rest = fit(type_, value, written.value(index, name, value))
                    if rest is not None:
                        rescued[index][name] = rest
        arrays.append(pyarrow.array(values, arrow_type(type_)))
    if not fields.names.keys() <= schema.keys():
        for index, row in enumerate(batch.rows):
            for name, value in row.items():
                if name not in schema and value is not None:
                    rescued[index][name] = written.value(index, name, value)
    rests = [as_json(rescued[index]) if index in rescued else None for index in range(len(batch.rows))]
    arrays += [pyarrow.array(rests, pyarrow.string()), pyarrow.array(batch.sources, pyarrow.string())]
    return pyarrow.Table.from_arrays(arrays, [*column_names(schema).values(), RESCUED, SOURCE])


def arrow_type(type_: ColumnType) -> Any:
    import pyarrow

    if isinstance(type_, list):
        return pyarrow.list_(arrow_type(type_[0]))
    if isinstance(type_, dict):
        return pyarrow.struct([(name, arrow_type(inner)) for name, inner in type_.items()])
    return {
        "string": pyarrow.string(),
        "boolean": pyarrow.bool_(),
        "long": pyarrow.int64(),
        "double": pyarrow.float64(),
        "decimal": pyarrow.decimal128(38, 0),
    }[type_]


# No valid line has it: it is half of a surrogate pair.
NUMBER = "\ud800"


class AsWritten:
    """The rows of a batch with their numbers as they are written, marked by NUMBER. Parsed when a row is asked for."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines
        self._decoder = json.JSONDecoder(parse_float=NUMBER.__add__, parse_int=NUMBER.__add__)
        self._rows: dict[int, dict[str, Any]] = {}

    def value(self, index: int, name: str, value: Any) -> Any:
        """`value`, the field `name` of the row, as it is written. One without numbers is the same."""
        if type(value) in (str, bool) or value in ([], {}):
            return value
        if index not in self._rows:
            self._rows[index] = self._decoder.decode(text_of(self._lines[index]))
        return self._rows[index][name]


def as_json(written: Any) -> str:
    text = json.dumps(written, ensure_ascii=False, separators=(",", ":"))
    return re.sub(f'"{NUMBER}([^"]*)"', r"\1", text)


if __name__ == "__main__":
    main(sys.argv[1:])
