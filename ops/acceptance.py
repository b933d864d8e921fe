"""The course of an acceptance test: generated files go all the way, and all that they leave is deleted.

The files are below smoke/DATE/. DATE is a day of the last century that has no other files.
"""

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from manifest_builder import aws, clock, job_runs, manifest_objects
from manifest_builder.errors import ManifestGone
from manifest_builder.settings import settings
from manifest_builder.tracking import table
from manifest_builder.validation import reason_to_refuse
from ops import leftovers, machine
from ops.stack import Stack
from ops.status import describe_lock, read_lock
from ops.wiring import Finding
from toolkit.errors import UsageError
from toolkit.facts import Facts, FileRow, JobRun, Manifest, Upload, file_row, manifest_of
from toolkit.objects import keys_and_etags
from toolkit.steps import Steps
from toolkit.texts import plural, size
from toolkit.verdict import QUEUES_ARE_EMPTY, Check, verify

if TYPE_CHECKING:
    from mypy_boto3_glue.type_defs import JobRunTypeDef

VALID_FILES = 3
LEAST_BYTES = 10_000
"""Of a valid file, if the settings allow it."""
LARGEST_UPLOAD_BYTES = 1024**3
# No fields: a line must not add columns to the data set of the job.
LINE = b"{}" + b" " * 97 + b"\n"
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(1969, 12, 31)
MOST_DAYS_TRIED = 10
POLL_SECONDS = 1.0
RUN_PATIENCE = 12
"""A Glue run may take so many times as long as another step."""
ENDED = {"SUCCEEDED", *job_runs.ENDED_BADLY}


class StepMissing(Exception):
    """A step that did not come in time, or ended badly."""

    def __init__(self, what: str, causes: Iterable[Finding] = ()) -> None:
        super().__init__(what)
        self.causes = list(causes)


@dataclass
class Course:
    """One test: what it has uploaded, and what it has seen."""

    stack: Stack
    date: str
    patience: float
    """Seconds for which a step may take."""
    steps: Steps
    started: datetime = field(default_factory=clock.now)
    uploads: list[Upload] = field(default_factory=list)
    runs: list["JobRunTypeDef"] = field(default_factory=list)

    @property
    def folder(self) -> str:
        return f"s3://{self.stack.input_bucket}/{leftovers.prefix_of(self.date)}"

    def rows(self) -> list[FileRow]:
        return [file_row(item) for item in table.query(self.date) if "file_path" in item]

    def records(self) -> list[dict[str, Any]]:
        return list(table.query(f"MANIFEST#{self.date}"))

    def others(self) -> list[str]:
        """URIs of files of this date that are not the test's. A manifest outlives the rows of its files."""
        named = [uri for record in self.records() for uri in _manifest(record).uris]
        return [uri for uri in (*(row.uri for row in self.rows()), *named) if not uri.startswith(self.folder)]


def unused_date() -> str:
    """A day long ago without files."""
    days = (LAST_DAY - FIRST_DAY).days + 1
    for number in random.sample(range(days), min(MOST_DAYS_TRIED, days)):
        day = (FIRST_DAY + timedelta(days=number)).isoformat()
        if not any(True for partition in (day, f"MANIFEST#{day}") for _ in table.query(partition)):
            return day
    raise UsageError(f"days of {FIRST_DAY.year} to {LAST_DAY.year} have files already: there is no day for the test")


def sample(date_prefix: str) -> list[tuple[str, int]]:
    """Key and size of each file: valid ones, and one to be refused. Raises UsageError if they would be too large."""
    prefix, least = leftovers.prefix_of(date_prefix), settings().min_file_bytes
    size_bytes = min(max(least, LEAST_BYTES), settings().max_file_bytes)
    if VALID_FILES * size_bytes > LARGEST_UPLOAD_BYTES:
        raise UsageError(f"the smallest valid file has {size(size_bytes)}: that is too much for a test")
    refused = (f"{prefix}too-small.ndjson", least - 1) if least > 1 else (f"{prefix}refused.txt", LEAST_BYTES)
    return [(f"{prefix}file-{number}.ndjson", size_bytes) for number in range(1, VALID_FILES + 1)] + [refused]


