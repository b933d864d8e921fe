"""Files and manifests as operators name them: an S3 URI, or a key."""

import argparse

from manifest_builder.files import MAX_KEY_BYTES, FileVersion, date_in_key
from toolkit.errors import UsageError


def named_key(text: str, bucket: str, whose: str = "input bucket") -> str:
    """A key of the bucket, or the beginning of keys. Raises UsageError for another bucket's."""
    key = text
    if text.startswith("s3://"):
        named, _, key = text.removeprefix("s3://").partition("/")
        if named != bucket:
            raise UsageError(f"{text}: {named} is not the {whose}, which is {bucket}")
    if (key_bytes := len(key.encode())) > MAX_KEY_BYTES:
        raise UsageError(f"{key[:60]}... has {key_bytes:,} bytes: no key has more than {MAX_KEY_BYTES:,}")
    return key


def named_file(text: str, input_bucket: str) -> FileVersion:
    """The file of this key or URI, of no version in particular."""
    key = named_key(text, input_bucket)
    if not key:
        raise UsageError(f"{text!r} names no file: give its key, or s3://BUCKET/KEY")
    return FileVersion(
        message_id="", bucket=input_bucket, key=key, size_bytes=0, etag="", version_id=None, sequencer=None
    )


def add_manifest(parser: argparse.ArgumentParser) -> None:
    """The argument that names a manifest."""
    parser.add_argument("manifest", metavar="MANIFEST", help="its S3 URI, or its key in the manifest bucket")


def named_manifest(text: str, manifest_bucket: str) -> tuple[str, str]:
    """The manifest's date and its URI."""
    key = named_key(text, manifest_bucket, "manifest bucket")
    date_prefix = date_in_key(key)
    if date_prefix is None:
        raise UsageError(f"{text!r} names no manifest: give s3://BUCKET/manifests/DATE/NAME.json, or its key")
    if key.startswith("/"):
        raise UsageError(f"{text!r} begins with a slash, which no manifest's key does: leave it out")
    return date_prefix, f"s3://{manifest_bucket}/{key}"
