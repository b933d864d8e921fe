"""Acceptance test of a deployed stack: a few files go all the way, and all that they leave is deleted again.

Uploads generated files below smoke/DATE/: some that are valid, and one that has to be refused. DATE is long ago and has
no other files. The command follows them to their manifest and its Glue run, judges by the clauses of `make run`,
deletes objects, rows and output, and says what it cost. The job runs once, for lines without fields. If a step does not
come, the command names the likely cause, and leaves everything as it is; --clean-up DATE deletes it.
"""

import argparse
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from manifest_builder import aws, clock, job_runs, manifest_objects
from manifest_builder.errors import ManifestGone
from manifest_builder.settings import settings
from manifest_builder.tracking import table
from manifest_builder.validation import reason_to_refuse
from ops import leftovers, machine, shell, wiring
from ops.diagnosis import likely_causes
from ops.screen import Screen
from ops.stack import Stack
from ops.status import describe_lock, read_lock
from ops.wiring import Finding
from toolkit.errors import UsageError
from toolkit.facts import Facts, FileRow, JobRun, Manifest, Upload, file_row, manifest_of
from toolkit.parser import calendar_date
from toolkit.steps import Steps
from toolkit.texts import plural, size
from toolkit.verdict import NO_LONGER_QUEUED, Check, verify

if TYPE_CHECKING:
    from mypy_boto3_glue.type_defs import JobRunTypeDef

