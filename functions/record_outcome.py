"""RecordOutcome: records how job runs ended; reports a failed run, and reopens its manifest while retries are left."""

import uuid
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from manifest_builder import clock, event_bus, job_runs
from manifest_builder.errors import RunNotRecorded
from manifest_builder.failure_reports import report
from manifest_builder.job_runs import ENDED_BADLY, UNKNOWN
from manifest_builder.manifests import ManifestRecord
from manifest_builder.settings import settings
from manifest_builder.telemetry import box, count, logger, outcome
from manifest_builder.tracking import manifest_records

if TYPE_CHECKING:
    from mypy_boto3_glue.type_defs import JobRunTypeDef

# Of the function's 15 s; the next sweep asks about the runs that are left.
ASKING_TIME = timedelta(seconds=8)
# Somebody has stopped the run and does not want it back at once; a run that Glue has forgotten may have succeeded.
NEVER_RETRIED = {"STOPPED", UNKNOWN}
ASKED_AGAIN_FOR = timedelta(hours=24)
"""For so long after its start Glue is asked again about a run that it does not know: it may not know it yet."""
MESSAGE_CHARACTERS = 1000


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Glue is asked for the state of each run: a job's events may come late, twice, or never.

    in:  {"execution", "request": {"job_runs": [{"job_run_id", "date_prefix", "manifest_path"}], "dates": [...],
          "rejected": [...], "ignored": n}}; an event gives only the run, a sweep gives all fields and its "run_id"
    out: the shape of ParseEvent's output: the dates of the request, and the dates with a reopened manifest
    """
    request = event["request"]
    # An event has no run id yet, and its execution's name is none: Express may start an execution twice.
    run_id = request.get("run_id") or str(uuid.uuid4())
    logger.append_keys(run_id=run_id)
    until = clock.now() + ASKING_TIME
    dates = {date["date_prefix"]: date for date in request["dates"]}
    results: Counter[str] = Counter()
    for job_run in request["job_runs"]:
        if clock.now() >= until:
            results["left"] += 1
            continue
        try:
            result, manifest = record(**job_run)
        except RunNotRecorded:
            # Only an event tells of a run that no record names. The state's Retry asks again.
            raise
        except Exception:
            # A run whose outcome cannot be recorded must not hide the others; the next sweep asks about it again.
            logger.exception("the outcome of a job run was not recorded", extra=job_run)
            result, manifest = "unrecorded", None
        results[result] += 1
        if result == "reopened" and manifest:
            date_prefix = manifest.date_prefix
            dates.setdefault(date_prefix, {"date_prefix": date_prefix, "files": [], "flush_before": None})
    numbers = {f"runs_{name}": number for name, number in results.items()}
    outcome(next(iter(results)) if len(results) == 1 else "asked", **numbers)
    return {
        "run_id": run_id,
        "dates": list(dates.values()),
        "rejected": request["rejected"],
        "ignored": request["ignored"],
    }


def record(
    job_run_id: str, date_prefix: str | None = None, manifest_path: str | None = None
) -> tuple[str, ManifestRecord | None]:
    """The result for the run's manifest: `succeeded`, `reopened`, `failed`, or why nothing was recorded.

    A run that was given up because Glue did not know it is corrected when Glue tells how it ended. Raises
    RunNotRecorded.
    """
    if date_prefix and manifest_path:
        manifest = manifest_records.find_started(date_prefix, manifest_path)
        run = job_runs.read_run(job_run_id, manifest.job_name if manifest else None)
    else:
        run = job_runs.read_run(job_run_id)
        arguments = run.get("Arguments", {})
        date_prefix, manifest_path = arguments.get("--DATE_PREFIX"), arguments.get("--MANIFEST_PATH")
        if not date_prefix or not manifest_path:
            return "no_manifest", None
        manifest = manifest_records.find_started(date_prefix, manifest_path)
    if manifest is None and has_ended(run) and is_being_recorded(date_prefix, manifest_path, job_run_id):
        raise RunNotRecorded(f"{job_run_id} has ended before {manifest_path} names it")
    if manifest is None:
        manifest = manifest_records.find_given_up(date_prefix, manifest_path, job_run_id, UNKNOWN)
    if manifest and manifest.job_run_id == run.get("PreviousRunId"):
        return follow(manifest, run)
    if manifest is None or manifest.job_run_id != job_run_id:
        # The outcome is recorded already.
        return "not_waited_for", None
    return judge(manifest, run)


def judge(manifest: ManifestRecord, run: "JobRunTypeDef") -> tuple[str, ManifestRecord | None]:
    """Records what the state of its run means for a manifest."""
    if run["JobRunState"] == UNKNOWN and is_asked_again(manifest):
        logger.warning("Glue does not know the run: the next sweep asks again", extra=_subject(manifest))
        return "unknown", None
    if run["JobRunState"] == "SUCCEEDED":
        return end_well(manifest, run)
    if run["JobRunState"] in ENDED_BADLY and run["JobRunState"] != "STOPPED":
        # The run comes before the setting: MaxRetries may have been lowered since.
        retry = job_runs.glues_own_retry(run, manifest.job_name)
        if retry:
            return follow(manifest, job_runs.read_run(retry, manifest.job_name))
        if job_runs.is_retry_due(run, clock.now(), manifest.job_name):
            return "left_to_glue", None
    if run["JobRunState"] in {*ENDED_BADLY, UNKNOWN}:
        return end_badly(manifest, run)
    return "running", None


def has_ended(run: "JobRunTypeDef") -> bool:
    return run["JobRunState"] == "SUCCEEDED" or run["JobRunState"] in ENDED_BADLY


def is_being_recorded(date_prefix: str, manifest_path: str, job_run_id: str) -> bool:
    """Whether the run is of an open manifest whose start was attempted: RecordJobRun is about to record it."""
    manifest = manifest_records.find_open(date_prefix, manifest_path)
    if manifest is None or not manifest.was_attempted:
        return False
    return job_run_id not in manifest_records.failed_runs(date_prefix, manifest.record_name)


def follow(manifest: ManifestRecord, retry: "JobRunTypeDef") -> tuple[str, ManifestRecord | None]:
    """Makes the run that Glue itself has started, by the job's MaxRetries, the run of the manifest."""
    if not manifest_records.follow(manifest, retry["Id"]):
        return "not_waited_for", None
    return judge(replace(manifest, job_run_id=retry["Id"]), retry)


