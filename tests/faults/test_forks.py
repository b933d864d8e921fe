"""Runs that are forked and merged have the same results as runs that are played alone."""

import os
from pathlib import Path
from unittest import mock

import pytest

from dev.faults import sweep, worlds
from dev.faults.calls import Fault, Kind
from dev.faults.forks import explore
from dev.faults.lab import Lab
from dev.faults.scenarios import SMALLEST
from dev.faults.sweep import Result, Run, execute, pairs_of_faults, single_faults
from dev.faults.worlds import Known

# One process plays the runs alone for both tests that compare.
pytestmark = pytest.mark.xdist_group("forks")


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """Runs of each kind of fault, on calls that are far from each other, and pairs of faults."""
    return [*list(single_faults(SMALLEST))[3::50], *list(pairs_of_faults(SMALLEST))[5::150]]


@pytest.fixture
def known(tmp_path: Path) -> Known:
    return Known(tmp_path / "worlds")


def whole_world(lab: Lab) -> list[str]:
    """Instead of violations: everything."""
    return [worlds.text(lab)]


@pytest.fixture(scope="module")
def alone(runs: list[Run]) -> list[Result]:
    """Each run played to its end by itself. Its violation is the world at the end."""
    with mock.patch.object(sweep, "violations", whole_world):
        return [execute(run) for run in runs]


def test_runs_end_in_the_same_world_as_runs_that_are_played_alone(
    monkeypatch: pytest.MonkeyPatch, runs: list[Run], alone: list[Result], known: Known
) -> None:
    monkeypatch.setattr(sweep, "violations", whole_world)
    forked = explore(runs, known)

    assert forked == alone
    assert sum(result.merged for result in forked) >= 3
    assert len({result.violations for result in forked}) > 5, "the runs differ from each other"


def test_merging_runs_whose_worlds_differ_is_noticed(
    monkeypatch: pytest.MonkeyPatch, runs: list[Run], alone: list[Result], known: Known
) -> None:
    monkeypatch.setattr(sweep, "violations", whole_world)
    monkeypatch.setattr(worlds, "fingerprint", lambda lab: str(lab.state()["place"]))
    assert explore(runs, known) != alone


def test_a_run_that_raises_has_the_exception_as_its_violation(
    monkeypatch: pytest.MonkeyPatch, runs: list[Run], known: Known
) -> None:
    def broken(lab: Lab) -> list[str]:
        raise ValueError("the check is broken")

    monkeypatch.setattr(sweep, "violations", broken)
    for result in explore(runs[:3], known):
        assert "ValueError: the check is broken" in result.violations[0]


def test_a_run_that_ends_its_process_has_that_as_its_violation(
    monkeypatch: pytest.MonkeyPatch, runs: list[Run], known: Known
) -> None:
    monkeypatch.setattr(sweep, "violations", lambda lab: os._exit(3))
    for result in explore(runs[:3], known):
        assert result.violations == ("the process of the run ended with exit code 3",)


def test_runs_of_a_call_that_is_never_made_are_not_reached(runs: list[Run], known: Known) -> None:
    beyond = Run(SMALLEST, (Fault(1000, Kind.FAILS),), runs[0].calls)
    found = explore([runs[0], beyond], known)

    assert [result.reached for result in found] == [True, False]
