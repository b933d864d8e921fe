"""UpdateStatus: marks the files that a committed manifest names, then claims the start of its job.

If the manifest's object is gone, no job could read it. A manifest whose start was never claimed is void, and its files
are given back. Otherwise a run may have read it: it waits for an operator as failed.
"""

from datetime import datetime, timedelta
from typing import Any

from manifest_builder import clock, event_bus, manifest_objects
from manifest_builder.errors import ManifestGone
from manifest_builder.manifests import VOID
from manifest_builder.telemetry import box, count, count_bytes, logger, outcome
from manifest_builder.tracking import manifest_records, marking, pending, vanished

# Of the function's 8 s; the rest is for writes under way and for the claim.
MARKING_TIME = timedelta(seconds=5)
GONE = "GONE: the manifest's object was deleted"
"""The error of a manifest without its object."""
NOT_CLAIMED = {"claimed": False, "files_marked": 0, "files_left": 0}


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """No lock is needed: any run may finish a committed manifest, or retire it, and running this again changes nothing.

    in:  {"run_id", "execution", "date_prefix", "manifest": CreateManifest's output, "entered_at"}
    out: {"claimed": bool, "files_marked": n, "files_left": n}
    While files are left, the start is not claimed: the next round of the date marks them.
    """
    manifest = event["manifest"]
    if manifest["stale_starter"] == VOID:
        give_files_back(manifest)
        return NOT_CLAIMED
    try:
        files_marked, files_left = mark_files(event["date_prefix"], manifest)
    except ManifestGone:
        logger.exception("the manifest's object is gone", extra={"manifest_path": manifest["manifest_path"]})
        retire(manifest, clock.machine_time(event))
        return NOT_CLAIMED
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


def retire(manifest: dict[str, Any], at: datetime) -> None:
    """Makes a manifest whose object is gone void, or, if its start was ever claimed, failed."""
    partition, record_name = manifest["record"]["date_prefix"], manifest["record"]["file_name"]
    if manifest["stale_starter"] is None:
        if vanished.void(partition, record_name, manifest["cut"], GONE, at):
            count("ManifestsVoided")
            give_files_back(manifest)
    else:
        leave_to_an_operator(partition, record_name, (manifest["stale_starter"], manifest["stale_attempted_at"]))


def leave_to_an_operator(partition: str, record_name: str, attempt: tuple[str, str | None]) -> None:
    """Fails an open manifest, unless there is another attempt meanwhile. Sends the event before that."""
    record = manifest_records.read(partition, record_name)
    if record is None or (record.status, record.starter, record.start_attempted_at) != ("open", *attempt):
        return
    event_bus.manifest_ended(record, "waiting_for_operator", reason=GONE)
    if vanished.fail_unstarted(partition, record_name, attempt, GONE):
        outcome("failed", manifest_path=record.file_path)
        count("ManifestsFailed")


def give_files_back(manifest: dict[str, Any]) -> None:
    """Gives back the files of a void manifest, or as many as time allows: the next round of the date goes on."""
    record = manifest_records.read(manifest["record"]["date_prefix"], manifest["record"]["file_name"])
    if record and record.status == "void":
        returned, is_done = vanished.give_back(record, clock.now() + MARKING_TIME)
        outcome("void" if is_done else "files_left", manifest_path=record.file_path, files_returned=returned)


def mark_files(date_prefix: str, manifest: dict[str, Any]) -> tuple[int, int]:
    """Marks the named files that have been pending since the cut or before. Returns rows marked, and rows left.

    Raises ManifestGone.
    """
    until = clock.now() + MARKING_TIME
    manifest_path, cut = manifest["manifest_path"], manifest["cut"]
    if manifest["marked"]:
        manifest_objects.require(manifest_path)
        return 0, 0
    named = {file.file_path: file for file in manifest_objects.read(manifest_path)}
    # The index holds only the rows that are still to be marked, and their sort keys. Another version of a named file is
    # in another manifest.
    waiting = pending.pending_files(date_prefix, until=cut)
    files = [file for file in waiting if file.file_path in named and named[file.file_path].names(file)]
    marking_of_pending = marking.mark_manifested(date_prefix, files, manifest_path, cut, until)
    marked, left = marking_of_pending.marked, marking_of_pending.left
    # Usually empty. The rest was marked by an earlier attempt, deleted since the cut, or, in a bucket without versions,
    # replaced.
    others = [named[path] for path in named.keys() - {file.file_path for file in marked}]
    if others and not left:
        marking_of_others = marking.mark_others(date_prefix, others, manifest_path, cut, until)
        marked = marked + marking_of_others.marked
        if marking_of_others.left:
            logger.warning(
                "rows of deleted files were not read before the deadline",
                extra={"manifest_path": manifest_path, "files_left": marking_of_others.left},
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
