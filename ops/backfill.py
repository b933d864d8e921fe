"""Sends an S3 event for every file that the table does not know: it is older than the stack, or its event was lost.

Lists the input bucket and sends an event for the latest version of each unknown file. The command is idempotent: an
event that comes twice changes nothing. After Ctrl-C it prints the command that continues.

With RetentionDays, the row of an older file may have expired after the file was in a manifest. Such a file is counted,
and sent only with --forgotten.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from manifest_builder import clock, versions
from manifest_builder.files import FileVersion, date_in_key
from manifest_builder.rows import FileRow
from manifest_builder.settings import settings
from manifest_builder.tracking import file_rows, retention
from ops import events, shell
from ops.keys import named_key
from ops.screen import Screen
from ops.stack import Stack
from toolkit.s3_events import object_created
from toolkit.texts import plural, size

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ListObjectVersionsOutputTypeDef

EXAMPLES = (
    "backfill --dry-run",
    "backfill orders/2025-12- --yes",
    "backfill orders/ --start-after orders/2025-12-23/orders-0417.ndjson",
)
NOTHING_LISTED = 1

Rows = Mapping[tuple[str, str], FileRow]
"""Rows by date and path."""


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


@dataclass(frozen=True, slots=True)
class Listed:
    """The latest version of an object, and when S3 says it was written."""

    file: FileVersion
    at: datetime

    @property
    def dates(self) -> list[str]:
        """The dates whose partition may hold the file's row. A key without a date belongs to the day of its event. For
        a multipart upload that ended after midnight, this is the day after the one that S3 lists."""
        date_prefix = date_in_key(self.file.key)
        return [date_prefix] if date_prefix else [f"{self.at:%Y-%m-%d}", f"{self.at + timedelta(days=1):%Y-%m-%d}"]


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
            for page in pages(stack.input_bucket, prefix, start_after):
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


def pages(bucket: str, prefix: str, start_after: str) -> "Iterator[ListObjectVersionsOutputTypeDef]":
    """Pages of a thousand versions. A list of objects costs the same but has no version ids, and without its version id
    a file whose event comes twice would count as two files."""
    paginator = boto3.client("s3").get_paginator("list_object_versions")
    # The stubs do not know the marker, which the paginator takes like any argument of the call.
    beginning: dict[str, Any] = {"KeyMarker": start_after} if start_after else {}
    yield from paginator.paginate(Bucket=bucket, Prefix=prefix, **beginning)


def take(
    stack: Stack,
    page: "ListObjectVersionsOutputTypeDef",
    tally: Tally,
    *,
    dry_run: bool,
    with_forgotten: bool,
) -> None:
    """Sends the unknown files of one page of the listing."""
    latest = [
        listed
        for version in page.get("Versions", [])
        if version["IsLatest"] and (listed := _listed(stack.input_bucket, version))
    ]
    rows = file_rows.read_rows((date_prefix, listed.file) for listed in latest for date_prefix in listed.dates)
    unknown = [listed for listed in latest if not is_known(listed, rows)]
    to_send = unknown if with_forgotten else [listed for listed in unknown if not may_be_forgotten(listed)]
    if not dry_run:
        events.send(stack.input_queue_url, [record(listed, stack.region) for listed in to_send])
    tally.listed += len(latest)
    tally.known += len(latest) - len(unknown)
    tally.unknown += len(to_send)
    tally.unknown_bytes += sum(listed.file.size_bytes for listed in to_send)
    tally.forgotten += len(unknown) - len(to_send)
    if latest:
        tally.last_key = latest[-1].file.key


def is_known(listed: Listed, rows: Rows) -> bool:
    """Whether the table has this version. A listed file whose row is `deleted` was uploaded again. A released file
    waits for its event, which may never have been sent.
    """
    of_file = [rows.get((date_prefix, listed.file.file_path)) for date_prefix in listed.dates]
    return any(
        row and row.status != "deleted" and not row.released and versions.is_version_of(listed.file, row)
        for row in of_file
    )


def may_be_forgotten(listed: Listed) -> bool:
    """Whether the row may have expired: a row is kept for a time after the file is finished, so at least that long
    after the file was written."""
    days = kept_days()
    return days is not None and listed.at < clock.now() - timedelta(days=days)


def kept_days() -> int | None:
    """The shortest RetentionDays that any row may have been written with; None: rows are kept for ever."""
    known = [days for days in (settings().retention_days, retention.shortest_days()) if days]
    return min(known, default=None)


def record(listed: Listed, region: str) -> dict[str, Any]:
    file = listed.file
    return object_created(
        file.bucket,
        file.key,
        size_bytes=file.size_bytes,
        etag=file.etag,
        at=listed.at,
        version_id=file.version_id,
        region=region,
    )


def _listed(bucket: str, version: Any) -> Listed | None:
    """The file of a listed version; None for an empty object that stands for a folder."""
    if version["Size"] == 0 and version["Key"].endswith("/"):
        return None
    file = FileVersion(
        message_id="",
        bucket=bucket,
        key=version["Key"],
        size_bytes=version["Size"],
        etag=version["ETag"].strip('"'),
        version_id=None if version["VersionId"] == "null" else version["VersionId"],
        sequencer=None,
    )
    return Listed(file, version["LastModified"])


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
            f"{tally.forgotten:,} older than RetentionDays ({kept_days()} days, the least so far) and unknown: "
            "not sent; --forgotten sends them"
        )
