"""UpdateStatus: mark the files that a committed manifest names, then claim the start of its job."""

from datetime import timedelta
from typing import Any

from manifest_builder import aws, clock, manifests, tracking
from manifest_builder.settings import settings
from manifest_builder.telemetry import box, count, count_bytes, logger, outcome

# Of the function's 8 s; the rest is for calls under way and for the claim.
MARKING_TIME = timedelta(seconds=5)


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """No lock is needed: a committed manifest may be finished by anyone, and running this again changes nothing.

    in:  {"run_id", "execution", "date_prefix", "manifest": CreateManifest's output}
    out: {"claimed": bool, "files_marked": n, "files_left": n}
    Nothing is claimed while files are left: the next round of the date marks them.
    """
    manifest = event["manifest"]
    files_marked, files_left = (0, 0) if manifest["marked"] else mark_files(event["date_prefix"], manifest)
    if files_left:
        outcome("files_left", manifest_path=manifest["manifest_path"], files_marked=files_marked, files_left=files_left)
        return {"claimed": False, "files_marked": files_marked, "files_left": files_left}
    stale = (manifest["stale_starter"], manifest["stale_attempted_at"]) if manifest["stale_attempted_at"] else None
    claimed = tracking.claim_start(
        manifest["record"]["date_prefix"], manifest["record"]["file_name"], event["run_id"], stale
    )
    said = "claimed" if claimed else "started_elsewhere"
    outcome(said, manifest_path=manifest["manifest_path"], files_marked=files_marked)
    if claimed:
        # StartGlueJob follows.
        count("JobStartsAttempted")
    return {"claimed": claimed, "files_marked": files_marked, "files_left": 0}


def mark_files(date_prefix: str, manifest: dict[str, Any]) -> tuple[int, int]:
    """Mark what the manifest names and was pending up to its cut. Returns rows marked, and rows left."""
    until = clock.now() + MARKING_TIME
    key = manifest["manifest_path"].removeprefix(f"s3://{settings().manifest_bucket}/")
    document = aws.s3().get_object(Bucket=settings().manifest_bucket, Key=key)["Body"].read()
    named = set(manifests.from_document(document))
    # The index holds just the rows that are still to do, with their sort keys.
    rows = [row for row in tracking.pending_files(date_prefix, until=manifest["cut"]) if row.file_path in named]
    marking = tracking.mark_manifested(date_prefix, rows, manifest["manifest_path"], manifest["cut"], until)
    marked, left = marking.marked, marking.left
    # None on the usual way: marked by an earlier attempt, replaced by a later version, or deleted since the cut.
    others = named.difference(row.file_path for row in marked)
    if others and not left:
        gone = tracking.mark_deleted(date_prefix, others, manifest["manifest_path"], manifest["cut"], until)
        marked = marked + gone.marked
        if gone.left:
            logger.warning(
                "not every file that is not pending was looked at",
                extra={"manifest_path": manifest["manifest_path"], "files_left": gone.left},
            )
    if marked:
        count("FilesManifested", len(marked))
        count_bytes("BytesManifested", sum(row.size_bytes for row in marked))
    for row in marked:
        # The last thing that is said of a file on its way, and so DEBUG like the rest of it.
        logger.debug(
            "file manifested",
            extra={"file_path": row.file_path, "outcome": "manifested", "manifest_path": manifest["manifest_path"]},
        )
    return len(marked), left
