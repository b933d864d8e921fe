"""CreateManifest: resume the oldest open manifest of the date, or cut the next batch and commit its manifest."""

from datetime import timedelta
from typing import Any

from botocore.exceptions import ClientError

from manifest_builder import aws, clock, manifests, tracking
from manifest_builder.batching import PendingFile
from manifest_builder.errors import LockLost
from manifest_builder.manifests import ManifestRecord
from manifest_builder.planning import plan
from manifest_builder.settings import settings
from manifest_builder.telemetry import box, count, logger, outcome

PUT_ATTEMPTS = 3
# The record's clock is ours, the run's is Glue's.
CLOCK_SKEW = timedelta(minutes=5)

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
    "run_found": False,
    "job": {"JobRunId": None},
}


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The state carries a reference to the manifest, never its files.

    in:  {"run_id", "execution", "date_prefix", "flush_before", "batch_index", "token"}
    out: {"needed": bool, "record": {"date_prefix", "file_name"}, "manifest_path": s3 URI, "manifest_bucket", "cut",
          "file_count", "file_size_bytes", "created_at", "marked": are its rows known to be marked,
          "stale_starter", "stale_attempted_at": the attempt that was given up, "run_found": bool,
          "job": {"JobRunId": the run found}}; every field null or empty where nothing is needed
    """
    batch_index = max(1, event["batch_index"])
    next_step = plan(
        event["date_prefix"],
        settings().max_batch_bytes,
        date_started=batch_index > 1,
        flush_before=event["flush_before"],
        at=clock.now(),
    )
    if next_step.manifest:
        run_id = find_job_run(next_step.manifest) if next_step.manifest.was_attempted else None
        outcome("run_found" if run_id else "resumed", job_run_id=run_id, **_summary(next_step.manifest))
        return _state(next_step.manifest, run_id)
    if next_step.batch:
        manifest = cut_manifest(event["date_prefix"], batch_index, event["token"], next_step.batch)
        outcome("committed", **_summary(manifest))
        return _state(manifest, None)
    # Another run was first.
    outcome("nothing")
    return NOTHING_TO_BUILD


def cut_manifest(date_prefix: str, batch_index: int, token: str, batch: list[PendingFile]) -> ManifestRecord:
    """Write the manifest object, then commit its record under the lease. Raises LockLost."""
    key, created_at = put_object(date_prefix, batch_index, batch)
    manifest = ManifestRecord(
        date_prefix=date_prefix,
        record_name=manifests.record_name(batch_index, token),
        file_path=f"s3://{settings().manifest_bucket}/{key}",
        file_count=len(batch),
        file_size_bytes=sum(file.size_bytes for file in batch),
        cut=max(file.pending_since for file in batch),
        created_at=created_at,
    )
    try:
        committed = tracking.commit_manifest(manifest, token)
    except LockLost:
        delete_litter(key)
        raise
    if committed.file_path != manifest.file_path:
        delete_litter(key)
        return committed
    count("ManifestsCreated")
    return manifest


def put_object(date_prefix: str, batch_index: int, batch: list[PendingFile]) -> tuple[str, str]:
    """Write the manifest under a key of this attempt alone. Returns the key and the moment in it.

    A key that exists is never overwritten: it may be a committed manifest's. (Or our own, its answer lost: litter.)
    """
    document = manifests.to_document([file.file_path for file in batch])
    for attempt in range(1, PUT_ATTEMPTS + 1):
        now = clock.now()
        key = manifests.object_key(date_prefix, batch_index, now)
        try:
            aws.s3().put_object(
                Bucket=settings().manifest_bucket,
                Key=key,
                Body=document.encode(),
                ContentType="application/json",
                IfNoneMatch="*",
            )
        except ClientError as error:
            taken = error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict")
            if not taken or attempt == PUT_ATTEMPTS:
                raise
        else:
            break
    return key, clock.to_text(now)


def delete_litter(key: str) -> None:
    """Best effort: nothing reads an object that no record names."""
    try:
        aws.s3().delete_object(Bucket=settings().manifest_bucket, Key=key)
    except Exception:
        logger.warning("an uncommitted manifest object stays behind", extra={"key": key}, exc_info=True)


def find_job_run(manifest: ManifestRecord) -> str | None:
    """The run that an attempt started although its answer was lost, if there is one.

    GetJobRuns gives the newest runs first, so the search ends at the manifest's creation, or when it was reopened. What
    had ended by then is passed over: a run of an earlier attempt, or one that left because the record named another.
    """
    try:
        return _search_job_runs(manifest)
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityNotFoundException":
            raise
        # The job does not exist yet, so it has no runs. The start that follows says so, once a minute.
        return None


def _search_job_runs(manifest: ManifestRecord) -> str | None:
    opened = clock.from_text(manifest.created_at)
    earliest = opened - CLOCK_SKEW
    for page in aws.glue().get_paginator("get_job_runs").paginate(JobName=settings().glue_job_name):
        for run in page["JobRuns"]:
            # One that waits in the job's queue may have no start yet.
            started, ended = run.get("StartedOn"), run.get("CompletedOn")
            if started is not None and started < earliest:
                return None
            if ended is not None and ended < opened:
                continue
            is_its_own = run.get("Arguments", {}).get("--MANIFEST_PATH") == manifest.file_path
            if is_its_own and run["Id"] not in tracking.failed_runs(manifest.date_prefix, manifest.record_name):
                return run["Id"]
    return None


def _summary(manifest: ManifestRecord) -> dict[str, Any]:
    """What the log and the state both say of a manifest."""
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
        # Only a fully marked manifest is ever claimed for a start.
        "marked": manifest.starter is not None,
        "stale_starter": manifest.starter,
        "stale_attempted_at": manifest.start_attempted_at,
        "run_found": job_run_id is not None,
        "job": {"JobRunId": job_run_id},
    }
