"""What the input bucket says of a file, where events do not tell which of two versions is the later one."""

from dataclasses import dataclass

from manifest_builder import aws
from manifest_builder.files import NULL_VERSION, FileName


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """`version_id` is None where the bucket keeps no versions, `etag` empty where nobody said it."""

    version_id: str | None
    etag: str


def is_current(file: FileName, version: ObjectVersion) -> bool:
    """Whether this version of the file is the one that a reader gets."""
    current = current_version(file)
    if current is None:
        return False
    if version.version_id or current.version_id:
        return version.version_id == current.version_id
    return version.etag in ("", current.etag)


def current_version(file: FileName) -> ObjectVersion | None:
    """The version that a reader gets; None where the file is deleted, or was never there.

    One request: keys are listed in UTF-8 order and the versions of each from the latest on, so that the first entry is
    the one in question. Source: S3 API reference, ListObjectVersions. (HeadObject would need the right to decrypt.)
    """
    page = aws.s3().list_object_versions(Bucket=file.bucket, Prefix=file.key, MaxKeys=1)
    for version in page.get("Versions", []):
        if version["Key"] == file.key and version["IsLatest"]:
            version_id = version["VersionId"]
            return ObjectVersion(None if version_id == NULL_VERSION else version_id, version["ETag"].strip('"'))
    return None
