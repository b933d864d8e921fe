"""QuarantineFile: copies a refused file to the quarantine bucket and records why; the original stays."""

from typing import Any
from urllib.parse import quote

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from manifest_builder import aws, event_bus
from manifest_builder.files import FileVersion
from manifest_builder.settings import GB, MB, settings
from manifest_builder.telemetry import box, outcome
from manifest_builder.tracking import file_rows

# The limit of CopyObject. A larger copy would not end within the function's timeout.
MAX_COPY_BYTES = 5 * GB
COPY = TransferConfig(multipart_threshold=256 * MB, multipart_chunksize=256 * MB, max_concurrency=10)


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Copies and sends the event first, then records: after a crash in between, both are repeated rather than missing.

    in:  {"run_id", "execution", "date_prefix", "file", "reason"}
    out: {"message_id", "file_path", "size_bytes", "outcome": "quarantined" | "duplicate" | "superseded"}
    """
    file = FileVersion.from_state(event["file"])
    found = file_rows.is_known(event["date_prefix"], file)
    note = None
    if found is None:
        note = copy_aside(file, event["reason"])
        event_bus.file_quarantined(event["date_prefix"], file, event["reason"], note)
        found = file_rows.record_quarantine(event["date_prefix"], file, event["reason"], note).outcome
    outcome(found, reason=event["reason"], copied_to=note)
    return {
        "message_id": file.message_id,
        "file_path": file.file_path,
        "size_bytes": file.size_bytes,
        "outcome": found,
    }


def metadata(file: FileVersion, reason: str) -> dict[str, str]:
    """Reason and origin of a copy, as object metadata: ASCII of at most 2 KB (S3 user guide, object metadata).

    A long origin is cut off. The copy has the same key, so the origin is still known.
    """
    origin = quote(file.file_path, safe=":/")
    return {"quarantine-reason": quote(reason, safe=" ")[:256], "quarantine-origin": origin[:1024]}


def copy_aside(file: FileVersion, reason: str) -> str:
    """Copies the refused version to the quarantine bucket. Returns the copy's URI, or why there is none."""
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
                # To copy tags would need s3:GetObjectTagging and s3:PutObjectTagging.
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
