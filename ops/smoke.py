"""Acceptance test of a deployed stack: a few files go all the way, and all that they leave is deleted again.

Uploads generated files below smoke/DATE/: some that are valid, and one that has to be refused. DATE is long ago and has
no other files. The command follows them to their manifest and its Glue run, judges by the clauses of `make run`,
deletes objects, rows and output, and says what it cost. The job runs once, for lines without fields. If a step does not
come, the command names the likely cause, and leaves everything as it is; --clean-up DATE deletes it.
"""

import argparse
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from manifest_builder.settings import settings
from ops import shell, wiring
from ops.acceptance import FIRST_DAY, LAST_DAY, Course, StepMissing, clean_up, delete_rest, follow, sample, unused_date
from ops.diagnosis import likely_causes
from ops.screen import Screen
from ops.stack import Stack
from ops.wiring import Finding
from toolkit.errors import UsageError
from toolkit.parser import calendar_date
from toolkit.steps import Steps
from toolkit.texts import plural, size

if TYPE_CHECKING:
    from mypy_boto3_glue.type_defs import JobRunTypeDef

EXAMPLES = ("smoke", "smoke --yes --json", "smoke --clean-up 1923-05-17")
FAILED = 1
LONGEST_PATIENCE = 3600
DPU_HOUR_DOLLARS = {"STANDARD": 0.44, "FLEX": 0.29}
"""AWS Glue pricing, us-east-1. A run pays for a minute at least."""
DPUS = {"G.1X": 1, "G.2X": 2, "G.4X": 4, "G.8X": 8}


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
    except BaseException:
        screen.warn(f"what the test has made is still there; to delete it: {_later(course)}")
        raise
    paid = dollars(course.runs)
    screen.answer({"stack": stack.name, "date": course.date, "works": True, "dollars": paid, "causes": []})
    screen.say(f"the stack works: {len(checks)} clauses of the promise hold for {plural(len(files), 'file')}")
    screen.say(f"about ${paid:.2f} for the Glue run; everything else costs less than a cent. Nothing is left.")
    return 0


def only_clean_up(course: Course, screen: Screen) -> int:
    """Deletes what a failed test has left, also if the workflow does not notice it."""
    if not FIRST_DAY <= date.fromisoformat(course.date) <= LAST_DAY:
        raise UsageError(f"{course.date} is no date of a test: those are of {FIRST_DAY.year} to {LAST_DAY.year}")
    others = course.others()
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


def dollars(runs: Iterable["JobRunTypeDef"]) -> float:
    """What the runs cost, by AWS's list price."""
    return sum(_dpu_hours(run) * DPU_HOUR_DOLLARS[run.get("ExecutionClass", "STANDARD")] for run in runs)


def _dpu_hours(run: "JobRunTypeDef") -> float:
    dpus = DPUS.get(run.get("WorkerType", ""), 1) * run.get("NumberOfWorkers", 2)
    return dpus * max(60, run.get("ExecutionTime", 0)) / 3600


def _left(course: Course, screen: Screen, missing: StepMissing) -> int:
    """A failed test: says why, what is left, and how to delete it."""
    causes = missing.causes or likely_causes(course.stack, course.started, course.folder)
    code = _failed(course.stack, screen, str(missing), causes, course.date)
    screen.say(escape(f"everything is left as it is, to be looked at; to delete it: {_later(course)}"))
    return code


def _later(course: Course) -> str:
    return shell.command(course.stack, "smoke", "--clean-up", course.date)


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
