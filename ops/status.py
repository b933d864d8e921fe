"""Shows unfinished work: pending files, manifests by status, the lock's holder, failed manifests.

Without a date it shows every date with unfinished work or a failed manifest. Changes nothing.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from rich.markup import escape

from manifest_builder import aws, clock
from manifest_builder.manifests import ManifestRecord, Status
from manifest_builder.settings import settings
from manifest_builder.tracking import locks, manifest_records
from manifest_builder.tracking.pending import pending_files, scan_unfinished
from ops import shell, tables
from ops.screen import Screen
from ops.stack import Stack
from toolkit.parser import calendar_date
from toolkit.texts import duration, plural, size

EXAMPLES = ("status", "status 2025-12-23", "status --json")
STATUSES: tuple[Status, ...] = ("open", "started", "succeeded", "failed")
QUERIES_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Lock:
    holder: str
    lease_ends: str
    is_over: bool


@dataclass(frozen=True, slots=True)
class FailedManifest:
    manifest: str
    run_id: str | None
    attempt: int
    error: str | None


@dataclass(frozen=True, slots=True)
class DateStatus:
    date: str
    pending_files: int
    pending_bytes: int
    oldest_pending: str | None
    manifests: dict[str, int]
    lock: Lock | None
    failed: list[FailedManifest]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("date", nargs="?", type=calendar_date, metavar="DATE", help="this date, whatever its state")


def run(stack: Stack, options: argparse.Namespace, screen: Screen) -> int:
    dates = [options.date] if options.date else unfinished_dates()
    found = [read_status(date_prefix) for date_prefix in dates]
    screen.answer({"stack": stack.name, "dates": [asdict(status) for status in found]})
    if not found:
        screen.say("nothing is unfinished, and no manifest has failed")
        return 0
    tables.show([_row(status) for status in found], screen, texts=("Date", "Lock"), foldable="Lock")
    for status in found:
        for failed in status.failed:
            screen.say(f"[red]failed[/]  {escape(failed.manifest)}")
            screen.say(f"        run {failed.run_id}, attempt {failed.attempt}: {escape(failed.error or 'no message')}")
            replay = shell.command(stack, "replay", failed.manifest)
            screen.say(f"        after the cause is fixed: {escape(replay)}")
    return 0


def unfinished_dates() -> list[str]:
    """Dates in the pending index, and dates with a failed manifest, which the index does not hold."""
    with ThreadPoolExecutor(QUERIES_AT_ONCE) as pool:
        dates = list(manifest_dates())
        of_failed = {date for date, has in zip(dates, pool.map(has_failed, dates), strict=True) if has}
    return sorted(dates_with_work() | of_failed)


def dates_with_work() -> set[str]:
    """Dates with pending files, or with manifests whose outcome is not known."""
    return {work.date_prefix for work in scan_unfinished()}


def manifest_dates() -> Iterator[str]:
    """Dates with manifest objects, from the folders of the bucket: far cheaper than a scan of the table."""
    pages = aws.s3().get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=settings().manifest_bucket, Prefix="manifests/", Delimiter="/"):
        for folder in page.get("CommonPrefixes", []):
            yield folder["Prefix"].split("/")[1]


def has_failed(date_prefix: str) -> bool:
    return any(record.status == "failed" for record in manifest_records.of_date(date_prefix))


def read_status(date_prefix: str) -> DateStatus:
    pending = list(pending_files(date_prefix))
    records = list(manifest_records.of_date(date_prefix))
    counts = Counter(record.status for record in records)
    return DateStatus(
        date=date_prefix,
        pending_files=len(pending),
        pending_bytes=sum(file.size_bytes for file in pending),
        oldest_pending=min((file.pending_since for file in pending), default=None),
        manifests={status: counts[status] for status in STATUSES},
        lock=read_lock(date_prefix),
        failed=[_failed(record) for record in records if record.status == "failed"],
    )


def read_lock(date_prefix: str) -> Lock | None:
    lock = locks.read(date_prefix)
    if lock is None:
        return None
    return Lock(holder=lock.run_id, lease_ends=clock.to_text(lock.expires_at), is_over=lock.expires_at < clock.now())


def describe_lock(lock: Lock | None) -> str:
    if lock is None:
        return "free"
    if lock.is_over:
        return f"free: the lease of run {lock.holder} is over"
    return f"held by run {lock.holder} until {lock.lease_ends}"


def _failed(record: ManifestRecord) -> FailedManifest:
    return FailedManifest(record.file_path, run_id=record.job_run_id, attempt=record.attempt, error=record.error)


def _row(status: DateStatus) -> dict[str, str]:
    oldest = status.oldest_pending
    return {
        "Date": status.date,
        "Pending": plural(status.pending_files, "file"),
        "Size": size(status.pending_bytes),
        "Oldest": duration(clock.age_seconds(oldest, clock.now()) / 60) if oldest else "-",
        **{name.capitalize(): str(count) for name, count in status.manifests.items()},
        "Lock": describe_lock(status.lock),
    }
