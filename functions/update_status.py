"""UpdateStatus: marks the files that a committed manifest names, then claims the start of its job."""

from datetime import timedelta
from typing import Any

from manifest_builder import clock, manifest_objects
from manifest_builder.telemetry import box, count, count_bytes, logger, outcome
from manifest_builder.tracking import manifest_records, marking, pending

# Of the function's 8 s; the rest is for writes under way and for the claim.
MARKING_TIME = timedelta(seconds=5)


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """No lock is needed: any run may finish a committed manifest, and running this again changes nothing.

    in:  {"run_id", "execution", "date_prefix", "manifest": CreateManifest's output, "entered_at"}
    out: {"claimed": bool, "files_marked": n, "files_left": n}
    While files are left, the start is not claimed: the next round of the date marks them.
    """
    manifest = event["manifest"]
    files_marked, files_left = (0, 0) if manifest["marked"] else mark_files(event["date_prefix"], manifest)
    if files_left:
        outcome("files_left", manifest_path=manifest["manifest_path"], files_marked=files_marked, files_left=files_left)
        return {"claimed": False, "files_marked": files_marked, "files_left": files_left}
    stale = (manifest["stale_starter"], manifest["stale_attempted_at"]) if manifest["stale_attempted_at"] else None
    at = clock.machine_time(event)
    claimed = manifest_records.claim_start(
        manifest["record"]["date_prefix"], manifest["record"]["file_name"], event["run_id"], stale, at
    )
    said = "claimed" if claimed else "started_elsewhere"
    outcome(said, manifest_path=manifest["manifest_path"], files_marked=files_marked)
    if claimed:
        # StartGlueJob follows.
        count("JobStartsAttempted")
    return {"claimed": claimed, "files_marked": files_marked, "files_left": 0}


def mark_files(date_prefix: str, manifest: dict[str, Any]) -> tuple[int, int]:
    """Marks the named files that have been pending since the cut or before. Returns rows marked, and rows left."""
    until = clock.now() + MARKING_TIME
    manifest_path, cut = manifest["manifest_path"], manifest["cut"]
    named = set(manifest_objects.read(manifest_path))
    # The index holds only the rows that are still to be marked, and their sort keys.
    files = [file for file in pending.pending_files(date_prefix, until=cut) if file.file_path in named]
    marking_of_pending = marking.mark_manifested(date_prefix, files, manifest_path, cut, until)
    marked, left = marking_of_pending.marked, marking_of_pending.left
    # Usually empty. The rest was marked by an earlier attempt, replaced by a later version, or deleted since the cut.
    others = named.difference(file.file_path for file in marked)
    if others and not left:
        marking_of_deleted = marking.mark_deleted(date_prefix, others, manifest_path, cut, until)
        marked = marked + marking_of_deleted.marked
        if marking_of_deleted.left:
            logger.warning(
                "rows of deleted files were not read before the deadline",
                extra={"manifest_path": manifest_path, "files_left": marking_of_deleted.left},
            )
    if marked:
        count("FilesManifested", len(marked))
        count_bytes("BytesManifested", sum(file.size_bytes for file in marked))
    for file in marked:
        # The last log line of a file, and like its other lines at level DEBUG.
        logger.debug(
            "file manifested",
            extra={"file_path": file.file_path, "outcome": "manifested", "manifest_path": manifest_path},
        )
    return len(marked), left
