"""Time as the table stores it: UTC text of fixed width, so that the order of the texts is the order of the times."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


def now() -> datetime:
    """The current time in UTC. No other place of the application reads the clock."""
    return datetime.fromtimestamp(time.time(), UTC)


def machine_time(event: Mapping[str, Any]) -> datetime:
    """When the state machine entered the state of this box, by its own clock: `entered_at` of the event.

    The clocks of functions may differ by minutes. A moment that one box writes and another one judges (a lease, an
    attempt to start the job) is the machine's. An execution of an earlier release gives none; then it is this clock's.
    """
    entered_at = event.get("entered_at")
    return from_text(entered_at) if entered_at else now()


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
    """The text of the moment one microsecond later."""
    return to_text(from_text(text) + timedelta(microseconds=1))


def age_seconds(text: str, at: datetime) -> float:
    """Seconds from `text` to `at`; negative where the writer's clock was ahead of ours."""
    return (at - from_text(text)).total_seconds()
