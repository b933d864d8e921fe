"""QuarantineFile: a refused file is copied aside and its reason recorded; the original stays."""

from typing import Any
from urllib.parse import quote

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from manifest_builder import aws, tracking
from manifest_builder.files import FileVersion
from manifest_builder.settings import GB, MB, settings
from manifest_builder.telemetry import box, outcome

# CopyObject's own limit; a larger copy would not end within the function's time.
MAX_COPY_BYTES = 5 * GB
COPY = TransferConfig(multipart_threshold=256 * MB, multipart_chunksize=256 * MB, max_concurrency=10)


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Copy first, then record: a crash in between repeats the copy, and never loses it.

    in:  {"run_id", "execution", "date_prefix", "file", "reason"}
    out: {"message_id", "file_path", "size_bytes", "outcome": "quarantined" | "duplicate" | "superseded"}
    """
    file = FileVersion.from_state(event["file"])
    found = tracking.is_known(event["date_prefix"], file)
    note = None
    if found is None:
        note = copy_aside(file, event["reason"])
        found = tracking.record_quarantine(event["date_prefix"], file, event["reason"], note).outcome
    outcome(found, reason=event["reason"], copied_to=note)
    return {
        "message_id": file.message_id,
        "file_path": file.file_path,
        "size_bytes": file.size_bytes,
        "outcome": found,
    }


def metadata(file: FileVersion, reason: str) -> dict[str, str]:
    """Why the copy is there and where it came from. Metadata travels in headers: ASCII, and 2 KB in all.

    The copy has its origin's key, so nothing is lost where a long key is cut off here.
    """
    origin = quote(file.file_path, safe=":/")
    return {"quarantine-reason": quote(reason, safe=" ")[:256], "quarantine-origin": origin[:1024]}


def copy_aside(file: FileVersion, reason: str) -> str:
    """Copy the refused version to the quarantine bucket. Returns the copy's URI, or why there is none."""
    bucket = settings().quarantine_bucket
    if bucket is None:
        return "not copied: no quarantine bucket is set"
    if file.size_bytes > MAX_COPY_BYTES:
        return "not copied: larger than 5 GB"
    source = {"Bucket": file.bucket, "Key": file.key}
    if file.version_id:
        source["VersionId"] = file.version_id
    try:
        aws.s3_for_copies().copy(
            source,  # type: ignore[arg-type]
            bucket,
            file.key,
            ExtraArgs={
                "MetadataDirective": "REPLACE",
                # Tags would need s3:GetObjectTagging and s3:PutObjectTagging, and say nothing here.
                "TaggingDirective": "REPLACE",
                "Metadata": metadata(file, reason),
            },
            Config=COPY,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchVersion"):
            return "not copied: the object has vanished"
        raise
    return f"s3://{bucket}/{file.key}"
