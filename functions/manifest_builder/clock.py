"""Time as the table holds it: UTC text of fixed width, so that comparing text compares time."""

import time
from datetime import UTC, datetime, timedelta

_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


def now() -> datetime:
    """The current time, in UTC. The one place where the application reads the clock."""
    return datetime.fromtimestamp(time.time(), UTC)


def to_text(moment: datetime) -> str:
    """`2025-12-23T10:00:00.000000Z`"""
    return moment.astimezone(UTC).strftime(_FORMAT)


def from_text(text: str) -> datetime:
    """The inverse of `to_text`; takes any ISO 8601 text with an offset. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no offset in {text!r}")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is out of range") from None


def microsecond_after(text: str) -> str:
    """The next moment that `to_text` can tell from `text`."""
    return to_text(from_text(text) + timedelta(microseconds=1))


def age_seconds(text: str, at: datetime) -> float:
    """Seconds from `text` to `at`; negative where the writer's clock was ahead of ours."""
    return (at - from_text(text)).total_seconds()
