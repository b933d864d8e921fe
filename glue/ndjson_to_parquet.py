"""The default Glue job: converts the files of a manifest to Parquet. Glue 5.0: Spark 3.5, Python 3.11.

Reads     the objects that the manifest at --MANIFEST_PATH names
Writes    <--OUTPUT_PATH>/parquet/date=<date>/manifest=<name>/    a row for every line that is a JSON object
          <--OUTPUT_PATH>/malformed/date=<date>/manifest=<name>/  other lines (NDJSON): file, line_number, text, reason
Replaces  both folders as a whole, and nothing else: a repeated run gives the same output.

Objects are read by GetObject, not by Spark's readers: Hadoop's paths are not S3 keys. Hadoop takes `*?[]{}\\` for
patterns, folds `a//b` into `a/b`, and silently skips names that begin with `_` or `.`.

Columns come from the whole batch. A field of several types gets the narrowest type that holds all its values exactly;
if there is no such type, the column is text, as JSON. Spark's own inference is not used: it loses empty names, empty
objects and large numbers, makes two columns of a field that a line names twice, and has no limit for objects whose
names are data.
"""

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import reduce
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

import boto3
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from pyspark.sql import Column, DataFrame, SparkSession

logger = logging.getLogger("ndjson_to_parquet")

# The record of a manifest names its run within seconds after the start, unless the response of the start was lost.
POLL_SECONDS = 5
POLLS = 12

CHUNK_BYTES = 1024**2
# Input bytes per task: small tasks are distributed evenly. Bytes per output file: large files need few read requests.
BYTES_PER_TASK = 16 * 1024**2
BYTES_PER_OUTPUT_FILE = 128 * 1024**2

# An object with more names than this is a map: its names are data, not columns.
MAX_NAMES = 1000
# Objects and lists within each other; Spark's own depth of recursion is not far beyond.
MAX_LEVELS = 30
# Columns that do not come from the data: the source file of a row, and the partition columns of the folder names.
SOURCE = "source_file"
RESERVED = (SOURCE, "date", "manifest")

# file, line_number, text, reason. A line with a reason is malformed. A deleted file has no line number and no text.
Line: TypeAlias = tuple[str, int | None, str | None, str | None]
LINE_SCHEMA = "file string, line_number long, text string, reason string"

