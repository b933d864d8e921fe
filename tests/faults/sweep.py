"""The sweep: for every scenario, every call of it and every kind of fault, one run each."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from tests.faults.calls import PREEMPTIONS, ZOMBIES, Call, Fault, Kind
from tests.faults.invariants import violations
from tests.faults.lab import Lab
from tests.faults.scenarios import DAY, MB, SCENARIOS, SMALLEST, Scenario

PAIR_KINDS = (Kind.LOST, Kind.KILLED_AFTER)


@dataclass(frozen=True)
class Run:
    """One scenario under given faults."""

    scenario: Scenario
    faults: tuple[Fault, ...]
    calls: tuple[Call, ...] = ()

    def __str__(self) -> str:
        return f"{self.scenario}: " + ", then ".join(
            f"{self.calls[fault.call]} {str(fault).split(' ', 2)[2]}" for fault in self.faults
        )

    @property
    def may_run_twice(self) -> bool:
        """Whether DESIGN allows a second run: Glue takes a start over 60 s after it was given up, or knows it late."""
        late_start = ZOMBIES | {Kind.PREEMPTED_PAST_LEASE}
        return any(
            (fault.kind in late_start and self.calls[fault.call].operation == "StartJobRun")
            or fault.kind is Kind.LATE_RUNS
            for fault in self.faults
        )


@dataclass(frozen=True)
class Result:
    run: Run
    reached: bool
    violations: tuple[str, ...]
    second_runs: int


Double = Callable[[], AbstractContextManager[Any]]


def calls_of(scenario: Scenario, edit_definition: Callable[[str], str] = str) -> tuple[Call, ...]:
    """The calls of the scenario when nothing goes wrong."""
    with Lab(environment=scenario.environment, edit_definition=edit_definition, rival=rival) as lab:
        scenario.play(lab)
        wrong = violations(lab)
        assert not wrong, f"{scenario} does not even hold without faults: {wrong}"
        return tuple(lab.calls)


def single_faults(scenario: Scenario, kinds: Iterator[Kind] | None = None) -> Iterator[Run]:
    calls = calls_of(scenario)
    for kind in kinds or Kind:
        for call in calls:
            if call.suffers(kind):
                yield Run(scenario, (Fault(call.number, kind),), calls)
                if call.lasts(kind):
                    yield Run(scenario, (Fault(call.number, kind, lasting=True),), calls)


def pairs_of_faults(scenario: Scenario = SMALLEST) -> Iterator[Run]:
    calls = calls_of(scenario)
    for kind in PAIR_KINDS:
        able = [call for call in calls if call.suffers(kind)]
        for first, second in combinations(able, 2):
            faults = tuple(Fault(call.number, kind, lasting=call.lasts(kind)) for call in (first, second))
            yield Run(scenario, faults, calls)


def all_runs() -> list[Run]:
    singles = [run for scenario in SCENARIOS for run in single_faults(scenario)]
    return singles + list(pairs_of_faults())


def execute(run: Run, edit_definition: Callable[[str], str] = str, double: Double = nullcontext) -> Result:
    """Play the scenario under the faults, let the world go on, and look."""
    lab = Lab(environment=run.scenario.environment, edit_definition=edit_definition, faults=run.faults, rival=rival)
    with lab, double():
        run.scenario.play(lab)
        wrong = violations(lab)
        second_runs = sum(times - 1 for times in lab.runs_by_manifest().values())
    if run.may_run_twice:
        wrong = [text for text in wrong if not text.startswith("no_manifest_starts_a_second_run")]
    # The second fault of a pair may hit a call that is not made any more after the first.
    reached = run.faults[0] in lab.reached
    return Result(run, reached, tuple(wrong), second_runs)


def execute_quietly(run: Run) -> Result:
    """For the processes of a pool: functions print their metrics, which nobody reads here."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
    result = execute(run)
    return replace(result, run=run)


def rival(lab: Lab) -> None:
    """Another execution for the same date, from its event to its end; then everything is delivered once more."""
    lab.arrive(f"rival/{DAY}-rival.ndjson", 15 * MB)
    lab.deliver_all()
    lab.execute({"sweep": True})


def is_preemption(run: Run) -> bool:
    return any(fault.kind in PREEMPTIONS for fault in run.faults)
