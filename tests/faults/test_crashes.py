"""A thinned sweep of crash points and preemptions; `make faults` runs all of it."""

from pathlib import Path

import pytest

from dev.faults.forks import explore
from dev.faults.scenarios import GIVEN_UP, SCENARIOS, SMALLEST, Scenario
from dev.faults.sweep import lost_starts_under_wrong_clocks, pairs_of_faults, single_faults
from dev.faults.worlds import Known

# A scenario takes 20 s, and a busy machine is slow.
pytestmark = pytest.mark.timeout(400)

EVERY = 45
EVERY_PAIR = 120
EVERY_LOST_START = 3


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_the_promise_holds_whatever_befalls_a_call(scenario: Scenario, tmp_path: Path) -> None:
    runs = list(single_faults(scenario))
    assert len(runs) > EVERY

    for result in explore(runs[len(scenario.name) % EVERY :: EVERY], Known(tmp_path / "worlds")):
        assert result.reached, result.run
        assert result.violations == (), result.run


@pytest.mark.parametrize("scenario", [SMALLEST, GIVEN_UP], ids=str)
def test_the_promise_holds_if_a_start_is_lost_while_a_clock_is_wrong(scenario: Scenario, tmp_path: Path) -> None:
    runs = list(lost_starts_under_wrong_clocks(scenario))
    assert len(runs) >= EVERY_LOST_START

    for result in explore(runs[::EVERY_LOST_START], Known(tmp_path / "worlds")):
        assert result.reached, result.run
        assert result.violations == (), result.run


def test_the_promise_holds_under_pairs_of_faults(tmp_path: Path) -> None:
    for result in explore(list(pairs_of_faults(SMALLEST))[7::EVERY_PAIR], Known(tmp_path / "worlds")):
        assert result.violations == (), result.run
