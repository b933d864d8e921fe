"""RecordOutcome: how did runs of the job end? A failed one is reported, and its manifest reopened while it may be."""

import uuid
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from manifest_builder import aws, clock, manifests, tracking
from manifest_builder.manifests import StartedManifest
from manifest_builder.settings import settings
from manifest_builder.telemetry import box, count, logger, outcome

if TYPE_CHECKING:
    from mypy_boto3_glue.type_defs import JobRunTypeDef

# Of the function's 15 s; the next sweep asks about the rest.
ASKING_TIME = timedelta(seconds=8)
UNKNOWN = "UNKNOWN"
ENDED_BADLY = {"FAILED", "TIMEOUT", "ERROR", "EXPIRED", "STOPPED", UNKNOWN}
# Somebody has stopped it and would not want it back at once; one that Glue has forgotten may have succeeded.
NEVER_RETRIED = {"STOPPED", UNKNOWN}
MESSAGE_CHARACTERS = 1000
FILES_NAMED = 100
# SNS takes ASCII, 100 characters at most, and no line breaks (Publish, Subject).
SUBJECT_CHARACTERS = 100


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """What counts is what Glue says of a run when it is asked: its event may come late, twice, or never.

    in:  {"execution", "request": {"job_runs": [{"job_run_id", "date_prefix", "manifest_path"}], "dates": [...],
          "rejected": [...], "ignored": n}}; an event gives the run alone, a sweep the rest, too, and its own "run_id"
    out: the shape of ParseEvent's output: the dates of the request, and those with a manifest that is open again
    """
    request = event["request"]
    # An event has no run yet. (A name of the event's would not do: Express may start an execution twice.)
    run_id = request.get("run_id") or str(uuid.uuid4())
    logger.append_keys(run_id=run_id)
    until = clock.now() + ASKING_TIME
    dates = {date["date_prefix"]: date for date in request["dates"]}
    said: Counter[str] = Counter()
    for job_run in request["job_runs"]:
        if clock.now() >= until:
            said["left"] += 1
            continue
        try:
            result, manifest = record(**job_run)
        except Exception:
            # One run that cannot be asked about must not hide the others; the sweep comes back to it.
            logger.exception("the outcome of a run is not recorded", extra=job_run)
            result, manifest = "unrecorded", None
        said[result] += 1
        if result == "reopened" and manifest:
            date_prefix = manifest.date_prefix
            dates.setdefault(date_prefix, {"date_prefix": date_prefix, "files": [], "flush_before": None})
    numbers = {f"runs_{name}": number for name, number in said.items()}
    outcome(next(iter(said)) if len(said) == 1 else "asked", **numbers)
    return {
        "run_id": run_id,
        "dates": list(dates.values()),
        "rejected": request["rejected"],
        "ignored": request["ignored"],
    }


def record(
    job_run_id: str, date_prefix: str | None = None, manifest_path: str | None = None
) -> tuple[str, StartedManifest | None]:
    """What became of the run's manifest: `succeeded`, `reopened`, `failed`, or why nothing has."""
    run = read_run(job_run_id)
    arguments = run.get("Arguments", {})
    date_prefix = date_prefix or arguments.get("--DATE_PREFIX")
    manifest_path = manifest_path or arguments.get("--MANIFEST_PATH")
    if not date_prefix or not manifest_path:
        return "no_manifest", None
    manifest = tracking.find_started(date_prefix, manifest_path)
    if manifest is None or manifest.job_run_id != job_run_id:
        # Recorded already; or not recorded as started yet, and then the sweep asks again.
        return "not_waited_for", None
    state = run["JobRunState"]
    if state == "SUCCEEDED":
        if not tracking.record_outcome(manifest, "succeeded", _times(run)):
            return "not_waited_for", None
        count("JobRunsSucceeded")
        logger.info("job run succeeded", extra=_subject(manifest))
        return "succeeded", manifest
    if state not in ENDED_BADLY:
        return "running", None
    return end_badly(manifest, run)


