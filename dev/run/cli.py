"""Flags, exit codes and the steps of a run.

Exit codes: 0 the promise is kept, 1 it is not (or the run failed), 2 a mistake in the call, 130 Ctrl-C, 143 SIGTERM or
SIGHUP.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from dev.emulator import feed as feeding
from dev.emulator.command import CommandParser, exit_code, start_and_deploy, stay_up
from dev.emulator.deploy import Deployment
from dev.emulator.emulator import Emulator
from dev.emulator.facts import read_facts, read_table
from dev.emulator.run_ends import RunEnds
from dev.paths import BUILD
from dev.run import report, watch
from dev.run.files import SAMPLE_PARAMETERS, Feed, folder_feed, sample_feed
from dev.template import template
from dev.trace.emulated import read_executions
from dev.trace.page import write_page
from toolkit.console import make_console
from toolkit.ending import end_when_told
from toolkit.errors import UsageError
from toolkit.exit_codes import FAILED
from toolkit.facts import Facts, Upload
from toolkit.parser import calendar_date
from toolkit.steps import Steps
from toolkit.texts import plural, size
from toolkit.verdict import overdue_dates, verify, verify_outcomes

GB = 1024**3
KEPT, NOT_KEPT = 0, FAILED

Wait = Callable[..., watch.Progress]
"""`_wait` with the arguments of this run. Takes the uploads, the awaited condition, and two texts for the screen."""


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        options = parse(arguments)
        feed = sample_feed() if options.input is None else folder_feed(options.input, options.date)
        end_when_told(with_parent=options.end_with_parent)
        return run(options, feed)

    return exit_code(command)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        "dev.run", "run", "Deploys template.yaml to an emulator of AWS here, feeds it files, and checks the promise."
    )
    parser.add_argument("--input", type=_folder, metavar="FOLDER", help="feed the files below it instead of the sample")
    parser.add_argument(
        "--date", type=calendar_date, metavar="YYYY-MM-DD", help="upload the folder's files below this date"
    )
    for flag, parameter in PARAMETERS.items():
        _add_parameter(parser, flag, parameter)
    parser.add_argument(
        "--flush", action="store_true", help="at the end, let a sweep put what is pending into manifests too"
    )
    parser.add_argument(
        "--page",
        type=Path,
        default=BUILD / "run.html",
        metavar="FILE",
        help="where the picture of the executions goes (default %(default)s)",
    )
    parser.add_argument("--keep", action="store_true", help="leave the emulator up until Ctrl-C")
    parser.add_argument(
        "--enforce-policies", action="store_true", help="let the emulator check the functions' permissions"
    )
    options = parser.parse_args(arguments)
    if options.date and not options.input:
        raise UsageError("--date is for --input: the sample has dates of its own")
    return options


PARAMETERS = {
    "--max-batch-gb": "MaxBatchSizeGb",
    "--expected-file-mb": "ExpectedFileSizeMb",
    "--tolerance-percent": "SizeTolerancePercent",
    "--flush-after-minutes": "FlushAfterMinutes",
    "--max-concurrency": "MaxConcurrency",
    "--retry-delay-seconds": "RetryDelaySeconds",
}
"""Flags that are parameters of the template, which has their bounds and their defaults."""
ASKED_AT_EVERY_SWEEP = {"OutcomeAfterMinutes": "0"}
"""If the event of a run's end got lost, a sweep at the end finds its outcome."""
WHOLE_NUMBERS = {"FlushAfterMinutes", "MaxConcurrency", "RetryDelaySeconds"}


def _add_parameter(parser: argparse.ArgumentParser, flag: str, parameter: str) -> None:
    declared = template()["Parameters"][parameter]
    sample = f", the sample's {SAMPLE_PARAMETERS[parameter]}" if parameter in SAMPLE_PARAMETERS else ""
    parser.add_argument(
        flag,
        dest=parameter,
        metavar="N",
        type=partial(_number_between, declared["MinValue"], declared["MaxValue"], parameter in WHOLE_NUMBERS),
        help=f"{parameter} of the template (default {declared['Default']}{sample})",
    )


