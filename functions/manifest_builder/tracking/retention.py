"""What the table may have forgotten: rows of finished files expire after RetentionDays, as the setting is at that time.

Today's setting says nothing of rows of the past, so one item remembers the shortest time for which a row was ever kept.
It is written before the first row that can expire so early.
"""

from datetime import datetime, timedelta
from functools import cache

from manifest_builder import clock
from manifest_builder.settings import settings
from manifest_builder.tracking import table

PARTITION = SORT_KEY = "RETENTION"
LOOKED_UP_AGAIN_AFTER = timedelta(hours=1)
"""A row lives for a day at least, so nothing has been forgotten that was not remembered an hour ago."""


def expiry() -> int | None:
    """The `ttl`, in epoch seconds, of a row that is finished now; None if rows are kept for ever."""
    days = settings().retention_days
    if not days:
        return None
    _remember(days)
    return int((clock.now() + timedelta(days=days)).timestamp())


def shortest_days() -> int | None:
    """The shortest time, in days, for which the row of a finished file was ever kept; None: for ever."""
    return _memory().look_up()


def may_have_forgotten() -> bool:
    """Whether the row of a file that has been finished may be missing."""
    return bool(settings().retention_days) or shortest_days() is not None


def forget_caches() -> None:
    """For tests: as in a new process."""
    _remember.cache_clear()
    _memory.cache_clear()


@cache
def _remember(days: int) -> None:
    table.update_if(
        PARTITION,
        SORT_KEY,
        "SET #days = :days, updated_at = :now",
        "attribute_not_exists(#days) OR #days > :days",
        {":days": days, ":now": clock.to_text(clock.now())},
        names={"#days": "shortest_days"},
    )


class _Memory:
    """The item, read at first use, and again now and then while there is none."""

    def __init__(self) -> None:
        self._days: int | None = None
        self._looked_up_at: datetime | None = None

    def look_up(self) -> int | None:
        now = clock.now()
        is_fresh = self._looked_up_at is not None and now - self._looked_up_at < LOOKED_UP_AGAIN_AFTER
        if not is_fresh:
            item = table.get(PARTITION, SORT_KEY)
            self._days = int(item["shortest_days"]) if item else None
            self._looked_up_at = now
        return self._days


@cache
def _memory() -> _Memory:
    return _Memory()
