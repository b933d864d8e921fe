"""FindStalledDates: the sweep's first box. What has been left behind, whatever the reason?"""

import random
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from manifest_builder import batching, clock, manifests, tracking
from manifest_builder.settings import settings
from manifest_builder.telemetry import box, count_bytes, gauge_seconds, logger, outcome

# Oldest first; the next sweep takes the rest.
DATES_PER_SWEEP = 20
RUNS_PER_SWEEP = 50
SEARCH_TIME = timedelta(seconds=30)


@dataclass(slots=True)
class DateBacklog:
    """Unfinished work of a date. Times are text as in `clock`."""

    pending_files: int = 0
    pending_bytes: int = 0
    oldest_file: str | None = None
    oldest_open_manifest: str | None = None
    started: list[dict[str, Any]] = field(default_factory=list)
    """The entries of manifests that name their run."""

    @property
    def oldest(self) -> str:
        return min(since for since in (self.oldest_file, self.oldest_open_manifest) if since is not None)


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Dates with an open manifest, an overdue threshold, or a file older than the flush age.

    in:  {"execution", "sweep": true}
    out: the shape of ParseEvent's output, with no files; "flush_before" is set for a date with a file that old;
         "job_runs": the runs whose outcome is not known after OUTCOME_AFTER_MINUTES, an event of theirs may be lost
    """
    # An asynchronous Express execution may be restarted under the same name: the run gets an id of its own.
    run_id = str(uuid.uuid4())
    logger.append_keys(run_id=run_id)
    started = clock.now()
    backlogs = read_backlogs()
    now = clock.now()
    if now - started > SEARCH_TIME:
        # CheckThreshold begins nothing in an execution that is 45 s old: such a sweep is of no use.
        logger.error("the search for stalled dates takes too long", extra={"seconds": (now - started).total_seconds()})
    flush_before = clock.to_text(now - timedelta(minutes=settings().flush_after_minutes))

    def is_full(backlog: DateBacklog) -> bool:
        return backlog.pending_bytes >= settings().max_batch_bytes or backlog.pending_files >= batching.MAX_BATCH_FILES

    def is_overdue(backlog: DateBacklog) -> bool:
        return backlog.oldest_file is not None and backlog.oldest_file <= flush_before

    stalled = {
        date_prefix: backlog
        for date_prefix, backlog in backlogs.items()
        if backlog.oldest_open_manifest or is_full(backlog) or is_overdue(backlog)
    }
    chosen = sorted(stalled, key=lambda date_prefix: stalled[date_prefix].oldest)[:DATES_PER_SWEEP]
    write_metrics(backlogs.values(), now)
    job_runs = overdue_runs(backlogs.values(), now)
    outcome("swept", dates_pending=len(backlogs), dates_stalled=len(stalled), dates_chosen=chosen, runs=len(job_runs))
    return {
        "run_id": run_id,
        "dates": [
            {
                "date_prefix": date_prefix,
                "files": [],
                "flush_before": flush_before if is_overdue(stalled[date_prefix]) else None,
            }
            for date_prefix in chosen
        ],
        "rejected": [],
        "ignored": 0,
        "job_runs": job_runs,
    }


def overdue_runs(backlogs: Iterable[DateBacklog], now: datetime) -> list[dict[str, Any]]:
    """Any of them where there are many: those that go on for long must not hide others from every sweep."""
    latest = clock.to_text(now - timedelta(minutes=settings().outcome_after_minutes))
    started = [row for backlog in backlogs for row in backlog.started if row["pending_since"] <= latest]
    return [
        {
            "job_run_id": row["job_run_id"],
            "date_prefix": manifests.date_of(row["date_prefix"]),
            "manifest_path": row["file_path"],
        }
        for row in random.sample(started, min(len(started), RUNS_PER_SWEEP))
    ]


def write_metrics(backlogs: Collection[DateBacklog], now: datetime) -> None:
    """Each of them at every sweep, 0 where nothing is left behind: a value that is missing means that no sweep ran."""

    def oldest_seconds(moments: Iterable[str | None]) -> float:
        return max((clock.age_seconds(since, now) for since in moments if since), default=0.0)

    oldest_pending = oldest_seconds(backlog.oldest_file for backlog in backlogs)
    count_bytes("PendingBytes", sum(backlog.pending_bytes for backlog in backlogs))
    gauge_seconds("OldestPendingSeconds", oldest_pending)
    # The flush age is a setting: an alarm needs a number that means the same in every deployment.
    gauge_seconds("OldestOverdueSeconds", max(0.0, oldest_pending - settings().flush_after_minutes * 60))
    gauge_seconds("OldestOpenManifestSeconds", oldest_seconds(backlog.oldest_open_manifest for backlog in backlogs))


def read_backlogs() -> dict[str, DateBacklog]:
    backlogs: dict[str, DateBacklog] = {}
    for row in tracking.scan_unfinished():
        date_prefix = manifests.date_of(row["date_prefix"])
        backlog = backlogs.setdefault(date_prefix or row["date_prefix"], DateBacklog())
        since: str = row["pending_since"]
        if "job_run_id" in row:
            backlog.started.append(row)
        elif date_prefix:
            backlog.oldest_open_manifest = min(since, backlog.oldest_open_manifest or since)
        else:
            backlog.oldest_file = min(since, backlog.oldest_file or since)
            backlog.pending_files += 1
            backlog.pending_bytes += int(row["file_size_bytes"])
    return backlogs
