"""Turns: every stalled date is tried, whatever others do; a failing one is tried less often."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifest_builder import clock
from manifest_builder.turns import (
    DATES_PER_SWEEP,
    FAILING_AFTER,
    TRIED_PER_SWEEP,
    Turn,
    choose,
    is_failing,
    next_turns,
)

NOW = datetime(2025, 12, 23, 10, tzinfo=UTC)
EVERY = timedelta(minutes=15)


def days(first: int, number: int) -> list[str]:
    return [f"2025-{day // 28 + 1:02}-{day % 28 + 1:02}" for day in range(first, first + number)]


class Sweeps:
    """Sweeps, one after the other. A date in `stuck` stays stalled; another is done once it was chosen."""

    def __init__(self) -> None:
        self.now = NOW
        self.stalled: dict[str, str] = {}
        self.stuck: set[str] = set()
        self.turns: dict[str, Turn] = {}
        self.tried: dict[str, list[int]] = {}
        self.number = 0

    def stall(self, dates: list[str], *, stuck: bool = False, oldest: datetime | None = None) -> None:
        self.stalled |= dict.fromkeys(dates, clock.to_text(oldest or self.now))
        self.stuck |= set(dates if stuck else ())

    def sweep(self) -> list[str]:
        chosen = choose(self.stalled, self.turns, self.now)
        self.turns |= {turn.date_prefix: turn for turn in next_turns(self.stalled, chosen, self.turns, self.now)}
        for date in chosen:
            self.tried.setdefault(date, []).append(self.number)
            if date not in self.stuck:
                del self.stalled[date]
        self.number += 1
        self.now += EVERY
        return chosen


def test_new_dates_are_taken_by_their_oldest_work() -> None:
    sweeps = Sweeps()
    for age, day in enumerate(days(0, 25)):
        sweeps.stall([day], oldest=NOW - timedelta(minutes=age))

    assert sweeps.sweep() == days(0, 25)[::-1][:20]
    assert sweeps.sweep() == days(0, 25)[::-1][20:]


def test_twenty_dates_that_cannot_be_finished_hide_no_healthy_one() -> None:
    sweeps = Sweeps()
    sweeps.stall(days(0, 20), stuck=True, oldest=NOW - timedelta(days=9))
    sweeps.sweep()
    sweeps.stall(["2025-12-01"])

    assert "2025-12-01" in sweeps.sweep()


def test_hundreds_of_stuck_dates_hide_no_healthy_one_and_have_their_turns() -> None:
    sweeps = Sweeps()
    stuck = days(0, 200)
    sweeps.stall(stuck, stuck=True, oldest=NOW - timedelta(days=9))
    for _ in range(50):
        sweeps.sweep()
    assert all(len(sweeps.tried[date]) >= FAILING_AFTER for date in stuck)
    sweeps.stall(["2025-12-01"])

    assert "2025-12-01" in sweeps.sweep()


def test_a_failing_date_has_every_second_sweep() -> None:
    sweeps = Sweeps()
    sweeps.stall(["2025-12-01"], stuck=True)

    for _ in range(9):
        sweeps.sweep()

    assert sweeps.tried["2025-12-01"] == [0, 1, 2, 4, 6, 8]


def test_a_date_that_gets_on_is_not_failing() -> None:
    sweeps = Sweeps()
    for _ in range(9):
        sweeps.stall(["2025-12-01"], stuck=True)  # its oldest work is new each time
        sweeps.sweep()

    assert sweeps.tried["2025-12-01"] == list(range(9))
    assert not is_failing(sweeps.turns["2025-12-01"], sweeps.stalled["2025-12-01"])


@pytest.mark.parametrize(("tries", "oldest", "failing"), [(2, "a", False), (3, "a", True), (3, "b", False)])
def test_a_date_is_failing_after_three_tries_at_the_same_work(tries: int, oldest: str, failing: bool) -> None:
    assert is_failing(Turn("2025-12-01", clock.to_text(NOW), tries, "a"), oldest) is failing
    assert not is_failing(None, oldest)


def test_dates_that_were_tried_keep_some_places_among_many_new_ones() -> None:
    sweeps = Sweeps()
    stuck = days(0, 8)
    sweeps.stall(stuck, stuck=True)
    sweeps.sweep()
    for wave in range(3):
        sweeps.stall(days(100 + 60 * wave, 60))
        chosen = sweeps.sweep()
        assert len(chosen) == DATES_PER_SWEEP
        assert len(set(chosen) & set(stuck)) == TRIED_PER_SWEEP

    assert all(len(sweeps.tried[date]) >= 2 for date in stuck)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.integers(0, 100_000)), min_size=1, max_size=10))
def test_every_new_date_has_its_turn_after_those_that_stalled_before_it_whatever_else_is_stuck(
    waves: list[tuple[int, bool, int]],
) -> None:
    """Waves of dates stall, one before each sweep, with work of any age."""
    sweeps = Sweeps()
    stalled_at: dict[str, int] = {}
    for wave, (number, stuck, age) in enumerate(waves):
        dates = days(wave * 31, number)
        sweeps.stall(dates, stuck=stuck, oldest=sweeps.now - timedelta(seconds=age))
        stalled_at |= dict.fromkeys(dates, wave)
        sweeps.sweep()
    for _ in range(60):
        sweeps.sweep()

    for date, wave in stalled_at.items():
        before = sum(other <= wave for other in stalled_at.values())
        assert sweeps.tried[date][0] - wave <= before // (DATES_PER_SWEEP - TRIED_PER_SWEEP)
    for date in sweeps.stalled:
        # In 60 sweeps of 20 places, two thirds of which may be taken by rest, all have been tried often.
        assert len(sweeps.tried[date]) >= 60 * TRIED_PER_SWEEP // (2 * max(len(sweeps.stalled), TRIED_PER_SWEEP))
