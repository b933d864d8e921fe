"""Compares the bucket, the table, and the manifests with the outcomes of their runs: is every file accounted for?

Lists the whole input bucket, and reads the rows and manifests of each date: about $0.02 for a million files. Without
DATE, --since or --all it takes the dates of the last 14 days, as --since does. --since also takes older dates to which
a file was written since. Exit code 0: complete. 1: something is missing, failed, or contradicts itself.

--repair sends an S3 event for every missing file, as backfill does, and starts the job again for every failed manifest,
as replay does. The exit code is still 1: audit again later.
"""

import argparse
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from manifest_builder import clock, inputs
from manifest_builder.auditing.dates import GRACE, audit_date
from manifest_builder.auditing.days import Days
from manifest_builder.auditing.results import DateAudit
from manifest_builder.auditing.spool import Spool
from manifest_builder.files import date_in_key
from manifest_builder.inputs import Listed
from ops import audit_report, inventory
from ops.audit_repair import repair
from ops.screen import Screen
from ops.stack import Stack
from ops.status import dates_with_work, manifest_dates
from toolkit.parser import calendar_date

EXAMPLES = ("audit", "audit 2025-12-23 --json", "audit --since 2025-12-01", "audit --all --repair")
INCOMPLETE = 1
LONGEST_GRACE = 525_600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("date", nargs="?", type=calendar_date, metavar="DATE", help="this date alone")
    which.add_argument("--since", type=calendar_date, metavar="DATE", help="this date and later ones")
    which.add_argument("--all", action="store_true", help="all dates")
    parser.add_argument(
        "--grace",
        type=_minutes,
        default=GRACE,
        metavar="MINUTES",
        help="an unknown file is too young to judge for so long (default: 15)",
    )
    parser.add_argument(
        "--inventory", metavar="MANIFEST", help="S3 URI of an S3 Inventory's manifest.json, read in place of the bucket"
    )
    parser.add_argument("--repair", action="store_true", help="send missing events, and replay failed manifests")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(stack: Stack, options: argparse.Namespace, screen: Screen) -> int:
    if options.repair:
        screen.require_answer("Repairs what is missing or failed")
    days = chosen_days(options)
    with Spool(stack.input_bucket) as spool:
        audits = audit(listed_objects(stack, options.inventory), days, options.grace, spool)
        is_complete = all(each.is_complete for each in audits)
        audit_report.show(stack, audits, spool, screen)
        repaired = repair(stack, audits, spool, screen) if options.repair and not is_complete else None
        screen.answer(audit_report.document(stack, audits, spool, repaired, is_complete=is_complete))
    return 0 if is_complete else INCOMPLETE


def chosen_days(options: argparse.Namespace) -> Days:
    if options.date:
        return Days(options.date, options.date)
    if options.all:
        return Days()
    return Days(options.since) if options.since else Days.that_can_change(clock.now())


def listed_objects(stack: Stack, inventory_manifest: str | None) -> Iterator[list[Listed]]:
    """The current objects of the input bucket."""
    if inventory_manifest:
        yield from inventory.pages(inventory_manifest, stack.input_bucket)
        return
    for page in inputs.pages(stack.input_bucket):
        yield list(inputs.latest(stack.input_bucket, page))


def audit(pages: Iterable[list[Listed]], days: Days, grace: timedelta, spool: Spool) -> list[DateAudit]:
    """The audits of these days, the earliest first. `pages`: the objects of the input bucket."""
    with progress_bar() as bar:
        task = bar.add_task("listing", total=None)
        for objects in pages:
            spool.add(listed for listed in objects if days.have(listed))
            bar.advance(task, len(objects))
        bar.remove_task(task)
        task = bar.add_task("comparing", total=len(spool))
        dates = known_dates(days) | set(spool.dates())
        return [
            audit_date(
                date,
                spool,
                partial(spool.mark_missing, date),
                grace=grace,
                progress=lambda rows: bar.advance(task, rows),
            )
            for date in sorted(dates)
        ]


def known_dates(days: Days) -> set[str]:
    """Dates that have manifests, or unfinished work, even if none of their files is in the bucket any more."""
    if days.first and days.first == days.last:
        return {days.first}
    return {date for date in (*manifest_dates(), *dates_with_work()) if date_in_key(date) == date and days.has(date)}


def progress_bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), Rate(), TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class Rate(ProgressColumn):
    """Files so far, and files per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:,.0f} files, {task.speed or 0:,.0f}/s")


def _minutes(text: str) -> timedelta:
    """The type of --grace."""
    if not text.isdecimal() or int(text) > LONGEST_GRACE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of minutes up to {LONGEST_GRACE:,}")
    return timedelta(minutes=int(text))