def read_run(job_run_id: str) -> "JobRunTypeDef":
    """As Glue tells it; Glue forgets runs after a while, and those of a job that was deleted."""
    try:
        return aws.glue().get_job_run(JobName=settings().glue_job_name, RunId=job_run_id)["JobRun"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityNotFoundException":
            raise
        return {"JobRunState": UNKNOWN, "ErrorMessage": f"{settings().glue_job_name} has no run {job_run_id}"}  # type: ignore[typeddict-item]


def end_badly(manifest: StartedManifest, run: "JobRunTypeDef") -> tuple[str, StartedManifest | None]:
    """Report first: told twice is better than not at all, should this function be killed in between."""
    state = run["JobRunState"]
    error = f"{state}: {run.get('ErrorMessage') or 'Glue gives no reason'}"[:MESSAGE_CHARACTERS]
    is_retried = state not in NEVER_RETRIED and manifest.attempt <= settings().job_retries
    logger.error("job run failed", extra={**_subject(manifest), "error": error, "retried": is_retried})
    report(manifest, error, is_retried=is_retried)
    if is_retried:
        recorded = tracking.reopen_manifest(
            manifest.date_prefix, manifest.record_name, run_id=str(manifest.job_run_id), error=error
        )
    else:
        recorded = tracking.record_outcome(manifest, "failed", {**_times(run), "error": error})
    if not recorded:
        return "not_waited_for", None
    count("JobRunsFailed")
    if not is_retried:
        count("ManifestsFailed")
    return "reopened" if is_retried else "failed", manifest


def report(manifest: StartedManifest, error: str, *, is_retried: bool) -> None:
    """To the alarm topic. A report that cannot be sent keeps nobody from going on; the metric has its own alarm."""
    topic_arn = settings().alarm_topic_arn
    if topic_arn is None:
        return
    try:
        publish(topic_arn, manifest, error, is_retried=is_retried)
    except Exception:
        logger.exception("a failed run could not be reported", extra=_subject(manifest))


def publish(topic_arn: str, manifest: StartedManifest, error: str, *, is_retried: bool) -> None:
    """Which manifest, which files, which error, and what happens next."""
    files = read_files(manifest.file_path)
    named = "\n".join(files[:FILES_NAMED])
    rest = f"\n... and {len(files) - FILES_NAMED} more" if len(files) > FILES_NAMED else ""
    follows = "It is not started again by itself: mend the cause, then replay the manifest (README, Operations)."
    if is_retried:
        follows = "The job is started again for this manifest."
    elif error.startswith(UNKNOWN):
        follows = "It may have succeeded: look for its output before you replay the manifest (README, Operations)."
    aws.sns().publish(
        TopicArn=topic_arn,
        Subject=f"Job run failed: {manifest.date_prefix}, {manifest.file_count} files"[:SUBJECT_CHARACTERS],
        Message=f"{error}\n\n{follows}\n\nManifest {manifest.file_path}\nRun {manifest.job_run_id} "
        f"(attempt {manifest.attempt}) of {settings().glue_job_name}\n\n{manifest.file_count} files:\n{named}{rest}\n",
    )


def read_files(manifest_path: str) -> list[str]:
    key = manifest_path.removeprefix(f"s3://{settings().manifest_bucket}/")
    return manifests.from_document(aws.s3().get_object(Bucket=settings().manifest_bucket, Key=key)["Body"].read())


def _times(run: "JobRunTypeDef") -> dict[str, str | None]:
    return {"run_started_at": _text(run.get("StartedOn")), "finished_at": _text(run.get("CompletedOn"))}


def _text(moment: datetime | None) -> str | None:
    return clock.to_text(moment) if moment else None


def _subject(manifest: StartedManifest) -> dict[str, Any]:
    return {
        "manifest_path": manifest.file_path,
        "job_run_id": manifest.job_run_id,
        "date_prefix": manifest.date_prefix,
        "attempt": manifest.attempt,
    }