# The type of a value: the name of a scalar type, or [shape of the elements], or {name: shape}.
Shape: TypeAlias = "str | list[Shape] | dict[str, Shape]"
NULL: Shape = "null"
SCALARS = {type(None): NULL, bool: "boolean", float: "double"}
# The largest values of the types. An `int` fits into a double as well (RFC 8259, 6).
WHOLE_NUMBERS = {"int": 2**53, "long": 2**63 - 1, "decimal(38,0)": 10**38 - 1}
WIDER = {
    frozenset({"int", "long"}): "long",
    frozenset({"int", "decimal(38,0)"}): "decimal(38,0)",
    frozenset({"long", "decimal(38,0)"}): "decimal(38,0)",
    frozenset({"int", "double"}): "double",
}


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

    convert(
        SparkSession.builder.getOrCreate(),
        read_manifest(options.MANIFEST_PATH),
        int(record["file_size_bytes"]["N"]),
        options.OUTPUT_PATH.rstrip("/"),
        f"date={options.DATE_PREFIX}/manifest={PurePosixPath(options.MANIFEST_PATH).stem}",
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Glue hands over the run's arguments and JOB_RUN_ID among others; awsglue's getResolvedOptions does just this."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("MANIFEST_PATH", "DATE_PREFIX", "JOB_RUN_ID", "TRACKING_TABLE", "OUTPUT_PATH"):
        parser.add_argument(f"--{name}", required=True)
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


def read_manifest(manifest_path: str) -> list[str]:
    bucket, key = split_uri(manifest_path)
    document = json.load(boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"])
    return [uri for location in document["fileLocations"] for uri in location["URIPrefixes"]]


def split_uri(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def convert(spark: "SparkSession", uris: Sequence[str], size_bytes: int, output: str, folder: str) -> None:
    """Writes both folders. `size_bytes`: the files' total size, about.

    The malformed lines come first: the marker _SUCCESS beside the Parquet files says that the output is complete.
    """
    from pyspark import StorageLevel
    from pyspark.sql.functions import col

    # Names that differ in their case are different names.
    spark.conf.set("spark.sql.caseSensitive", "true")
    tasks = max(1, min(len(uris), math.ceil(size_bytes / BYTES_PER_TASK)))
    lines = spark.sparkContext.parallelize(uris, tasks).mapPartitions(read_lines)
    lines = lines.persist(StorageLevel.MEMORY_AND_DISK)
    shape: Shape = lines.filter(lambda line: line[3] is None).map(shape_of_line).fold({}, merge)
    table = spark.createDataFrame(lines, LINE_SCHEMA, verifySchema=False)

    rows, refused = parse_rows(table.where(col("reason").isNull()), shape)
    malformed = table.where(col("reason").isNotNull()).unionByName(refused).coalesce(1).persist()
    if count := malformed.count():
        logger.warning("%s lines or files are malformed or gone: %s/malformed/%s", count, output, folder)
    malformed.write.mode("overwrite").json(f"{output}/malformed/{folder}")
    files = max(1, math.ceil(size_bytes / BYTES_PER_OUTPUT_FILE))
    rows.coalesce(files).write.mode("overwrite").parquet(f"{output}/parquet/{folder}")
    logger.info("%s files are %s lines in %s/parquet/%s", len(uris), lines.count() - count, output, folder)


def parse_rows(lines: "DataFrame", shape: Shape) -> tuple["DataFrame", "DataFrame"]:
    """The rows of well-formed lines in columns of this shape, and the lines that Spark's parser refuses even so."""
    from pyspark.sql.functions import col, from_json, lit
    from pyspark.sql.types import StructType

    fields = shape if isinstance(shape, dict) and len(shape) <= MAX_NAMES else None
    if fields is None:
        return lines.select(col("text").alias("line"), col("file").alias(SOURCE)), lines.limit(0)
    corrupt = "_corrupt_record"
    while corrupt in fields:
        corrupt += "_"
    schema = StructType.fromJson(struct_of({**fields, corrupt: "string"}))
    row: Column = from_json("text", schema, {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": corrupt})
    parsed = lines.withColumn("row", row)
    is_sound = col("row").getField(corrupt).isNull()
    columns = [col("row").getField(name).alias(column) for name, column in column_names(fields).items()]
    return (
        parsed.where(is_sound).select(*columns, col("file").alias(SOURCE)),
        parsed.where(~is_sound).drop("row").withColumn("reason", lit("beyond the limits of Spark's JSON parser")),
    )


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


def read_lines(uris: Iterable[str]) -> Iterator[Line]:
    """Every line of every file, except blank lines.

    A deleted file is reported as one line: a retry would not find it either. Any other error of S3 (access, an archived
    object) fails the run: after the cause is fixed, a retry reads the file.
    """
    s3 = boto3.client("s3")
    for uri in uris:
        bucket, key = split_uri(uri)
        try:
            body = s3.get_object(Bucket=bucket, Key=key)["Body"]
        except s3.exceptions.NoSuchKey:
            yield uri, None, None, "the file is gone: it was deleted after its manifest was written"
            continue
        for number, raw in enumerate(split_lines(body.iter_chunks(CHUNK_BYTES)), start=1):
            if raw.strip():
                yield uri, number, *check(raw)


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of NDJSON, separated by \\n. A \\r before it is white space in JSON."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    yield rest


def check(raw: bytes) -> tuple[str, str | None]:
    """A line as text, and why it is malformed: it is not one JSON object (RFC 8259), or would lose data."""
    try:
        # Many files from Windows begin with a byte order mark.
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return raw.decode(errors="backslashreplace"), f"not UTF-8: {error}"
    try:
        value = loads(text)
    except (ValueError, RecursionError) as error:
        return text, f"{error}"
    return text, None if isinstance(value, dict) else "not a JSON object"


def loads(text: str) -> Any:
    """json.loads, but strict: refuses non-JSON numbers, and values that readers would lose. Raises ValueError,
    RecursionError."""
    value = json.loads(text, object_pairs_hook=names_once, parse_float=finite, parse_constant=no_number)
    if "\\ud" in text.lower():
        # Half of a surrogate pair is not a character: it would be stored as `?`.
        json.dumps(value, ensure_ascii=False).encode()
    return value


def names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        twice = next(name for name in names if sum(name == other for other, _ in pairs) > 1)
        raise ValueError(f"an object names {twice!r} twice")
    return names


def finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is beyond the range of a double")
    return number


def no_number(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def shape_of_line(line: Line) -> Shape:
    return shape_of(json.loads(line[2] or ""))


def shape_of(value: Any, levels: int = MAX_LEVELS) -> Shape:
    if isinstance(value, dict) and levels:
        return {name: shape_of(inner, levels - 1) for name, inner in value.items()}
    if isinstance(value, list) and levels:
        return [reduce(merge, (shape_of(inner, levels - 1) for inner in value), NULL)]
    if type(value) is int:
        return next((name for name, limit in WHOLE_NUMBERS.items() if abs(value) <= limit), "string")
    return SCALARS.get(type(value), "string")


def merge(one: Shape, other: Shape) -> Shape:
    """The narrowest shape for values of both. Associative and commutative, so the order of lines does not matter."""
    if other in (one, NULL):
        return one
    if one == NULL:
        return other
    if isinstance(one, dict) and isinstance(other, dict):
        fields = one | {name: merge(one.get(name, NULL), shape) for name, shape in other.items()}
        return fields if len(fields) <= MAX_NAMES else "string"
    if isinstance(one, list) and isinstance(other, list):
        return [merge(one[0], other[0])]
    if isinstance(one, str) and isinstance(other, str):
        return WIDER.get(frozenset({one, other}), "string")
    return "string"


def spark_type(shape: Shape) -> Any:
    """The type in Spark's JSON notation of schemas."""
    match shape:
        case [element]:
            return {"type": "array", "elementType": spark_type(element), "containsNull": True}
        case dict():
            # Parquet has no empty struct, and most readers no names that differ in case only.
            is_struct = 0 < len({name.lower() for name in shape}) == len(shape) <= MAX_NAMES
            return struct_of(shape) if is_struct else "string"
        case "int":
            return "long"
        case "null":
            return "string"
    return shape


def struct_of(fields: dict[str, Shape]) -> dict[str, Any]:
    return {
        "type": "struct",
        "fields": [
            {"name": name, "type": spark_type(shape), "nullable": True, "metadata": {}}
            for name, shape in fields.items()
        ],
    }


if __name__ == "__main__":
    main(sys.argv[1:])
