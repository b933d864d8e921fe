"""The input bucket's answer to "which version is the current one?", for events that carry no sequencer."""

from manifest_builder import aws
from manifest_builder.files import NULL_VERSION, FileName, ObjectVersion


def is_current(file: FileName, version: ObjectVersion) -> bool:
    """Whether a reader of the file gets this version now."""
    current = current_version(file)
    if current is None:
        return False
    if version.version_id or current.version_id:
        return version.version_id == current.version_id
    return version.etag in ("", current.etag)


def current_version(file: FileName) -> ObjectVersion | None:
    """The version that a reader gets; None if the file is deleted or has never existed.

    One request: S3 lists keys in UTF-8 order and the versions of a key from the latest to the first, so the first entry
    is the current version (S3 API Reference, ListObjectVersions). HeadObject would need the right to decrypt.
    """
    page = aws.s3().list_object_versions(Bucket=file.bucket, Prefix=file.key, MaxKeys=1)
    for version in page.get("Versions", []):
        if version["Key"] == file.key and version["IsLatest"]:
            version_id = version["VersionId"]
            return ObjectVersion(None if version_id == NULL_VERSION else version_id, version["ETag"].strip('"'))
    return None
