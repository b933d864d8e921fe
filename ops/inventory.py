"""Objects of the input bucket from an S3 Inventory, whose manifest names the files with the lists.

Formats: S3 user guide, "Locating your inventory list" and "Amazon S3 Inventory list". CSV files are compressed, have no
header, and their keys are URL-encoded. Parquet files need pyarrow.
"""

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import boto3
from botocore.exceptions import ClientError

from manifest_builder.files import NULL_VERSION, Location
from manifest_builder.inputs import Listed, file_version
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BATCH = 1000
NEEDED = ("Key", "Size", "LastModifiedDate", "ETag")
VERSION = "VersionId"
PARQUET_NAMES = {
    "key": "Key",
    "size": "Size",
    "last_modified_date": "LastModifiedDate",
    "e_tag": "ETag",
    "version_id": VERSION,
    "is_latest": "IsLatest",
    "is_delete_marker": "IsDeleteMarker",
}

Entry = Mapping[str, Any]
"""One version in the inventory, by the names of the fields in CSV. Values of CSV are texts."""


def pages(manifest_uri: str, input_bucket: str) -> Iterator[list[Listed]]:
    """The current objects, up to a thousand at a time. Raises UsageError for an inventory that cannot be used."""
    s3 = boto3.client("s3")
    manifest = read_manifest(s3, manifest_uri, input_bucket)
    bucket = manifest["destinationBucket"].rpartition(":")[2]
    entries = {"CSV": csv_entries, "Parquet": parquet_entries}[manifest["fileFormat"]]
    with TemporaryDirectory() as folder:
        for file in manifest["files"]:
            path = Path(folder) / "list"
            s3.download_file(bucket, file["key"], str(path))
            verify(path, file)
            for batch in entries(path, manifest["fileSchema"]):
                yield [listed(input_bucket, entry) for entry in batch if is_current(entry)]


def read_manifest(s3: "S3Client", uri: str, input_bucket: str) -> dict[str, Any]:
    place = Location.from_path(uri)
    if not uri.startswith("s3://") or not place.key:
        raise UsageError(f"{uri} is not the S3 URI of an inventory's manifest.json")
    try:
        manifest: dict[str, Any] = json.loads(s3.get_object(Bucket=place.bucket, Key=place.key)["Body"].read())
        source, form, schema = manifest["sourceBucket"], manifest["fileFormat"], manifest["fileSchema"]
        fields = {field: field in schema for field in (*NEEDED, VERSION)}
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "NoSuchBucket"):
            raise
        raise UsageError(f"there is no {uri}") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{uri} is not the manifest of an S3 Inventory") from None
    if source != input_bucket:
        raise UsageError(f"{uri} is an inventory of {source}, not of {input_bucket}")
    if form not in ("CSV", "Parquet"):
        raise UsageError(f"{uri} is an inventory in the format {form}: CSV and Parquet can be read")
    if form == "Parquet":
        words = set(schema.replace(";", " ").split())
        fields = {name: parquet in words for parquet, name in PARQUET_NAMES.items() if name in fields}
    if left_out := [field for field in NEEDED if not fields[field]]:
        raise UsageError(f"the inventory has no field {' and no '.join(left_out)}: add it to the configuration")
    if not fields[VERSION] and "Status" in s3.get_bucket_versioning(Bucket=input_bucket):
        raise UsageError(f"{input_bucket} has versions and the inventory has none: let it include all versions")
    return manifest


def verify(path: Path, file: Mapping[str, str]) -> None:
    with path.open("rb") as content:
        # The inventory's manifest has no other checksum.
        checksum = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if checksum != file["MD5checksum"]:
        raise UsageError(f"{file['key']} is not what the inventory's manifest says: its MD5 is {checksum}")


def csv_entries(path: Path, schema: str) -> Iterator[list[Entry]]:
    names = [name.strip() for name in schema.split(",")]
    with gzip.open(path) as content:
        rows = csv.reader(io.TextIOWrapper(content, encoding="utf-8", newline=""))
        while batch := [row for row, _ in zip(rows, range(BATCH), strict=False)]:
            yield [dict(zip(names, row, strict=True)) | {"Key": unquote_plus(row[names.index("Key")])} for row in batch]


def parquet_entries(path: Path, _: str) -> Iterator[list[Entry]]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise UsageError(
            "an inventory in Parquet needs pyarrow: install it (pip install pyarrow), or let the inventory be CSV"
        ) from None
    with parquet.ParquetFile(path) as content:
        present = [name for name in content.schema_arrow.names if name in PARQUET_NAMES]
        for batch in content.iter_batches(BATCH, columns=present):
            yield [{PARQUET_NAMES[name]: value for name, value in row.items()} for row in batch.to_pylist()]


def is_current(entry: Entry) -> bool:
    """An inventory of the current versions alone does not say that they are current."""
    return _is_true(entry.get("IsLatest", True)) and not _is_true(entry.get("IsDeleteMarker", False))


def listed(bucket: str, entry: Entry) -> Listed:
    at = entry["LastModifiedDate"]
    moment = datetime.fromisoformat(at) if isinstance(at, str) else at
    file = file_version(bucket, entry["Key"], int(entry["Size"]), entry["ETag"], entry.get(VERSION) or NULL_VERSION)
    return Listed(file, moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _is_true(value: str | bool | None) -> bool:
    return value is True or str(value).lower() == "true"
