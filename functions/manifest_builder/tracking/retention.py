"""What the table may have forgotten: rows of finished files expire after RetentionDays, as the setting is at that time.

Today's setting says nothing of rows of the past, so one item remembers the shortest time for which a row was ever kept.
It is written before the first row that can expire so early.
"""

from datetime import timedelta
from functools import cache, lru_cache

from manifest_builder import clock
from manifest_builder.settings import settings
from manifest_builder.tracking import table

PARTITION = SORT_KEY = "RETENTION"


def expiry() -> int | None:
    """The `ttl`, in epoch seconds, of a row that is finished now; None if rows are kept for ever."""
    days = settings().retention_days
    if not days:
        return None
    remember(days)
    return int((clock.now() + timedelta(days=days)).timestamp())


def may_have_forgotten() -> bool:
    """Whether the row of a finished file may be missing because it has expired."""
    return bool(settings().retention_days) or shortest_days() is not None


def shortest_days() -> int | None:
    """The shortest time, in days, for which the row of a finished file was ever kept; None: for ever.

    Read once an hour. That is often enough: a row is kept for a day at least after its retention is remembered.
    """
    return read(hour=int(clock.now().timestamp() // 3600))


@lru_cache(maxsize=1)
def read(hour: int) -> int | None:
    item = table.get(PARTITION, SORT_KEY)
    return int(item["shortest_days"]) if item else None


@cache
def remember(days: int) -> None:
    table.update_if(
        PARTITION,
        SORT_KEY,
        "SET #days = :days, updated_at = :now",
        "attribute_not_exists(#days) OR #days > :days",
        {":days": days, ":now": clock.to_text(clock.now())},
        names={"#days": "shortest_days"},
    )
