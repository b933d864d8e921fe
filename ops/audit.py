"""Compares the bucket, the table, and the manifests with the outcomes of their runs: is every file accounted for?

Lists the whole input bucket, and reads the rows and manifests of each date: about $0.02 for a million files. Without
DATE, --since or --all it takes the dates of the last 14 days, as --since does. --since also takes older dates to which
a file was written since. Exit code 0: complete. 1: something is missing, failed, or contradicts itself.

--repair sends an S3 event for every missing file, as backfill does, and starts the job again for every failed manifest,
as replay does. The exit code is still 1: audit again later.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from itertools import chain, islice
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from manifest_builder import announcements, clock, inputs, listing
from manifest_builder.auditing.dates import GRACE, audit_date
from manifest_builder.auditing.days import Days
from manifest_builder.auditing.results import BAD, MOST_PROBLEMS, DateAudit, State
from manifest_builder.auditing.spool import Spool
from manifest_builder.files import date_in_key
from manifest_builder.inputs import Listed
from ops import inventory, replay, shell, tables
from ops.screen import Screen
from ops.stack import Stack
from ops.status import dates_with_work, manifest_dates
from ops.where import named_record
from toolkit.parser import calendar_date
from toolkit.texts import duration, plural

EXAMPLES = ("audit", "audit 2025-12-23 --json", "audit --since 2025-12-01", "audit --all --repair")
INCOMPLETE = 1
MOST_SHOWN = 20
LONGEST_GRACE = 525_600
HEADERS: dict[State, str] = {
    "pending": "Pending",
    "running": "Running",
    "succeeded": "Succeeded",
    "failed": "Failed",
    "quarantined": "Quarantined",
    "deleted": "Deleted",
    "expired": "Expired",
    "young": "Too young",
    "other": "No file",
    "contradicted": "Contradicted",
    "missing": "Missing",
}


@dataclass(slots=True)
class Repair:
    """What --repair has done. `refused`: why a manifest was not replayed, by its path."""

    sent: int
    replayed: list[str]
    refused: dict[str, str]


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
        _show(stack, audits, spool, screen)
        repair = _repair(stack, audits, spool, screen) if options.repair and not is_complete else None
        screen.answer(_document(stack, audits, spool, repair, is_complete=is_complete))
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


def _repair(stack: Stack, audits: list[DateAudit], spool: Spool, screen: Screen) -> Repair | None:
    """Sends the missing events and replays the failed manifests, after asking. None: there was nothing to do, or the
    answer was no."""
    missing = sum(audit.states["missing"] for audit in audits)
    failed = [path for audit in audits for path in audit.failed_manifests]
    if not missing and not failed:
        screen.say("nothing that --repair could repair")
        return None
    if not screen.ask(
        f"Sends an S3 event for {plural(missing, 'missing file')}, and starts the job again for "
        f"{plural(len(failed), 'failed manifest')}"
    ):
        return None
    repair = Repair(0, [], {})
    for objects in missing_objects(audits, spool):
        announcements.send(stack.input_queue_url, [listing.record(listed, stack.region) for listed in objects])
        repair.sent += len(objects)
    for path in failed:
        why_not = _replay(stack, path)
        if why_not:
            repair.refused[path] = why_not
            screen.say(f"not replayed: {escape(path)}: {escape(why_not)}")
        else:
            repair.replayed.append(path)
    screen.say(f"{plural(repair.sent, 'event')} sent, {plural(len(repair.replayed), 'manifest')} replayed")
    return repair


def _replay(stack: Stack, path: str) -> str | None:
    """Why the manifest was not replayed; None if it was."""
    _, record = named_record(path)
    if record is None or record.status != "failed":
        return replay.CHANGED
    why_not = replay.why_not(stack, record)
    if why_not is None and replay.replay(stack, record) is None:
        why_not = replay.CHANGED
    return why_not


def missing_objects(audits: Iterable[DateAudit], spool: Spool) -> Iterator[list[Listed]]:
    for audit in audits:
        yield from spool.missing(audit.date)


def _document(
    stack: Stack, audits: list[DateAudit], spool: Spool, repair: Repair | None, *, is_complete: bool
) -> dict[str, Any]:
    total = _total(audits)
    return {
        "stack": stack.name,
        "complete": is_complete,
        "files": total.total(),
        "states": {state: total[state] for state in HEADERS},
        "dates": [
            {
                "date": audit.date,
                "complete": audit.is_complete,
                "files": audit.files,
                "states": {state: audit.states[state] for state in HEADERS},
                "oldest_pending": audit.oldest_pending,
                "manifests": audit.manifests,
                "failed_manifests": audit.failed_manifests,
                "litter": audit.litter,
                "problem_count": audit.problem_count,
                "problems": audit.problems,
                "missing": [listed.file.file_path for listed in first_missing(audit, spool, MOST_PROBLEMS)],
            }
            for audit in audits
        ],
        "repair": asdict(repair) if repair else None,
    }


def first_missing(audit: DateAudit, spool: Spool, most: int) -> list[Listed]:
    return list(islice(chain.from_iterable(spool.missing(audit.date)), most))


def _total(audits: Iterable[DateAudit]) -> Counter[State]:
    return sum((audit.states for audit in audits), Counter())


def _show(stack: Stack, audits: list[DateAudit], spool: Spool, screen: Screen) -> None:
    total = _total(audits)
    if audits:
        columns = [state for state in HEADERS if total[state] or state == "missing"]
        tables.show([_row(audit, columns) for audit in audits], screen)
    wrong = [what for audit in audits for what in (*audit.problems, *_words(stack, audit, spool))]
    for what in wrong[:MOST_SHOWN]:
        screen.say(escape(what))
    if len(wrong) > MOST_SHOWN:
        screen.say("... and more: --json tells them")
    if litter := sum(audit.litter for audit in audits):
        screen.say(f"{plural(litter, 'manifest object')} never committed: nothing reads them")
    screen.say(_verdict(audits, total))


def _words(stack: Stack, audit: DateAudit, spool: Spool) -> Iterator[str]:
    for path in audit.failed_manifests:
        yield f"failed   {path}: after the cause is fixed: {shell.command(stack, 'replay', path)}"
    for listed in first_missing(audit, spool, MOST_SHOWN + 1):
        yield f"missing  {listed.file.file_path}"


def _row(audit: DateAudit, columns: Iterable[State]) -> dict[str, str]:
    row = {"Date": audit.date, "Files": f"{audit.files:,}"}
    for state in columns:
        row[HEADERS[state]] = f"{audit.states[state]:,}"
        if state == "pending":
            oldest = audit.oldest_pending
            row["Oldest"] = duration(clock.age_seconds(oldest, clock.now()) / 60) if oldest else "-"
    return row


def _verdict(audits: list[DateAudit], total: Counter[State]) -> str:
    of_dates = f"{plural(total.total(), 'file')} of {plural(len(audits), 'date')}"
    problems = sum(audit.problem_count for audit in audits)
    if all(audit.is_complete for audit in audits):
        return f"complete: {of_dates}, each accounted for"
    wrong = [f"{total[state]:,} {state}" for state in BAD if total[state]]
    if problems:
        wrong.append(plural(problems, "contradiction"))
    return f"not complete: {of_dates}, {', '.join(wrong)}"


def _minutes(text: str) -> timedelta:
    """The type of --grace."""
    if not text.isdecimal() or int(text) > LONGEST_GRACE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of minutes up to {LONGEST_GRACE:,}")
    return timedelta(minutes=int(text))
