"""Forked runs have the same results as runs that are played alone."""

import os
from collections import Counter

import pytest

from dev.faults import sweep
from dev.faults.calls import Fault, Kind
from dev.faults.forks import explore
from dev.faults.lab import Lab
from dev.faults.scenarios import SMALLEST
from dev.faults.sweep import Run, execute, pairs_of_faults, single_faults


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """Runs of each kind of fault, on calls that are far from each other, and pairs of faults."""
    return [*list(single_faults(SMALLEST))[3::50], *list(pairs_of_faults(SMALLEST))[5::150]]


def whole_world(lab: Lab) -> list[str]:
    """Instead of violations: the clock, every call, and the contents of the account, but for random identifiers."""
    statuses = Counter(item.get("status", "lock") for item in lab.items().values())
    sizes = sorted(map(len, lab.runs_by_manifest())), len(lab.seen.objects), len(lab.queue.messages)
    calls = Counter(str(call) for call in lab.calls)
    return [str((lab._ticks, lab.later, sorted(statuses.items()), sizes, sorted(calls.items())))]


def test_forked_runs_end_in_the_same_world_as_runs_that_are_played_alone(
    monkeypatch: pytest.MonkeyPatch, runs: list[Run]
) -> None:
    monkeypatch.setattr(sweep, "violations", whole_world)
    forked = explore(runs)

    assert forked == [execute(run) for run in runs]
    assert len({result.violations for result in forked}) > len(runs) / 2, "the runs differ from each other"


def test_a_run_that_raises_has_the_exception_as_its_violation(monkeypatch: pytest.MonkeyPatch, runs: list[Run]) -> None:
    def broken(lab: Lab) -> list[str]:
        raise ValueError("the check is broken")

    monkeypatch.setattr(sweep, "violations", broken)
    for result in explore(runs[:3]):
        assert "ValueError: the check is broken" in result.violations[0]


def test_a_run_that_ends_its_process_has_that_as_its_violation(
    monkeypatch: pytest.MonkeyPatch, runs: list[Run]
) -> None:
    monkeypatch.setattr(sweep, "violations", lambda lab: os._exit(3))
    for result in explore(runs[:3]):
        assert result.violations == ("the process of the run ended with exit code 3",)


def test_runs_of_a_call_that_is_never_made_are_not_reached(runs: list[Run]) -> None:
    beyond = Run(SMALLEST, (Fault(1000, Kind.FAILS),), runs[0].calls)
    found = explore([runs[0], beyond])

    assert [result.reached for result in found] == [True, False]