EXAMPLES = ("smoke", "smoke --yes --json", "smoke --clean-up 1923-05-17")
FAILED = 1
VALID_FILES = 3
LEAST_BYTES = 10_000
"""Of a valid file, if the settings allow it."""
LARGEST_UPLOAD_BYTES = 1024**3
# No fields: a line must not add columns to the data set of the job.
LINE = b"{}" + b" " * 97 + b"\n"
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(1969, 12, 31)
MOST_DAYS_TRIED = 10
POLL_SECONDS = 1.0
LONGEST_PATIENCE = 3600
RUN_PATIENCE = 12
"""A Glue run may take so many times as long as another step."""
ENDED = {"SUCCEEDED", *job_runs.ENDED_BADLY}
DPU_HOUR_DOLLARS = {"STANDARD": 0.44, "FLEX": 0.29}
"""AWS Glue pricing, us-east-1. A run pays for a minute at least."""
DPUS = {"G.1X": 1, "G.2X": 2, "G.4X": 4, "G.8X": 8}


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--patience",
        type=_seconds,
        default=300,
        metavar="SECONDS",
        help="for each step; a Glue run has 12 times as long",
    )
    parser.add_argument(
        "--clean-up", type=calendar_date, metavar="DATE", help="only delete what an earlier test of this date has left"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(stack: Stack, options: argparse.Namespace, screen: Screen) -> int:
    steps = Steps(Console(stderr=True) if screen.as_json else screen.console)
    if options.clean_up:
        return only_clean_up(Course(stack, options.clean_up, options.patience, steps), screen)
    with steps.step("Looking at the stack") as step:
        wrong = wiring.findings(stack)
        step.end("Stack looked at", f"{'not ' if wrong else ''}as it was deployed", went_well=not wrong)
    if wrong:
        return _failed(stack, screen, "the stack is not as it was deployed; nothing was uploaded", wrong)
    course = Course(stack, unused_date(), options.patience, steps)
    files = sample(course.date)
    total = size(sum(size_bytes for _, size_bytes in files))
    if not screen.confirm(
        f"Uploads {plural(len(files), 'file')} ({total}) to {course.folder}, starts the Glue job "
        f"{settings().glue_job_name} once, and deletes files, rows, manifest and output"
    ):
        return FAILED
    try:
        checks = follow(course, files)
        clean_up(course)
    except StepMissing as missing:
        return _left(course, screen, missing)
    paid = dollars(course.runs)
    screen.answer({"stack": stack.name, "date": course.date, "works": True, "dollars": paid, "causes": []})
    screen.say(f"the stack works: {len(checks)} clauses of the promise hold for {plural(len(files), 'file')}")
    screen.say(f"about ${paid:.2f} for the Glue run; everything else costs less than a cent. Nothing is left.")
    return 0


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
        checks = verify(read_facts(course), due_bytes=1, without=(NO_LONGER_QUEUED,))
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
    """ParseEvent, ValidateFile, TrackFile and QuarantineFile."""
    wanted = {upload.version: upload for upload in course.uploads}

    def look() -> tuple[bool, str]:
        found = {row.version: row for row in course.rows() if row.version in wanted}
        refused = sum(row.status == "quarantined" for row in found.values())
        return len(found) == len(wanted), f"TrackFile {len(found) - refused}, QuarantineFile {refused} of {len(wanted)}"

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
        started = sum(record["status"] != "open" for record in records)
        is_done = not pending and bool(records) and started == len(records) and read_lock(course.date) is None
        return is_done, (
            f"{plural(pending, 'file')} pending, {started} of {plural(len(records), 'manifest')} started, "
            f"lock {describe_lock(read_lock(course.date))}"
        )

    _await(course, "StartGlueJob", "Manifest started", look)


def await_runs(course: Course) -> None:
    def look() -> tuple[bool, str]:
        course.runs = [job_runs.read_run(record["job_run_id"]) for record in course.records()]
        states = [run["JobRunState"] for run in course.runs]
        return all(state in ENDED for state in states), ", ".join(states)

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


def only_clean_up(course: Course, screen: Screen) -> int:
    """Deletes what a failed test has left, also if the workflow does not notice it."""
    others = [row.uri for row in course.rows() if not row.uri.startswith(course.folder)]
    if others:
        raise UsageError(f"{course.date} has other files, as {others[0]}: it is no date of a test")
    if not screen.confirm(f"Deletes {course.folder}, and all rows and results of {course.date}"):
        return FAILED
    try:
        clean_up(course)
    except StepMissing:
        delete_rest(course)
        screen.warn("the workflow has not noticed that the files were deleted; if it does later, it makes rows again")
    screen.answer({"stack": course.stack.name, "date": course.date, "cleaned_up": True})
    return 0


def read_facts(course: Course) -> Facts:
    """The facts of the test's date, for the verdict of `make run`."""
    stack = course.stack
    prefix = leftovers.prefix_of(course.date)
    lock = read_lock(course.date)
    return Facts(
        uploads=course.uploads,
        deleted=(),
        poison=[],
        objects={f"s3://{stack.input_bucket}/{key}": etag for key, etag in _objects(stack.input_bucket, prefix)},
        files=course.rows(),
        manifests=[_manifest(record) for record in course.records()],
        locks=[course.date] if lock else [],
        runs=[_job_run(run) for run in course.runs],
        results={},
        has_results=False,
        copies=dict(_objects(bucket, prefix)) if (bucket := settings().quarantine_bucket) else {},
        messages_left=0,
        dead_letters=[],
    )


def dollars(runs: Iterable["JobRunTypeDef"]) -> float:
    """What the runs cost, by AWS's list price."""
    return sum(_dpu_hours(run) * DPU_HOUR_DOLLARS[run.get("ExecutionClass", "STANDARD")] for run in runs)


def _dpu_hours(run: "JobRunTypeDef") -> float:
    dpus = DPUS.get(run.get("WorkerType", ""), 1) * run.get("NumberOfWorkers", 2)
    return dpus * max(60, run.get("ExecutionTime", 0)) / 3600


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


def _objects(bucket: str, prefix: str) -> Iterator[tuple[str, str]]:
    """Keys and etags."""
    for page in aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            yield item["Key"], item["ETag"].strip('"')


def _left(course: Course, screen: Screen, missing: StepMissing) -> int:
    """A failed test: says why, what is left, and how to delete it."""
    causes = missing.causes or likely_causes(course.stack, course.started, course.folder)
    code = _failed(course.stack, screen, str(missing), causes, course.date)
    later = shell.command(course.stack, "smoke", "--clean-up", course.date)
    screen.say(escape(f"everything is left as it is, to be looked at; to delete it: {later}"))
    return code


def _failed(stack: Stack, screen: Screen, what: str, causes: list[Finding], date_prefix: str | None = None) -> int:
    screen.answer(
        {
            "stack": stack.name,
            "date": date_prefix,
            "works": False,
            "failed": what,
            "causes": [asdict(cause) for cause in causes],
        }
    )
    screen.say(escape(f"the test failed: {what}"))
    for cause in causes:
        screen.say(escape(f"  {cause.cause}"))
        if cause.remedy:
            screen.say(escape(f"    -> {cause.remedy}"))
    return FAILED


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds <= LONGEST_PATIENCE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to {LONGEST_PATIENCE}")
    return seconds
