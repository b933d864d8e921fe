"""Starts the job again for a manifest, as a new attempt: for a failed run, after its cause is fixed.

The command reopens the record and starts an execution for its date, which starts the job with all of its retries. If it
is interrupted, repeat it, or wait for the next sweep.
"""

import argparse
from typing import TYPE_CHECKING

from manifest_builder import clock, job_runs
from manifest_builder.manifests import ManifestRecord
from manifest_builder.tracking import manifest_records
from ops import machine, shell
from ops.keys import add_manifest
from ops.rebuild import is_there
from ops.screen import Screen
from ops.stack import Stack
from ops.where import named_record

if TYPE_CHECKING:
    from mypy_boto3_glue.type_defs import JobRunTypeDef

EXAMPLES = (
    "replay s3://my-manifests/manifests/2025-12-23/batch-0001-20251223T100000000000Z.json",
    "replay manifests/2025-12-23/batch-0001-20251223T100000000000Z.json --force --yes",
)
REFUSED = 1
CHANGED = "its record has changed meanwhile: look again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_manifest(parser)
    parser.add_argument("--force", action="store_true", help="also if its run is under way, or has succeeded")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(stack: Stack, options: argparse.Namespace, screen: Screen) -> int:
    uri, record = named_record(options.manifest)
    if record is None:
        return _refuse(stack, screen, uri, "there is no record of this manifest")
    hindrance = why_not(stack, record, force=options.force)
    if hindrance:
        return _refuse(stack, screen, uri, hindrance)
    if not screen.confirm(f"Starts the job for {uri} ({record.status}) as attempt {next_attempt(record)}"):
        return REFUSED
    execution = replay(stack, record)
    if execution is None:
        return _refuse(stack, screen, uri, CHANGED)
    screen.answer(_document(stack, uri, replayed=True, attempt=next_attempt(record), execution=execution))
    screen.say(f"opened as attempt {next_attempt(record)}; the execution {execution} starts the job")
    screen.say(f"see: {shell.command(stack, 'status', record.date_prefix)}")
    return 0


def why_not(stack: Stack, record: ManifestRecord, *, force: bool = False) -> str | None:
    """Why the manifest cannot be replayed; None if it can."""
    danger = None if force else _danger(record)
    return f"{danger}; --force does it all the same" if danger else _hindrance(stack, record)


def next_attempt(record: ManifestRecord) -> int:
    """An open manifest was reopened by an interrupted replay, or was never started."""
    return record.attempt if record.status == "open" else record.attempt + 1


def replay(stack: Stack, record: ManifestRecord) -> str | None:
    """Starts the job again. Returns the execution's ARN; None if the record has changed since it was read."""
    if record.status != "open" and not _reopen(record):
        return None
    return machine.start(stack, record.date_prefix, flush_before=None)


def _danger(record: ManifestRecord) -> str | None:
    """Why another run might read the files twice. Glue is asked: the record may not have heard of the run's end yet."""
    if record.status == "succeeded":
        return "it is succeeded: its files were read, and would be read a second time"
    if record.status in ("open", "void") or not record.job_run_id:
        return None
    run = job_runs.read_run(record.job_run_id, record.job_name)
    state = run["JobRunState"]
    if state in job_runs.ENDED_BADLY and is_retried_by_glue(run, record):
        return "Glue itself tries its run again, because the job has MaxRetries: wait for its outcome"
    given_up = state == job_runs.UNKNOWN and record.status == "failed"
    if given_up or state in job_runs.ENDED_BADLY:
        return None
    return f"it is {record.status}, and Glue says that its run is {state}: another run would read the files too"


def is_retried_by_glue(run: "JobRunTypeDef", record: ManifestRecord) -> bool:
    if run["JobRunState"] == "STOPPED":
        return False
    name = record.job_name
    return job_runs.glues_own_retry(run, name) is not None or job_runs.is_retry_due(run, clock.now(), name)


def _hindrance(stack: Stack, record: ManifestRecord) -> str | None:
    """Why no run could read the manifest."""
    if record.status == "void":
        return "it is void: its files were given back, and are in other manifests"
    if not is_there(record.file_path):
        return f"its object is gone; first: {shell.command(stack, 'rebuild', record.file_path)}"
    return None


def _reopen(record: ManifestRecord) -> bool:
    return manifest_records.reopen(record.date_prefix, record.record_name, run_id=record.job_run_id, is_replay=True)


def _refuse(stack: Stack, screen: Screen, uri: str, why: str) -> int:
    screen.answer(_document(stack, uri, replayed=False, reason=why))
    screen.say(f"not replayed: {why}")
    return REFUSED


def _document(
    stack: Stack,
    uri: str,
    *,
    replayed: bool,
    reason: str | None = None,
    attempt: int | None = None,
    execution: str | None = None,
) -> dict[str, str | int | bool | None]:
    return {
        "stack": stack.name,
        "manifest": uri,
        "replayed": replayed,
        "reason": reason,
        "attempt": attempt,
        "execution": execution,
    }
