"""The default Glue job: converts the files of a manifest to Parquet. Glue 5.0: Spark 3.5, Python 3.11, pyarrow 17.

Reads     the file versions that the manifest at --MANIFEST_PATH names
Writes    <--OUTPUT_PATH>/parquet/date=<date>/manifest=<name>/    a row for every line that is a JSON object
          <--OUTPUT_PATH>/malformed/date=<date>/manifest=<name>/  other lines (NDJSON): file, line_number, text, reason
Replaces  both folders as a whole, and nothing else: a repeated run gives the same output.

Spark hands out tasks, and no row leaves its task. A task reads its files batch by batch, parses each line once, and
writes one Parquet file with pyarrow on its local disk. The first batch decides the columns. A task whose later batches
need other columns reads on for the shape of its data, but writes no more. The driver merges the shapes of all tasks.
Tasks whose file has other columns than the merged shape run again with that shape. If the columns of all tasks are the
same, each file is read once; otherwise some are read twice.

A task uploads its file in parts, and the driver completes the uploads after every task has succeeded. S3 shows no file
before that: a task that is retried, or runs twice, cannot double a row. The bucket's lifecycle rule removes the uploads
that a failed run leaves. The marker _SUCCESS beside the Parquet files is removed first and written last: both folders
are complete where it exists.

Objects are read by GetObject, not by Spark's readers: Hadoop's paths are not S3 keys. Hadoop takes `*?[]{}\\` for
patterns, folds `a//b` into `a/b`, and silently skips names that begin with `_` or `.`.

Columns come from the whole batch. A field of several types gets the narrowest type that holds all its values exactly;
if there is no such type, the column is text, as JSON, with every number as it was written. Spark's or Arrow's own
inference is not used: it loses empty names, empty objects and large numbers, makes two columns of a field that a line
names twice, and has no limit for objects whose names are data.
"""

import argparse
import gc
import json
import logging
import math
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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

# An object with more names than this is a map: its names are data, not columns.
MAX_NAMES = 1000
# Objects and lists within each other: deeper ones are text.
MAX_LEVELS = 30
# Deeper lines are malformed. Python's parser gives up at about 950, earlier or later as its caller's stack is deep.
MAX_NESTING = 800
# Digits with their point. A double has 15 decimal digits, IEEE 754's DBL_DIG.
SURE_DIGITS = 16
# Columns that do not come from the data: the source file of a row, and the partition columns of the folder names.
SOURCE = "source_file"
RESERVED = (SOURCE, "date", "manifest")

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
# {name: (column, type)}; None: the rows are kept as text, in the column `line`.
Layout: TypeAlias = "dict[str, tuple[str, ColumnType]] | None"


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
        options.OUTPUT_PATH,
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
    """Result of a task. `shape`: of its rows and of the rows of other tasks that it was told of."""

    number: int
    shape: Shape
    rows: int
    malformed: int
    uploads: list[Upload]
    is_complete: bool
    """False: the rows need other columns than the first batch. Nothing is uploaded."""


def convert(spark: "SparkSession", files: Sequence[File], size_bytes: int, output: str, folder: str) -> None:
    """Writes both folders. `size_bytes`: the files' total size, about. `output`: s3://bucket or s3://bucket/prefix."""
    bucket, prefix = split_uri(output.rstrip("/"))
    parquet, malformed = (f"{prefix}/{kind}/{folder}/".lstrip("/") for kind in ("parquet", "malformed"))
    cores = spark.sparkContext.defaultParallelism
    tasks = max(1, min(len(files), math.ceil(size_bytes / BYTES_PER_TASK / cores) * cores))
    shares = [files[len(files) * task // tasks : len(files) * (task + 1) // tasks] for task in range(tasks)]
    s3 = boto3.client("s3")

    parts: dict[int, Part] = {}
    shape: Shape | None = None
    again = list(enumerate(shares))
    while again:
        task = partial(convert_share, shape, bucket, parquet, malformed)
        found = spark.sparkContext.parallelize(again, len(again)).map(task).collect()
        parts |= {part[0]: Part(*part) for part in found}
        shape = reduce(merge, (part.shape for part in parts.values()))
        again = [(part.number, shares[part.number]) for part in parts.values() if not has_columns(part, shape)]
        with ThreadPoolExecutor(THREADS) as pool:
            list(
                pool.map(
                    partial(abort, s3, bucket), (upload for number, _ in again for upload in parts[number].uploads)
                )
            )

    rows = sum(part.rows for part in parts.values())
    if count := sum(part.malformed for part in parts.values()):
        logger.warning("%s lines or files are malformed or gone: s3://%s/%s", count, bucket, malformed)
    publish(s3, bucket, parquet, malformed, [upload for part in parts.values() for upload in part.uploads])
    logger.info("%s files are %s lines in s3://%s/%s", len(files), rows, bucket, parquet)


def publish(s3: "S3Client", bucket: str, parquet: str, malformed: str, uploads: Sequence[Upload]) -> None:
    """Replaces both folders by these uploads."""
    delete(s3, bucket, parquet)
    delete(s3, bucket, malformed)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(partial(complete, s3, bucket), uploads))
    if not any(key.startswith(parquet) for key, _, _ in uploads):
        s3.put_object(Bucket=bucket, Key=f"{parquet}part-00000.parquet", Body=no_rows())
    for folder in (malformed, parquet):
        s3.put_object(Bucket=bucket, Key=f"{folder}_SUCCESS", Body=b"")


def has_columns(part: Part, shape: Shape) -> bool:
    """Whether the file of a task has the columns of this shape. A task without rows has no file."""
    return part.is_complete and (not part.rows or layout(part.shape) == layout(shape))


def no_rows() -> bytes:
    """A Parquet file without rows: readers find the table, and no column but the source file."""
    import pyarrow
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table_of(Batch([], [], []), {}), sink)
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


