"""FindStalledDates: the sweep's first box. Finds dates whose work was left unfinished, for any reason."""

import random
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from manifest_builder import batching, clock
from manifest_builder.settings import settings
from manifest_builder.telemetry import box, count, count_bytes, gauge_seconds, logger, outcome
from manifest_builder.tracking import turns
from manifest_builder.tracking.pending import Unfinished, scan_unfinished
from manifest_builder.turns import choose, is_failing, next_turns

RUNS_PER_SWEEP = 50
TURNS_WRITTEN = 100
"""Turns written by one sweep: those of the chosen dates, then those of new dates that have to wait."""
SEARCH_TIME = timedelta(seconds=30)


@dataclass(slots=True)
class DateBacklog:
    """Unfinished work of a date. Times are text as in `clock`."""

    pending_files: int = 0
    pending_bytes: int = 0
    oldest_file: str | None = None
    oldest_open_manifest: str | None = None
    started: list[Unfinished] = field(default_factory=list)
    """Manifests whose job run has no recorded outcome."""

    @property
    def oldest(self) -> str:
        return min(since for since in (self.oldest_file, self.oldest_open_manifest) if since is not None)


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Finds dates with an open manifest, a full batch, or a pending file older than the flush age.

    in:  {"execution", "sweep": true}
    out: the shape of ParseEvent's output, with no files; "flush_before" is set for a date with a file that old;
         "job_runs": the runs without outcome after OUTCOME_AFTER_MINUTES, because their event may be lost
    """
    # Step Functions may restart an asynchronous Express execution under the same name, so the name identifies no run.
    run_id = str(uuid.uuid4())
    logger.append_keys(run_id=run_id)
    started = clock.now()
    backlogs = read_backlogs()
    now = clock.now()
    if now - started > SEARCH_TIME:
        # CheckThreshold starts no build in an execution that is 45 s old, so this sweep builds little or nothing.
        logger.error("the search for stalled dates took too long", extra={"seconds": (now - started).total_seconds()})
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
    chosen = take_turns({date_prefix: backlog.oldest for date_prefix, backlog in stalled.items()}, now)
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
            # Step Functions starts them in this order: while Glue is at its limit, the oldest work asks first.
            for date_prefix in sorted(chosen, key=lambda date_prefix: stalled[date_prefix].oldest)
        ],
        "rejected": [],
        "ignored": 0,
        "job_runs": job_runs,
    }


def take_turns(stalled: dict[str, str], now: datetime) -> list[str]:
    """The dates whose turn it is. `stalled`: the moment of each date's oldest work."""
    known = turns.read() if stalled else {}
    count("DatesFailing", sum(is_failing(known.get(date_prefix), oldest) for date_prefix, oldest in stalled.items()))
    chosen = choose(stalled, known, now)
    try:
        turns.write(islice(next_turns(stalled, chosen, known, now), TURNS_WRITTEN))
    except Exception:
        # The sweep goes on: the next one chooses by what it knows.
        logger.exception("the turns of the dates were not noted")
    return chosen


def overdue_runs(backlogs: Iterable[DateBacklog], now: datetime) -> list[dict[str, Any]]:
    """Runs without outcome for long; a random choice of many, so that long runs do not hide others from every sweep."""
    latest = clock.to_text(now - timedelta(minutes=settings().outcome_after_minutes))
    started = [manifest for backlog in backlogs for manifest in backlog.started if manifest.pending_since <= latest]
    return [
        {
            "job_run_id": manifest.job_run_id,
            "date_prefix": manifest.date_prefix,
            "manifest_path": manifest.file_path,
        }
        for manifest in random.sample(started, min(len(started), RUNS_PER_SWEEP))
    ]


def write_metrics(backlogs: Collection[DateBacklog], now: datetime) -> None:
    """Writes every metric at every sweep, 0 if nothing is pending: a missing value means that no sweep ran."""

    def oldest_seconds(moments: Iterable[str | None]) -> float:
        return max((clock.age_seconds(since, now) for since in moments if since), default=0.0)

    oldest_pending = oldest_seconds(backlog.oldest_file for backlog in backlogs)
    count_bytes("PendingBytes", sum(backlog.pending_bytes for backlog in backlogs))
    gauge_seconds("OldestPendingSeconds", oldest_pending)
    # The flush age is a setting. An alarm needs a number that means the same in every deployment.
    gauge_seconds("OldestOverdueSeconds", max(0.0, oldest_pending - settings().flush_after_minutes * 60))
    gauge_seconds("OldestOpenManifestSeconds", oldest_seconds(backlog.oldest_open_manifest for backlog in backlogs))


def read_backlogs() -> dict[str, DateBacklog]:
    """The unfinished work of every date that has any."""
    backlogs: dict[str, DateBacklog] = {}
    for work in scan_unfinished():
        backlog = backlogs.setdefault(work.date_prefix, DateBacklog())
        since = work.pending_since
        if work.job_run_id:
            backlog.started.append(work)
        elif work.is_manifest:
            backlog.oldest_open_manifest = min(since, backlog.oldest_open_manifest or since)
        else:
            backlog.oldest_file = min(since, backlog.oldest_file or since)
            backlog.pending_files += 1
            backlog.pending_bytes += work.size_bytes
    return backlogs
