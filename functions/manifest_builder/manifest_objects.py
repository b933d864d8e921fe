"""Manifest objects in S3: written once under a key of their own, read back, deleted if they were never committed."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from botocore.exceptions import ClientError

from manifest_builder import aws, clock, documents, manifests
from manifest_builder.documents import NamedFile
from manifest_builder.errors import ManifestGone
from manifest_builder.settings import settings
from manifest_builder.telemetry import logger

PUT_ATTEMPTS = 3


def write(date_prefix: str, batch_index: int, files: Sequence[NamedFile]) -> tuple[str, str]:
    """Writes a manifest object. Returns its S3 URI and the moment that its key holds.

    If the key exists, a new moment gives another key: the object may be a committed manifest's, and no object is ever
    overwritten. (It may also be our own, written by a request whose response was lost; then it stays behind unused.)
    """
    document = documents.to_document(files).encode()
    for attempt in range(1, PUT_ATTEMPTS + 1):
        now = clock.now()
        key = manifests.object_key(date_prefix, batch_index, now)
        try:
            aws.s3().put_object(
                Bucket=settings().manifest_bucket,
                Key=key,
                Body=document,
                ContentType="application/json",
                IfNoneMatch="*",
            )
        except ClientError as error:
            exists = error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict")
            if not exists or attempt == PUT_ATTEMPTS:
                raise
        else:
            break
    return f"s3://{settings().manifest_bucket}/{key}", clock.to_text(now)


def rebuild(manifest_path: str, files: Sequence[NamedFile]) -> None:
    """Writes the object of a committed manifest that was deleted. Raises ClientError if there is one."""
    aws.s3().put_object(
        Bucket=settings().manifest_bucket,
        Key=_key(manifest_path),
        Body=documents.to_document(files).encode(),
        ContentType="application/json",
        IfNoneMatch="*",
    )


def require(manifest_path: str) -> None:
    """Raises ManifestGone if the object is not there."""
    try:
        aws.s3().head_object(Bucket=settings().manifest_bucket, Key=_key(manifest_path))
    except ClientError as error:
        raise _gone(error, manifest_path) from error


def read(manifest_path: str) -> list[NamedFile]:
    """The files that a manifest names. Raises ManifestGone."""
    try:
        answer = aws.s3().get_object(Bucket=settings().manifest_bucket, Key=_key(manifest_path))
    except ClientError as error:
        raise _gone(error, manifest_path) from error
    return documents.from_document(answer["Body"].read())


def of_date(date_prefix: str) -> Iterator[tuple[str, datetime]]:
    """The S3 URIs of the objects under a date's prefix, and when they were written."""
    bucket = settings().manifest_bucket
    pages = aws.s3().get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=bucket, Prefix=manifests.prefix_of(date_prefix)):
        for found in page.get("Contents", []):
            yield f"s3://{bucket}/{found['Key']}", found["LastModified"]


def discard(manifest_path: str) -> None:
    """Deletes an object that was not committed. A failure is logged only: nothing reads an uncommitted object."""
    key = _key(manifest_path)
    try:
        aws.s3().delete_object(Bucket=settings().manifest_bucket, Key=key)
    except Exception:
        logger.warning("an uncommitted manifest object was not deleted", extra={"key": key}, exc_info=True)


def _key(manifest_path: str) -> str:
    return manifest_path.removeprefix(f"s3://{settings().manifest_bucket}/")


def _gone(error: ClientError, manifest_path: str) -> Exception:
    """The error to raise: ManifestGone if S3 has said so. (HeadObject has no body, so its code is the status.)"""
    is_gone = error.response["Error"]["Code"] in ("404", "NoSuchKey")
    return ManifestGone(f"{manifest_path} was deleted") if is_gone else error
