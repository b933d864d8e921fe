"""Files and manifests as operators name them: an S3 URI, or a key."""

import argparse
from datetime import date

from local.errors import UsageError
from manifest_builder.files import FileVersion, date_in_key


def calendar_date(text: str) -> str:
    """The type of an argument."""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2025-12-23") from None


def named_file(text: str, input_bucket: str) -> FileVersion:
    """The file of this key or URI, of no version in particular."""
    bucket, key = input_bucket, text
    if text.startswith("s3://"):
        bucket, _, key = text.removeprefix("s3://").partition("/")
    if not key:
        raise UsageError(f"{text!r} names no file: give its key, or s3://BUCKET/KEY")
    return FileVersion(message_id="", bucket=bucket, key=key, size_bytes=0, etag="", version_id=None, sequencer=None)


def named_manifest(text: str, manifest_bucket: str) -> tuple[str, str]:
    """The manifest's date and its URI."""
    uri = text if text.startswith("s3://") else f"s3://{manifest_bucket}/{text}"
    date_prefix = date_in_key(uri.removeprefix("s3://").partition("/")[2])
    if date_prefix is None:
        raise UsageError(f"{text!r} names no manifest: give s3://BUCKET/manifests/DATE/NAME.json, or its key")
    return date_prefix, uri
