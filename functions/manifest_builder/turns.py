"""Turns: which of the stalled dates a sweep takes, so that none waits for ever behind others. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from manifest_builder import clock

DATES_PER_SWEEP = 20
TRIED_PER_SWEEP = 5
"""Places that a sweep keeps for dates that were tried before, if more new dates are stalled than it can take."""
FAILING_AFTER = 3
"""A date that is tried so often while its oldest work stays the same is failing."""
REST = timedelta(minutes=29)
"""A failing date is left alone for so long: of sweeps every 15 minutes it has every second."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The last turn of a stalled date. Times are text as in `clock`."""

    date_prefix: str
    waits_since: str
    """The last try, or, before the first one, when a sweep found the date and had no place for it."""
    tries: int
    """Tries since the date's oldest work is `oldest`."""
    oldest: str


def is_failing(turn: Turn | None, oldest: str) -> bool:
    """Whether a date whose oldest work is this old has been tried often and did not get on."""
    return _tries(turn, oldest) >= FAILING_AFTER


def choose(stalled: Mapping[str, str], turns: Mapping[str, Turn], now: datetime) -> list[str]:
    """The dates of this sweep: new ones first, then those whose last try is the longest ago.

    `stalled`: the moment of each date's oldest work. A date that got on is new again.
    """

    def waits(date_prefix: str) -> tuple[str, str]:
        turn = turns.get(date_prefix)
        return (turn.waits_since if turn else clock.to_text(now), stalled[date_prefix])

    def tries(date_prefix: str) -> int:
        return _tries(turns.get(date_prefix), stalled[date_prefix])

    def rests(date_prefix: str) -> bool:
        turn = turns.get(date_prefix)
        is_tired = is_failing(turn, stalled[date_prefix])
        return turn is not None and is_tired and now - clock.from_text(turn.waits_since) < REST

    new = sorted((date for date in stalled if not tries(date)), key=waits)
    tried = sorted((date for date in stalled if tries(date) and not rests(date)), key=waits)
    chosen = new[: DATES_PER_SWEEP - min(len(tried), TRIED_PER_SWEEP)]
    return chosen + tried[: DATES_PER_SWEEP - len(chosen)]


def next_turns(
    stalled: Mapping[str, str], chosen: list[str], turns: Mapping[str, Turn], now: datetime
) -> Iterator[Turn]:
    """The turns of the chosen dates, and then of those that wait for their first one, oldest work first."""
    at = clock.to_text(now)
    for date_prefix in chosen:
        oldest = stalled[date_prefix]
        yield Turn(date_prefix, at, _tries(turns.get(date_prefix), oldest) + 1, oldest)
    for date_prefix in sorted(stalled.keys() - turns.keys() - set(chosen), key=lambda date: stalled[date]):
        yield Turn(date_prefix, at, 0, stalled[date_prefix])


def _tries(turn: Turn | None, oldest: str) -> int:
    return turn.tries if turn and turn.oldest == oldest else 0
