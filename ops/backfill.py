"""Sends an S3 event for every file that the table does not know: it is older than the stack, or its event was lost.

Lists the input bucket and sends an event for the latest version of each unknown file. The command is idempotent: an
event that comes twice changes nothing. After Ctrl-C it prints the command that continues.

With RetentionDays, the row of an older file may have expired after the file was in a manifest. Such a file is counted,
and sent only with --forgotten.
"""

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from manifest_builder import announcements, inputs, listing
from manifest_builder.inputs import Listed
from manifest_builder.tracking import file_rows
from ops import shell
from ops.keys import named_key
from ops.screen import Screen
from ops.stack import Stack
from toolkit.texts import plural, size

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ListObjectVersionsOutputTypeDef

EXAMPLES = (
    "backfill --dry-run",
    "backfill orders/2025-12- --yes",
    "backfill orders/ --start-after orders/2025-12-23/orders-0417.ndjson",
)
NOTHING_LISTED = 1


@dataclass(slots=True)
class Tally:
    listed: int = 0
    known: int = 0
    unknown: int = 0
    """Files that were sent, or would be sent."""
    unknown_bytes: int = 0
    forgotten: int = 0
    """Unknown files that are not sent, because their rows may have expired."""
    last_key: str | None = None
    """All files up to this key are known or sent."""

    def __str__(self) -> str:
        return f"{self.listed:,} listed, {self.known:,} known, {self.unknown:,} unknown"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "prefix", nargs="?", default="", metavar="PREFIX", help="only keys that start with this, or its URI"
    )
    parser.add_argument("--start-after", default="", metavar="KEY", help="go on after this key")
    parser.add_argument(
        "--forgotten",
        action="store_true",
        help="send files older than RetentionDays too: those read once are read again",
    )
    parser.add_argument("--dry-run", action="store_true", help="count what is unknown, and send nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(stack: Stack, options: argparse.Namespace, screen: Screen) -> int:
    prefix = named_key(options.prefix, stack.input_bucket)
    start_after = named_key(options.start_after, stack.input_bucket)
    if not options.dry_run and not screen.confirm(
        f"Sends an S3 event to {stack.input_queue_url} for each file of s3://{stack.input_bucket}/{prefix}* that the "
        "table does not know"
    ):
        return 1
    tally = Tally()
    try:
        with progress_bar() as bar:
            task = bar.add_task("", total=None)
            for page in inputs.pages(stack.input_bucket, prefix, start_after):
                take(stack, page, tally, dry_run=options.dry_run, with_forgotten=options.forgotten)
                bar.update(task, description=str(tally))
    except BaseException as error:
        if tally.last_key:
            _report(stack, options, screen, prefix, tally, is_complete=False)
            stopped = f"stopped; to go on: {_go_on(stack, options, prefix, tally.last_key)}"
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(stopped) from None
            screen.warn(stopped)
        raise
    _report(stack, options, screen, prefix, tally, is_complete=True)
    return 0 if tally.listed else NOTHING_LISTED


def progress_bar() -> Progress:
    # The standard output may belong to a script. The number of keys is not known before the end of the listing.
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def take(
    stack: Stack,
    page: "ListObjectVersionsOutputTypeDef",
    tally: Tally,
    *,
    dry_run: bool,
    with_forgotten: bool,
) -> None:
    """Sends the unknown files of one page of the listing."""
    latest = [listed for listed in inputs.latest(stack.input_bucket, page) if not listed.is_folder]
    rows = file_rows.read_rows((date_prefix, listed.file) for listed in latest for date_prefix in listed.dates)

    def is_known(listed: Listed) -> bool:
        return listing.is_known(listed, (rows.get((date, listed.file.file_path)) for date in listed.dates))

    unknown = [listed for listed in latest if not is_known(listed)]
    to_send = unknown if with_forgotten else [listed for listed in unknown if not listing.may_be_forgotten(listed)]
    if not dry_run:
        announcements.send(stack.input_queue_url, [listing.record(listed, stack.region) for listed in to_send])
    tally.listed += len(latest)
    tally.known += len(latest) - len(unknown)
    tally.unknown += len(to_send)
    tally.unknown_bytes += sum(listed.file.size_bytes for listed in to_send)
    tally.forgotten += len(unknown) - len(to_send)
    if latest:
        tally.last_key = latest[-1].file.key


def _go_on(stack: Stack, options: argparse.Namespace, prefix: str, last_key: str) -> str:
    words = [shell.spelled(stack, prefix)] if prefix else []
    flags = [flag for flag, given in (("--forgotten", options.forgotten), ("--dry-run", options.dry_run)) if given]
    return shell.command(stack, "backfill", *words, "--start-after", shell.spelled(stack, last_key), *flags)


def _report(
    stack: Stack, options: argparse.Namespace, screen: Screen, prefix: str, tally: Tally, *, is_complete: bool
) -> None:
    screen.answer(
        {
            "stack": stack.name,
            "prefix": prefix,
            "dry_run": options.dry_run,
            "complete": is_complete,
            "listed": tally.listed,
            "known": tally.known,
            "unknown": tally.unknown,
            "unknown_bytes": tally.unknown_bytes,
            "forgotten": tally.forgotten,
            "last_key": tally.last_key,
        }
    )
    if not tally.listed:
        bucket = f"s3://{stack.input_bucket}/"
        what = f"no key of {bucket} starts with {prefix}" if prefix else f"{bucket} holds no file"
        screen.say(escape(what + (f", after {options.start_after}" if options.start_after else "")))
        return
    fate = "would be sent" if options.dry_run else "sent to the queue"
    unknown = f"{tally.unknown:,} unknown ({size(tally.unknown_bytes)}) {fate}"
    screen.say(
        f"{plural(tally.listed, 'file')} listed, {tally.known:,} known to the table, "
        + (unknown if tally.unknown else "0 unknown: nothing to send")
    )
    if tally.forgotten:
        screen.say(
            f"{tally.forgotten:,} older than RetentionDays ({listing.kept_days()} days, the least so far) and unknown: "
            "not sent; --forgotten sends them"
        )