def _number_between(least: float, most: float, is_whole: bool, text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
    if is_whole and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return text


def _folder(text: str) -> Path:
    # Path("") is the current folder.
    if not text:
        raise argparse.ArgumentTypeError("name a folder")
    return Path(text)


def stack_parameters(options: argparse.Namespace) -> dict[str, str]:
    given = {name: value for name in PARAMETERS.values() if (value := getattr(options, name)) is not None}
    of_run = {} if options.input else SAMPLE_PARAMETERS
    # A sweep flushes files that are older than this.
    return {**ASKED_AT_EVERY_SWEEP, **of_run, **({"FlushAfterMinutes": "0"} if options.flush else {}), **given}


def run(options: argparse.Namespace, feed: Feed) -> int:
    console = make_console()
    steps = Steps(console)
    parameters = stack_parameters(options)

    def limit(name: str) -> float:
        return float(parameters.get(name, template()["Parameters"][name]["Default"]))

    source = f"the files of {options.input}" if options.input else "a generated sample"
    console.print(
        f"\n[bold]manifest-builder[/], the whole workflow on this machine, fed with {source}\n", soft_wrap=True
    )
    with ExitStack() as stack:
        emulator = Emulator(enforce_policies=options.enforce_policies)
        deployment = start_and_deploy(steps, stack, emulator, parameters)
        stack.enter_context(RunEnds(emulator, deployment))
        wait = partial(
            _wait,
            steps,
            emulator,
            deployment,
            watch.longest_recovery_seconds(limit("LockTtlSeconds"), limit("RetryDelaySeconds")),
        )
        uploads, deleted, progress = feed_everything(steps, emulator, deployment, feed, wait)
        max_batch_bytes = int(limit("MaxBatchSizeGb") * GB)
        overdue = overdue_dates(read_table(emulator, deployment).files, max_batch_bytes)
        # The scheduled sweep would finish the work of a slow machine too, but later.
        if options.flush or progress.manifests_open or progress.manifests_started or overdue:
            sweep(emulator, deployment, uploads, wait)
        with steps.step("Reading everything back") as step:
            facts = read_facts(emulator, deployment, uploads, [feed.poison] if feed.poison else [], deleted)
            step.end("Everything read back", "S3, DynamoDB, Glue, SQS")
        page = draw(steps, emulator, deployment, facts, options.page)
        # After a flush any pending file is one too many.
        due_bytes = 1 if options.flush and not limit("FlushAfterMinutes") else max_batch_bytes
        checks = [*verify(facts, due_bytes), *verify_outcomes(facts)]
        report.print_tables(
            console,
            facts,
            {file.key: file.note for file in feed.files if file.note},
            max_batch_bytes=max_batch_bytes,
            flush_after_minutes=int(limit("FlushAfterMinutes")),
        )
        report.print_verdict(console, facts, checks, steps.seconds)
        if page:
            report.print_page(console, page)
        if options.keep:
            stay_up(console, emulator, commands(deployment))
    return KEPT if all(check.holds for check in checks) else NOT_KEPT


def feed_everything(
    steps: Steps, emulator: Emulator, deployment: Deployment, feed: Feed, wait: Wait
) -> tuple[list[Upload], list[str], watch.Progress]:
    """Upload in the feed's order, and wait until the workflow is done. Returns every version uploaded, and the URIs of
    what was deleted again."""
    deleted: list[str] = []
    poison = 1 if feed.poison else 0
    with steps.step("Uploading files") as step:
        if feed.poison:
            feeding.send(emulator, deployment, feed.poison)
        uploads = feeding.upload(emulator, deployment, feed.first)
        total = size(sum(upload.size_bytes for upload in uploads))
        also = ", and one poison message sent to the queue" if feed.poison else ""
        step.end(f"{plural(len(uploads), 'file')} uploaded", f"{total}{also}")
    if feed.later:
        wait(
            uploads,
            lambda progress: progress.is_everything_known and progress.is_quiet and progress.messages <= poison,
        )
        with steps.step("Uploading more files") as step:
            if feed.deleted:
                deleted = [feeding.delete(emulator, deployment, feed.deleted)]
            later = feeding.upload(emulator, deployment, feed.later)
            again = {upload.uri for upload in uploads} & {upload.uri for upload in later}
            uploads = uploads + later
            if feed.delivered_twice:
                uri = f"s3://{deployment.input_bucket}/{feed.delivered_twice}"
                # After a stall it may not be known.
                for row in (row for row in read_table(emulator, deployment).files if row.uri == uri):
                    feeding.send(emulator, deployment, feeding.event_of(row))
            step.end(
                f"{len(later)} more uploaded",
                f"{len(again)} with new content; {len(deleted)} deleted; one event delivered twice",
            )
    return (
        uploads,
        deleted,
        wait(uploads, lambda progress: progress.is_finished(poison) and not progress.manifests_started),
    )


def sweep(emulator: Emulator, deployment: Deployment, uploads: list[Upload], wait: Wait) -> None:
    """Repeats the sweep: one sweep takes a limited number of dates, and leaves the rest to the next."""
    seen, progress = None, None
    while progress is None or (progress.files_pending and progress != seen):
        seen = progress
        execution = emulator.stepfunctions.start_execution(
            stateMachineArn=deployment.state_machine_arn, input='{"sweep": true}'
        )["executionArn"]
        progress = wait(uploads, partial(_has_swept, emulator, execution), doing="Sweeping", done="Swept")


def _has_swept(emulator: Emulator, execution: str, progress: watch.Progress) -> bool:
    # Of an Express execution AWS would not tell; the emulator does.
    status = emulator.stepfunctions.describe_execution(executionArn=execution)["status"]
    return progress.is_quiet and not progress.manifests_started and status != "RUNNING"


def _wait(
    steps: Steps,
    emulator: Emulator,
    deployment: Deployment,
    recovery_seconds: float,
    uploads: list[Upload],
    is_done: Callable[[watch.Progress], bool],
    doing: str = "Building manifests",
    done: str = "Workflow done",
) -> watch.Progress:
    with steps.step(doing) as step:
        progress = watch.wait(emulator, deployment, uploads, is_done, step.show, recovery_seconds=recovery_seconds)
        went_well = is_done(progress)
        step.end(done if went_well else "Nothing has moved for long", progress.summary, went_well=went_well)
    return progress


def draw(steps: Steps, emulator: Emulator, deployment: Deployment, facts: Facts, path: Path) -> Path | None:
    """Write the page of the executions. A disk that does not take it breaks no promise."""
    with steps.step("Drawing the executions") as step:
        executions = read_executions(emulator, deployment, facts)
        try:
            write_page(path, "Manifest builder: the embedded run", executions, table_read="At the end")
        except OSError as error:
            step.end("Executions not drawn", str(error), went_well=False)
            return None
        step.end("Executions drawn", f"{plural(len(executions), 'execution')}, state by state")
    return path


def commands(deployment: Deployment) -> list[str]:
    """Commands to try on an emulator that stays up."""
    return [
        f"aws s3 cp my.ndjson s3://{deployment.input_bucket}/2025-12-23/",
        f"make ops ARGS='status --stack {deployment.stack_name}'",
        f"aws dynamodb scan --table-name {deployment.tracking_table}",
        f"aws glue get-job-runs --job-name {deployment.job_name}",
        f"aws stepfunctions start-execution --input '{{\"sweep\":true}}' "
        f"--state-machine-arn {deployment.state_machine_arn}",
    ]
