"""CreateManifest: resumes the oldest open manifest of the date, or cuts the next batch and commits its manifest."""

from datetime import UTC, datetime
from typing import Any

from manifest_builder import clock, event_bus, manifest_objects, manifests
from manifest_builder.batching import PendingFile
from manifest_builder.documents import NamedFile
from manifest_builder.errors import LockLost
from manifest_builder.job_runs import find_job_run
from manifest_builder.manifests import ManifestRecord
from manifest_builder.planning import plan
from manifest_builder.settings import settings
from manifest_builder.telemetry import box, count, outcome
from manifest_builder.tracking import manifest_records

LONG_AGO = clock.to_text(datetime.fromtimestamp(0, UTC))
NOTHING_TO_BUILD = {
    "needed": False,
    "record": None,
    "manifest_path": None,
    "manifest_bucket": None,
    "cut": None,
    "file_count": 0,
    "file_size_bytes": 0,
    "created_at": None,
    "marked": True,
    "stale_starter": None,
    "stale_attempted_at": None,
    "ask_since": None,
    "run_found": False,
    "job": {"JobRunId": None},
}


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The state carries a reference to the manifest, never its files.

    in:  {"run_id", "execution", "date_prefix", "flush_before", "batch_index", "token", "entered_at"}
    out: {"needed": bool, "record": {"date_prefix", "file_name"}, "manifest_path": s3 URI, "manifest_bucket", "cut",
          "file_count", "file_size_bytes", "created_at", "marked": are all its rows marked for certain,
          "stale_starter", "stale_attempted_at": the attempt that was given up, "run_found": bool,
          "ask_since": the record's `pending_since` while the run has no outcome,
          "job": {"JobRunId": the run found}}; NOTHING_TO_BUILD if no manifest is needed
    """
    batch_index = max(1, event["batch_index"])
    at = clock.machine_time(event)
    next_step = plan(
        event["date_prefix"],
        settings().max_batch_bytes,
        date_started=batch_index > 1,
        flush_before=event["flush_before"],
        at=at,
    )
    if next_step.manifest:
        run_id = find_job_run(next_step.manifest) if next_step.manifest.was_attempted else None
        outcome("run_found" if run_id else "resumed", job_run_id=run_id, **_summary(next_step.manifest))
        return _state(next_step.manifest, run_id)
    batch = next_step.batch.files
    if batch:
        if next_step.batch.is_flush:
            # Before the commit: if this function is killed in between, the flush is told twice rather than never.
            event_bus.date_flushed(event["date_prefix"], batch, cut_of(batch))
        manifest = cut_manifest(event["date_prefix"], batch_index, event["token"], batch, at)
        outcome("committed", **_summary(manifest))
        return _state(manifest, None)
    # Another run has built the manifest since CheckThreshold.
    outcome("nothing")
    return NOTHING_TO_BUILD


def cut_manifest(
    date_prefix: str, batch_index: int, token: str, batch: list[PendingFile], at: datetime
) -> ManifestRecord:
    """Writes the manifest object, then commits its record under the lease. Raises LockLost."""
    manifest_path, created_at = manifest_objects.write(date_prefix, batch_index, [NamedFile.of(file) for file in batch])
    manifest = ManifestRecord(
        date_prefix=date_prefix,
        record_name=manifests.record_name(batch_index, token),
        file_path=manifest_path,
        file_count=len(batch),
        file_size_bytes=sum(file.size_bytes for file in batch),
        cut=cut_of(batch),
        created_at=created_at,
    )
    try:
        committed = manifest_records.commit(manifest, token, at)
    except LockLost:
        manifest_objects.discard(manifest_path)
        raise
    if committed.file_path != manifest_path:
        # This token has committed before, and the response was lost.
        manifest_objects.discard(manifest_path)
        return committed
    count("ManifestsCreated")
    return manifest


def cut_of(batch: list[PendingFile]) -> str:
    """The cut of a batch: only rows that have been pending since then or before are marked."""
    return max(file.pending_since for file in batch)


def _summary(manifest: ManifestRecord) -> dict[str, Any]:
    """The facts of a manifest that both the log and the state hold."""
    return {
        "manifest_path": manifest.file_path,
        "file_count": manifest.file_count,
        "file_size_bytes": manifest.file_size_bytes,
    }


def _state(manifest: ManifestRecord, job_run_id: str | None) -> dict[str, Any]:
    return {
        "needed": True,
        "record": {
            "date_prefix": manifests.partition_of(manifest.date_prefix),
            "file_name": manifest.record_name,
        },
        **_summary(manifest),
        "manifest_bucket": settings().manifest_bucket,
        "cut": manifest.cut,
        "created_at": manifest.created_at,
        # A start is claimed only after every row is marked.
        "marked": manifest.starter is not None,
        "stale_starter": manifest.starter,
        "stale_attempted_at": manifest.start_attempted_at,
        # A run that was found may have ended, and its event came too early: the next sweep asks Glue.
        "ask_since": LONG_AGO if job_run_id else manifest.created_at,
        "run_found": job_run_id is not None,
        "job": {"JobRunId": job_run_id},
    }
