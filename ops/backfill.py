"""Files that the table does not know go through the queue: older than the stack, or their event was lost.

Lists the input bucket and sends an S3 event for the latest version of each such file. Doing it again sends what is
still unknown; an event that comes twice changes nothing. After Ctrl-C it says where to go on.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import boto3
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from local.feed import object_created
from local.report import plural, size
from manifest_builder import tracking
from manifest_builder.files import FileVersion, date_in_key
from ops import events
from ops.screen import Screen
from ops.stack import Stack

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ListObjectVersionsOutputTypeDef

EXAMPLES = (
    "backfill --dry-run",
    "backfill orders/2025-12- --yes",
    "backfill orders/ --start-after orders/2025-12-23/orders-0417.ndjson",
)
# Keys of one date follow each other, or come back folder by folder.
DATES_IN_MEMORY = 100

Rows = dict[str, list[dict[str, Any]]]


@dataclass(slots=True)
class Tally:
    listed: int = 0
    known: int = 0
    unknown: int = 0
    unknown_bytes: int = 0
    last_key: str | None = None
    """Everything up to here is known or sent."""

    def __str__(self) -> str:
        return f"{self.listed:,} listed, {self.known:,} known, {self.unknown:,} unknown"


@dataclass(frozen=True, slots=True)
class Listed:
    """The latest version of an object, and when S3 says it was written."""

    file: FileVersion
    at: datetime

    @property
    def dates(self) -> list[str]:
        """Where the table may have it. A key without a date belongs to the day of its event, which for an upload in
        parts that went past midnight is the day after the one that S3 says."""
        date_prefix = date_in_key(self.file.key)
        return [date_prefix] if date_prefix else [f"{self.at:%Y-%m-%d}", f"{self.at + timedelta(days=1):%Y-%m-%d}"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prefix", nargs="?", default="", metavar="PREFIX", help="only keys that start with this")
    parser.add_argument("--start-after", default="", metavar="KEY", help="go on after this key")
    parser.add_argument("--dry-run", action="store_true", help="count what is unknown, and send nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(stack: Stack, options: argparse.Namespace, screen: Screen) -> int:
    source = f"s3://{stack.input_bucket}/{options.prefix}"
    if not options.dry_run and not screen.confirm(
        f"Sends an S3 event to {stack.input_queue_url} for each file of {source}* that the table does not know"
    ):
        return 1
    tally = Tally(last_key=options.start_after or None)
    known_rows = lru_cache(maxsize=DATES_IN_MEMORY)(read_rows)
    is_complete = False
    try:
        with progress_bar() as bar:
            task = bar.add_task("", total=None)
            for page in pages(stack.input_bucket, options.prefix, options.start_after):
                take(stack, page, known_rows, tally, dry_run=options.dry_run)
                bar.update(task, description=str(tally))
        is_complete = True
    finally:
        _finish(stack, options, screen, tally, is_complete=is_complete)
    return 0


def progress_bar() -> Progress:
    # The standard output may be a script's. How much there is to list nobody knows before the end.
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def pages(bucket: str, prefix: str, start_after: str) -> "Iterator[ListObjectVersionsOutputTypeDef]":
    """A thousand versions each. The list of objects is as dear and does not name versions; without its version a file
    that is announced twice would count as two."""
    paginator = boto3.client("s3").get_paginator("list_object_versions")
    # The stubs do not know the marker, which the paginator takes like any argument of the call.
    beginning: dict[str, Any] = {"KeyMarker": start_after} if start_after else {}
    yield from paginator.paginate(Bucket=bucket, Prefix=prefix, **beginning)


def take(
    stack: Stack,
    page: "ListObjectVersionsOutputTypeDef",
    known_rows: Callable[[str], Rows],
    tally: Tally,
    *,
    dry_run: bool,
) -> None:
    """Send what the table does not know of a page of the list."""
    latest = [
        listed
        for version in page.get("Versions", [])
        if version["IsLatest"] and (listed := _listed(stack.input_bucket, version))
    ]
    unknown = [listed for listed in latest if not is_known(listed, known_rows)]
    if not dry_run:
        events.send(stack.input_queue_url, [record(listed, stack.region) for listed in unknown])
    tally.listed += len(latest)
    tally.known += len(latest) - len(unknown)
    tally.unknown += len(unknown)
    tally.unknown_bytes += sum(listed.file.size_bytes for listed in unknown)
    if latest:
        tally.last_key = latest[-1].file.key


def is_known(listed: Listed, known_rows: Callable[[str], Rows]) -> bool:
    rows = [row for date_prefix in listed.dates for row in known_rows(date_prefix).get(listed.file.file_path, [])]
    return any(tracking.is_version_of(listed.file, row) for row in rows)


def read_rows(date_prefix: str) -> Rows:
    """The rows of a date by path."""
    rows: Rows = {}
    for row in tracking.known_versions(date_prefix):
        rows.setdefault(row["file_path"], []).append(row)
    return rows


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
    """None for an empty object that stands for a folder."""
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


def _finish(stack: Stack, options: argparse.Namespace, screen: Screen, tally: Tally, *, is_complete: bool) -> None:
    screen.answer(
        {
            "stack": stack.name,
            "prefix": options.prefix,
            "dry_run": options.dry_run,
            "complete": is_complete,
            "listed": tally.listed,
            "known": tally.known,
            "unknown": tally.unknown,
            "unknown_bytes": tally.unknown_bytes,
            "last_key": tally.last_key,
        }
    )
    fate = "would be sent" if options.dry_run else "sent to the queue"
    screen.say(
        f"{plural(tally.listed, 'file')} listed, {tally.known:,} known to the table, "
        f"{tally.unknown:,} unknown ({size(tally.unknown_bytes)}) {fate}"
    )
    if not is_complete:
        start = f" --start-after '{tally.last_key}'" if tally.last_key else ""
        print(f"stopped; to go on: python -m ops backfill '{options.prefix}'{start}", file=sys.stderr)
