"""Runs of the Glue job: the one that a lost StartJobRun started, and the state of a known one."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from manifest_builder import aws, clock
from manifest_builder.manifests import ManifestRecord
from manifest_builder.settings import settings
from manifest_builder.tracking.manifest_records import failed_runs

if TYPE_CHECKING:
    from mypy_boto3_glue.type_defs import JobRunTypeDef

UNKNOWN = "UNKNOWN"
"""The state, in this application, of a run that Glue does not know: not yet, or not any more."""
ENDED_BADLY = {"FAILED", "TIMEOUT", "ERROR", "EXPIRED", "STOPPED"}
"""The states in which Glue ends a run without success."""
GLUES_RETRY_WITHIN = timedelta(minutes=30)
"""For so long a failed run is left to Glue, if the job has MaxRetries and Glue does not list the next attempt yet."""
CLOCK_SKEW = timedelta(minutes=5)
"""The record's times are Step Functions' or a function's, the run's are Glue's."""


def find_job_run(manifest: ManifestRecord) -> str | None:
    """The id of a run that an earlier attempt started although its response was lost; None if there is no such run.

    GetJobRuns lists the newest runs first, so the search ends at the last attempt: the run of an earlier one was looked
    for before the last was made. So the search stays short, however long a manifest waits for a busy Glue. A run that
    had ended long before is passed over: an earlier attempt started it, or it left because the record named another.
    """
    try:
        return _search_job_runs(manifest)
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityNotFoundException":
            raise
        # The job does not exist yet, so it has no runs. StartGlueJob, which follows, reports this once a minute.
        return None


def read_run(job_run_id: str, job_name: str | None = None) -> "JobRunTypeDef":
    """The run of a job (None: of the present one) as Glue describes it. UNKNOWN if Glue has no such run: not yet, or it
    was too long ago, or its job was deleted."""
    job_name = job_name or settings().glue_job_name
    try:
        return aws.glue().get_job_run(JobName=job_name, RunId=job_run_id)["JobRun"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityNotFoundException":
            raise
        return {"JobRunState": UNKNOWN, "ErrorMessage": f"{job_name} has no run {job_run_id}"}  # type: ignore[typeddict-item]


def glues_own_retry(run: "JobRunTypeDef", job_name: str | None = None) -> str | None:
    """The id of the run that Glue itself has started after this one failed, by the job's MaxRetries; None if there is
    none. GetJobRuns lists the newest runs first, and a retry starts after the failure."""
    job_name = job_name or settings().glue_job_name
    ended = run.get("CompletedOn")
    for page in aws.glue().get_paginator("get_job_runs").paginate(JobName=job_name):
        for other in page["JobRuns"]:
            if other.get("PreviousRunId") == run["Id"]:
                return other["Id"]
            if ended is not None and other.get("StartedOn", ended) < ended:
                return None
    return None


def is_retry_due(run: "JobRunTypeDef", now: datetime, job_name: str | None = None) -> bool:
    """Whether the job's MaxRetries give this failed run another attempt, which Glue does not list yet."""
    completed = run.get("CompletedOn")
    if completed is None or now - completed >= GLUES_RETRY_WITHIN:
        return False
    try:
        job = aws.glue().get_job(JobName=job_name or settings().glue_job_name)["Job"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityNotFoundException":
            raise
        return False
    return job.get("MaxRetries", 0) > run.get("Attempt", 0)


def times(run: "JobRunTypeDef") -> dict[str, str | None]:
    """Start and end of a run, as attributes of a manifest record."""
    return {"run_started_at": _text(run.get("StartedOn")), "finished_at": _text(run.get("CompletedOn"))}


def _search_job_runs(manifest: ManifestRecord) -> str | None:
    earliest = clock.from_text(manifest.start_attempted_at or manifest.created_at) - CLOCK_SKEW
    for page in aws.glue().get_paginator("get_job_runs").paginate(JobName=settings().glue_job_name):
        for run in page["JobRuns"]:
            # A run that waits in the job's queue may have no start time yet.
            started, ended = run.get("StartedOn"), run.get("CompletedOn")
            if started is not None and started < earliest:
                return None
            if ended is not None and ended < earliest:
                continue
            is_its_own = run.get("Arguments", {}).get("--MANIFEST_PATH") == manifest.file_path
            if is_its_own and run["Id"] not in failed_runs(manifest.date_prefix, manifest.record_name):
                return run["Id"]
    return None


def _text(moment: datetime | None) -> str | None:
    return clock.to_text(moment) if moment else None