def content(size_bytes: int) -> bytes:
    """So many bytes of NDJSON; the rest of a line is blank lines."""
    return LINE * (size_bytes // len(LINE)) + b"\n" * (size_bytes % len(LINE))


def follow(course: Course, files: list[tuple[str, int]]) -> list[Check]:
    """Takes the files all the way. Raises StepMissing."""
    with course.steps.step("Uploading files") as step:
        for key, size_bytes in files:
            course.uploads.append(upload(course.stack.input_bucket, key, size_bytes))
        step.end("Files uploaded", course.folder)
    await_rows(course)
    flush(course)
    await_manifests(course)
    await_runs(course)
    await_outcomes(course)
    with course.steps.step("Reading everything back") as step:
        checks = verify(read_facts(course), due_bytes=1, without=(QUEUES_ARE_EMPTY,))
        broken = [Finding(f"{check.clause}: {problem}") for check in checks for problem in check.problems]
        step.end("Everything read back", f"{len(checks)} clauses of the promise", went_well=not broken)
    if broken:
        raise StepMissing("the promise is not kept", broken)
    return checks


def upload(bucket: str, key: str, size_bytes: int) -> Upload:
    answer = aws.s3_for_copies().put_object(Bucket=bucket, Key=key, Body=content(size_bytes))
    return Upload(
        uri=f"s3://{bucket}/{key}",
        etag=answer["ETag"].strip('"'),
        size_bytes=size_bytes,
        refused=reason_to_refuse(key, size_bytes) is not None,
        version_id=answer.get("VersionId"),
    )


def await_rows(course: Course) -> None:
    """ParseEvent, ValidateFile, TrackFile and QuarantineFile; and the end of their execution's look at the date."""
    wanted = {upload.version: upload for upload in course.uploads}

    def look() -> tuple[bool, str]:
        found = {row.version: row for row in course.rows() if row.version in wanted}
        refused = sum(row.status == "quarantined" for row in found.values())
        is_done = len(found) == len(wanted) and read_lock(course.date) is None
        return is_done, f"TrackFile {len(found) - refused}, QuarantineFile {refused} of {len(wanted)}"

    _await(course, "TrackFile", "Files tracked", look)


def flush(course: Course) -> None:
    pending = [row.pending_since for row in course.rows() if row.pending_since]
    if pending:
        # The clock here may be behind those of the functions.
        machine.start(course.stack, course.date, flush_before=max(clock.to_text(clock.now()), *pending))


def await_manifests(course: Course) -> None:
    """CheckThreshold to RecordJobRun."""

    def look() -> tuple[bool, str]:
        pending = sum(row.status == "pending" for row in course.rows())
        records = course.records()
        started = sum("job_run_id" in record for record in records)
        is_done = not pending and bool(records) and started == len(records) and read_lock(course.date) is None
        return is_done, (
            f"{plural(pending, 'file')} pending, {started} of {plural(len(records), 'manifest')} started, "
            f"lock {describe_lock(read_lock(course.date))}"
        )

    _await(course, "StartGlueJob", "Manifest started", look)


def await_runs(course: Course) -> None:
    def look() -> tuple[bool, str]:
        # A failed run that was noticed already is started again: its record names no run meanwhile.
        runs = [record.get("job_run_id") for record in course.records()]
        course.runs = [job_runs.read_run(run) for run in runs if run]
        states = [run["JobRunState"] for run in course.runs]
        return len(states) == len(runs) and ENDED.issuperset(states), ", ".join(states)

    _await(course, "Glue run", "Glue run ended", look, patience=RUN_PATIENCE * course.patience)
    bad = [
        Finding(
            f"run {run.get('Id')} of {run.get('JobName')} is {run['JobRunState']}: {run.get('ErrorMessage', '')}",
            "the job's log says more: Glue console, job runs, error logs",
        )
        for run in course.runs
        if run["JobRunState"] != "SUCCEEDED"
    ]
    if bad:
        raise StepMissing("the Glue run failed", bad)


def await_outcomes(course: Course) -> None:
    def look() -> tuple[bool, str]:
        statuses = [record["status"] for record in course.records()]
        return all(status == "succeeded" for status in statuses), ", ".join(statuses)

    _await(course, "RecordOutcome", "Outcome recorded", look)


def clean_up(course: Course) -> None:
    """Deletes files, results and rows, in this order: the rows come last, since a deleted file writes into its row."""
    leftovers.delete_files(course.stack, course.date)

    def look() -> tuple[bool, str]:
        rows = course.rows()
        gone = sum(row.deleted_at is not None for row in rows)
        return gone == len(rows), f"{gone} of {len(rows)}"

    _await(course, "RecordRemoval", "Removals recorded", look)
    delete_rest(course)


def delete_rest(course: Course) -> None:
    with course.steps.step("Deleting the rest") as step:
        leftovers.delete_partitions(course.date)
        results, rows = leftovers.delete_results(course.stack, course.date), leftovers.delete_rows(course.date)
        step.end("Everything deleted", f"{plural(results, 'object')} of manifests and results, {plural(rows, 'row')}")


def read_facts(course: Course) -> Facts:
    """The facts of the test's date, for the verdict of `make run`."""
    stack = course.stack
    prefix = leftovers.prefix_of(course.date)
    lock = read_lock(course.date)
    return Facts(
        uploads=course.uploads,
        deleted=(),
        poison=[],
        objects={
            f"s3://{stack.input_bucket}/{key}": etag
            for key, etag in keys_and_etags(aws.s3(), stack.input_bucket, prefix)
        },
        files=course.rows(),
        manifests=[_manifest(record) for record in course.records()],
        locks=[course.date] if lock else [],
        runs=[_job_run(run) for run in course.runs],
        results={},
        has_results=False,
        copies=dict(keys_and_etags(aws.s3(), bucket, prefix)) if (bucket := settings().quarantine_bucket) else {},
        messages_left=0,
        dead_letters=[],
    )


def _await(
    course: Course,
    doing: str,
    done: str,
    look: Callable[[], tuple[bool, str]],
    patience: float | None = None,
) -> None:
    """Looks until it is done. Raises StepMissing when the patience is over."""
    seconds = course.patience if patience is None else patience
    until = time.monotonic() + seconds
    with course.steps.step(doing) as step:
        is_done, seen = look()
        while not is_done and time.monotonic() < until:
            step.show(seen)
            time.sleep(POLL_SECONDS)
            is_done, seen = look()
        step.end(done if is_done else doing, seen, went_well=is_done)
    if not is_done:
        raise StepMissing(f"{doing}: not within {seconds:.0f} s")


def _manifest(record: dict[str, Any]) -> Manifest:
    try:
        named = manifest_objects.read(record["file_path"])
    except ManifestGone:
        return manifest_of(record, None)
    return manifest_of(record, [(file.file_path, file.version_id or file.etag or "") for file in named])


def _job_run(run: "JobRunTypeDef") -> JobRun:
    path = run.get("Arguments", {}).get("--MANIFEST_PATH", "")
    return JobRun(run.get("Id", ""), path, run["JobRunState"], run.get("ErrorMessage", ""))
