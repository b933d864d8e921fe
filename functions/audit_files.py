"""AuditFiles: compares bucket, table and manifests on a schedule, and sends the events of files that are missing.

It is no box of the state machine. A run takes as much as it has time for; the next one goes on from there.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from manifest_builder import announcements, clock, inputs, listing
from manifest_builder.auditing.dates import audit_date
from manifest_builder.auditing.days import Days
from manifest_builder.auditing.spool import Spool
from manifest_builder.inputs import Listed
from manifest_builder.settings import audit_settings
from manifest_builder.telemetry import box, count, gauge_seconds, logger, outcome
from manifest_builder.tracking import audits
from manifest_builder.tracking.audits import Position

ENDING = timedelta(seconds=60)
"""Before the function's timeout; what is under way then ends in this time."""
LISTING_SHARE = 0.6
"""Of the time that is left: the comparison of the dates needs the rest."""
MOST_OBJECTS = 1_000_000
"""Of a segment. They take about 0.3 GB of the function's temporary storage, and the names in manifests as much."""
NAMED_IN_LOG = 10

audit_settings()  # a missing variable stops the function when it starts


class Context(Protocol):
    def get_remaining_time_in_millis(self) -> int: ...


class AnotherRun(Exception):
    """Another run of the audit has moved the position."""


class NoTimeLeft(Exception):
    """The next run goes on."""


@box
def handler(event: dict[str, Any], context: Context) -> dict[str, Any]:
    """Goes on with the pass over the dates that can still change, until it is complete or the time is over.

    out: {"complete": whether the pass was completed, "files", "missing", "problems": of this run}
    """
    until = clock.now() + timedelta(milliseconds=context.get_remaining_time_in_millis()) - ENDING
    now = clock.to_text(clock.now())
    position = audits.read() or Position(audited_until=now)
    run = _Run(until, replace(position, began_at=position.began_at or now))
    is_complete = False
    try:
        with suppress(AnotherRun, NoTimeLeft):
            is_complete = run.go_on()
    finally:
        count("FilesAudited", run.files)
        count("FilesMissing", run.missing + run.problems)
        gauge_seconds("OldestUnauditedSeconds", clock.age_seconds(run.position.audited_until, clock.now()))
    found = {"files": run.files, "missing": run.missing, "problems": run.problems}
    outcome("audited", complete=is_complete, **found)
    return {"complete": is_complete, **found}


@dataclass(slots=True)
class _Run:
    until: datetime
    position: Position
    dates: int = 0
    files: int = 0
    missing: int = 0
    problems: int = 0

    def go_on(self) -> bool:
        """Whether the pass was completed. Raises NoTimeLeft, AnotherRun."""
        while True:
            with Spool(audit_settings().input_bucket) as spool:
                end_of_segment = self.list_segment(spool)
                self.move_to(replace(self.position, until_key=end_of_segment))
                for date in spool.dates():
                    if self.position.after_date is None or date > self.position.after_date:
                        self.audit(date, spool)
            if end_of_segment is None:
                self.move_to(self.position.at_the_end())
                return True
            self.move_to(self.position.at_the_next_segment())

    def list_segment(self, spool: Spool) -> str | None:
        """Spools objects that can still change. Returns the segment's last key; None at the end of the bucket."""
        days = Days.that_can_change(clock.from_text(str(self.position.began_at)))
        listing_ends = clock.now() + LISTING_SHARE * (self.until - clock.now())
        bucket, until_key = audit_settings().input_bucket, self.position.until_key
        for page in inputs.pages(bucket, start_after=self.position.after_key or ""):
            spool.add(
                listed
                for listed in inputs.latest(bucket, page)
                if days.have(listed) and (until_key is None or listed.file.key <= until_key)
            )
            last = inputs.last_key(page)
            if until_key is not None and last >= until_key:
                return until_key
            if not page["IsTruncated"]:
                return None
            if clock.now() >= listing_ends or len(spool) >= MOST_OBJECTS:
                return last
        return None

    def audit(self, date: str, spool: Spool) -> None:
        if clock.now() >= self.until:
            raise NoTimeLeft
        try:
            result = audit_date(date, spool, self.repair, progress=self.watch_the_time)
        except NoTimeLeft:
            if not self.dates:
                # No other date has taken time from it, so the next run would not get further.
                logger.error("a date is too large for a run: it is not compared", extra={"date_prefix": date})
                self.problems += 1
                self.move_to(replace(self.position, after_date=date))
            raise
        self.dates += 1
        self.files += result.files
        self.problems += result.problem_count
        if result.problem_count:
            problems = {"problems": result.problems[:NAMED_IN_LOG], "number": result.problem_count}
            logger.error("files contradict themselves", extra={"date_prefix": date, **problems})
        self.move_to(replace(self.position, after_date=date))

    def repair(self, missing: list[Listed]) -> None:
        """Sends the events of missing files."""
        self.missing += len(missing)
        paths = [listed.file.file_path for listed in missing[:NAMED_IN_LOG]]
        logger.error("files are missing: their events are sent", extra={"files": paths, "number": len(missing)})
        region = announcements.sqs().meta.region_name
        announcements.send(audit_settings().queue_url, [listing.record(listed, region) for listed in missing])

    def watch_the_time(self, _: int) -> None:
        if clock.now() >= self.until + ENDING / 2:
            raise NoTimeLeft

    def move_to(self, position: Position) -> None:
        written = audits.write(position)
        if written is None:
            logger.warning("another run of the audit is under way: this one leaves")
            raise AnotherRun
        self.position = written