# A task


def convert_share(
    shape: "Shape | None", bucket: str, parquet: str, malformed: str, share: tuple[int, Sequence[File]]
) -> tuple[Any, ...]:
    """Converts some of the files; a Part as a plain tuple, since Spark's driver cannot load classes of the script.

    `shape`: of the rows of all tasks, if it is known.
    """
    number, files = share
    s3 = boto3.client("s3")
    # Parsed lines are many objects and no cycles: the collector would look at them again and again.
    gc.disable()
    try:
        with TemporaryDirectory() as directory:
            rows, reports = RowFile(Path(directory, "rows"), shape), ReportFile(Path(directory, "reports"))
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
    return number, {} if rows.shape is None else rows.shape, rows.count, reports.count, uploads, rows.is_complete


class RowFile:
    """The Parquet file of a task. The first batch decides its columns, with the shape that is known before."""

    def __init__(self, path: Path, shape: "Shape | None") -> None:
        self.path = path
        self.shape = shape
        self.count = 0
        self.is_complete = True
        """False: a batch needs other columns. The file is of no use; only `shape` and `count` go on."""
        self._layout: Layout = None
        self._tables: list[Any] = []
        self._writer: Any = None

    def add(self, batch: "Batch") -> None:
        found = shape_of(batch.rows)
        self.shape = found if self.shape is None else merge(self.shape, found)
        if not self.count:
            self._layout = layout(self.shape)
        self.count += len(batch.rows)
        self.is_complete = self.is_complete and layout(self.shape) == self._layout
        if self.is_complete:
            self._tables.append(table_of(batch, self.shape))
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
        # An exponent that no Decimal holds. The column is text, which is taken from the line.
        return Decimal(0)
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


def layout(shape: Shape) -> Layout:
    """The columns of rows. Two layouts are equal whatever the order of their names."""
    if not isinstance(shape, dict):
        return None
    columns = column_names(shape)
    return {name: (columns[name], column_type(inner)) for name, inner in shape.items()}


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


def column_type(shape: Shape) -> ColumnType:
    if isinstance(shape, list):
        return [column_type(shape[0])]
    if isinstance(shape, dict):
        return {name: column_type(inner) for name, inner in shape.items()} if is_struct(shape) else "string"
    return {"int": "long", NULL: "string", JSON: "string"}.get(shape, shape)


def is_struct(fields: Mapping[str, Shape]) -> bool:
    """Parquet has no empty struct, and most readers no names that differ in case only."""
    return 0 < len({name.lower() for name in fields}) == len(fields)


# Tables


def table_of(batch: Batch, shape: Shape) -> Any:
    """The rows as a pyarrow.Table with the columns of this shape."""
    import pyarrow

    columns = layout(shape)
    if columns is None or not isinstance(shape, dict):
        arrays, names = [pyarrow.array(map(text_of, batch.lines), pyarrow.string())], ["line"]
    else:
        written = AsWritten(batch.lines)
        arrays, names = [], []
        for name, (column, type_) in columns.items():
            values = [row.get(name) for row in batch.rows]
            if has_text(shape[name]):
                values = [
                    value
                    if value is None or type(value) is str
                    else with_text(value, written.row(index)[name], shape[name])
                    for index, value in enumerate(values)
                ]
            arrays.append(pyarrow.array(values, arrow_type(type_)))
            names.append(column)
    return pyarrow.Table.from_arrays([*arrays, pyarrow.array(batch.sources, pyarrow.string())], [*names, SOURCE])


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


def has_text(shape: Shape) -> bool:
    """Whether values that are not text already are stored as text."""
    if isinstance(shape, list):
        return has_text(shape[0])
    if isinstance(shape, dict):
        return not is_struct(shape) or any(map(has_text, shape.values()))
    return shape == JSON


# No valid line has it: it is half of a surrogate pair.
NUMBER = "\ud800"


class AsWritten:
    """The rows of a batch with their numbers as they are written, marked by NUMBER. Parsed when a row is asked for."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines
        self._decoder = json.JSONDecoder(parse_float=NUMBER.__add__, parse_int=NUMBER.__add__)
        self._rows: dict[int, dict[str, Any]] = {}

    def row(self, index: int) -> dict[str, Any]:
        if index not in self._rows:
            self._rows[index] = self._decoder.decode(text_of(self._lines[index]))
        return self._rows[index]


def with_text(value: Any, written: Any, shape: Shape) -> Any:
    """The value with text in the places where the shape says so. `written`: the same value, of AsWritten."""
    if value is None:
        return None
    if isinstance(shape, list):
        return [with_text(inner, other, shape[0]) for inner, other in zip(value, written, strict=True)]
    if isinstance(shape, dict) and is_struct(shape):
        return {name: with_text(inner, written[name], shape[name]) for name, inner in value.items()}
    if isinstance(value, str) or not has_text(shape):
        return value
    text = json.dumps(written, ensure_ascii=False, separators=(",", ":"))
    return re.sub(f'"{NUMBER}([^"]*)"', r"\1", text)


if __name__ == "__main__":
    main(sys.argv[1:])