def is_asked_again(manifest: ManifestRecord) -> bool:
    """Whether the start is so recent that Glue may still come to know the run."""
    attempted_at = manifest.start_attempted_at
    return attempted_at is not None and clock.age_seconds(attempted_at, clock.now()) < ASKED_AGAIN_FOR.total_seconds()


def end_well(manifest: ManifestRecord, run: "JobRunTypeDef") -> tuple[str, ManifestRecord | None]:
    """Sends the event first: if this function is killed in between, it is sent twice rather than never."""
    event_bus.manifest_ended(manifest, "succeeded", job_runs.times(run))
    if not manifest_records.record_outcome(manifest, "succeeded", job_runs.times(run)):
        return "not_waited_for", None
    count("JobRunsSucceeded")
    logger.info("job run succeeded", extra=_subject(manifest))
    return "succeeded", manifest


def end_badly(manifest: ManifestRecord, run: "JobRunTypeDef") -> tuple[str, ManifestRecord | None]:
    """Sends the event and the report first: if this function is killed in between, they are sent twice rather than
    never. The report comes second: while no event can be sent, no report is repeated."""
    state = run["JobRunState"]
    error = f"{state}: {run.get('ErrorMessage') or 'Glue gives no reason'}"[:MESSAGE_CHARACTERS]
    is_retried = state not in NEVER_RETRIED and manifest.retries < settings().job_retries
    logger.error("job run failed", extra={**_subject(manifest), "error": error, "retried": is_retried})
    event_bus.manifest_ended(
        manifest, "failed" if is_retried else "waiting_for_operator", job_runs.times(run), reason=error
    )
    report(manifest, error, is_retried=is_retried)
    if is_retried:
        recorded = manifest_records.reopen(
            manifest.date_prefix, manifest.record_name, run_id=str(manifest.job_run_id), error=error
        )
    else:
        recorded = manifest_records.record_outcome(manifest, "failed", {**job_runs.times(run), "error": error})
    if not recorded:
        return "not_waited_for", None
    count("JobRunsFailed")
    if not is_retried:
        count("ManifestsFailed")
    return "reopened" if is_retried else "failed", manifest


def _subject(manifest: ManifestRecord) -> dict[str, Any]:
    return {
        "manifest_path": manifest.file_path,
        "job_run_id": manifest.job_run_id,
        "date_prefix": manifest.date_prefix,
        "attempt": manifest.attempt,
    }
