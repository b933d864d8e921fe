"""The input bucket: its objects as S3 lists them, one by one for events that carry no sequencer, or all."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from manifest_builder import aws
from manifest_builder.files import NULL_VERSION, FileName, FileVersion, ObjectVersion, date_in_key

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ListObjectVersionsOutputTypeDef


@dataclass(frozen=True, slots=True)
class Listed:
    """The latest version of an object, and when S3 says it was written."""

    file: FileVersion
    at: datetime

    @property
    def dates(self) -> list[str]:
        """The dates whose partition may hold the file's row. A key without a date belongs to the day of its event. For
        a multipart upload that ended after midnight, this is the day after the one that S3 lists."""
        date_prefix = date_in_key(self.file.key)
        return [date_prefix] if date_prefix else [f"{self.at:%Y-%m-%d}", f"{self.at + timedelta(days=1):%Y-%m-%d}"]

    @property
    def is_folder(self) -> bool:
        """Whether it is an empty object that stands for a folder: it is no file."""
        return self.file.size_bytes == 0 and self.file.key.endswith("/")


def is_current(file: FileName, version: ObjectVersion) -> bool:
    """Whether a reader of the file gets this version now."""
    current = current_version(file)
    if current is None:
        return False
    if version.version_id or current.version_id:
        return version.version_id == current.version_id
    return version.etag in ("", current.etag)


def current_version(file: FileName) -> ObjectVersion | None:
    """The version that a reader gets; None if the file is deleted or has never existed."""
    current = current_object(file)
    return ObjectVersion(current.file.version_id, current.file.etag) if current else None


def current_object(file: FileName) -> Listed | None:
    """The object that a reader gets; None if the file is deleted or has never existed.

    One request: S3 lists keys in UTF-8 order and the versions of a key from the latest to the first, so the first entry
    is the current version (S3 API Reference, ListObjectVersions). HeadObject would need the right to decrypt.
    """
    page = aws.s3().list_object_versions(Bucket=file.bucket, Prefix=file.key, MaxKeys=1)
    return next((listed for listed in latest(file.bucket, page) if listed.file.key == file.key), None)


def pages(bucket: str, prefix: str = "", start_after: str = "") -> "Iterator[ListObjectVersionsOutputTypeDef]":
    """Pages of a thousand versions. A list of objects costs the same but has no version ids, and without its version id
    a file whose event comes twice would count as two files."""
    paginator = aws.s3_for_lists().get_paginator("list_object_versions")
    # The stubs do not know the marker, which the paginator takes like any argument of the call.
    beginning: dict[str, Any] = {"KeyMarker": start_after} if start_after else {}
    yield from paginator.paginate(Bucket=bucket, Prefix=prefix, **beginning)


def latest(bucket: str, page: "ListObjectVersionsOutputTypeDef") -> Iterator[Listed]:
    """The current objects of a page."""
    for version in page.get("Versions", []):
        if version["IsLatest"]:
            file = file_version(bucket, version["Key"], version["Size"], version["ETag"], version["VersionId"])
            yield Listed(file, version["LastModified"])


def last_key(page: "ListObjectVersionsOutputTypeDef") -> str:
    """The last key of a page, where the listing can go on."""
    return max((each["Key"] for each in (*page.get("Versions", []), *page.get("DeleteMarkers", []))), default="")


def file_version(bucket: str, key: str, size_bytes: int, etag: str, version_id: str | None) -> FileVersion:
    """The version of an object as S3 describes it."""
    return FileVersion(
        message_id="",
        bucket=bucket,
        key=key,
        size_bytes=size_bytes,
        etag=etag.strip('"'),
        version_id=None if version_id == NULL_VERSION else version_id,
        sequencer=None,
    )
