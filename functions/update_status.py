"""UpdateStatus: mark the files that a committed manifest names, then claim the start of its job."""

from typing import Any

from manifest_builder import aws, manifests, tracking
from manifest_builder.settings import settings
from manifest_builder.telemetry import box, count, count_bytes, logger


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """No lock is needed: a committed manifest may be finished by anyone, and running this again changes nothing.

    in:  {"run_id", "date_prefix", "manifest": CreateManifest's output}
    out: {"claimed": bool, "files_marked": n}
    """
    manifest = event["manifest"]
    files_marked = 0 if manifest["marked"] else mark_files(event["date_prefix"], manifest)
    stale = (manifest["stale_starter"], manifest["stale_attempted_at"]) if manifest["stale_attempted_at"] else None
    claimed = tracking.claim_start(
        manifest["record"]["date_prefix"], manifest["record"]["file_name"], event["run_id"], stale
    )
    if not claimed:
        logger.info("another run starts the job", extra={"manifest_path": manifest["manifest_path"]})
    return {"claimed": claimed, "files_marked": files_marked}


def mark_files(date_prefix: str, manifest: dict[str, Any]) -> int:
    """Mark what the manifest names and is still pending since before its cut. Returns the number of rows."""
    key = manifest["manifest_path"].removeprefix(f"s3://{settings().manifest_bucket}/")
    document = aws.s3().get_object(Bucket=settings().manifest_bucket, Key=key)["Body"].read()
    named = set(manifests.from_document(document))
    # The index holds just the rows that are still to do, with their sort keys.
    rows = [row for row in tracking.pending_files(date_prefix, until=manifest["cut"]) if row.file_path in named]
    marked = tracking.mark_manifested(date_prefix, rows, manifest["manifest_path"], manifest["cut"])
    if marked:
        count("FilesManifested", len(marked))
        count_bytes("BytesManifested", sum(row.size_bytes for row in marked))
    logger.info(
        "files marked",
        extra={"manifest_path": manifest["manifest_path"], "named": len(named), "marked": len(marked)},
    )
    return len(marked)
