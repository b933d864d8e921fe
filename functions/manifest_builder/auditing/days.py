"""The dates that an audit compares. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from manifest_builder.inputs import Listed

CHANGEABLE = timedelta(days=14)
"""A date can still change for so long after its last file was written: the queues keep messages for up to 14 days."""


@dataclass(frozen=True, slots=True)
class Days:
    """From the first to the last date, inclusive, each YYYY-MM-DD or None. Without a last date also earlier dates to
    which a file was written since the first one."""

    first: str | None = None
    last: str | None = None

    @classmethod
    def that_can_change(cls, now: datetime) -> "Days":
        return cls(f"{now - CHANGEABLE:%Y-%m-%d}")

    def has(self, date: str) -> bool:
        return (self.first is None or self.first <= date) and (self.last is None or date <= self.last)

    def have(self, listed: Listed) -> bool:
        """Whether the object is to be compared."""
        if self.has(listed.dates[0]):
            return True
        if self.first is None or self.last is not None:
            return False
        return listed.at >= datetime.fromisoformat(self.first).replace(tzinfo=UTC)
