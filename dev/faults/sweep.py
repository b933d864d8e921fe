"""The sweep: for every scenario, every call of it and every kind of fault, one run each."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations

from dev.faults.calls import SKEWS, ZOMBIES, Call, Fault, Kind
from dev.faults.invariants import violations
from dev.faults.lab import Lab
from dev.faults.scenarios import DAY, MB, SMALLEST, Scenario

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
            or (fault.kind is Kind.LATE_RUNS and self.calls[fault.call].operation == "GetJobRuns")
            for fault in self.faults
        )


@dataclass(frozen=True)
class Outcome:
    """The end of a lab: its violations, the second runs of jobs, and the faults that struck."""

    violations: tuple[str, ...]
    second_runs: int = 0
    reached: tuple[Fault, ...] = ()
    merged: bool = False
    """Whether the end is that of another run, whose world this one had come to."""


@dataclass(frozen=True)
class Result:
    run: Run
    reached: bool
    violations: tuple[str, ...]
    second_runs: int
    merged: bool = field(default=False, compare=False)


@cache
def calls_of(scenario: Scenario) -> tuple[Call, ...]:
    """The calls of the scenario when nothing goes wrong. Plays it once for each process."""
    with Lab(environment=scenario.environment, rival=rival) as lab:
        scenario.play(lab)
        wrong = violations(lab)
        assert not wrong, f"{scenario} does not even hold without faults: {wrong}"
        return tuple(lab.calls)


def single_faults(scenario: Scenario) -> Iterator[Run]:
    calls = calls_of(scenario)
    for kind in Kind:
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


def lost_starts_under_wrong_clocks(scenario: Scenario) -> Iterator[Run]:
    """The clock of a function goes wrong at its first invocation; later the answer to a start of the job is lost."""
    calls = calls_of(scenario)
    first = {call.operation: call for call in reversed(calls) if call.source == "invocation"}
    for start in calls:
        if start.operation == "StartJobRun":
            for call in first.values():
                for kind in SKEWS:
                    if call.number < start.number:
                        lost = Fault(start.number, Kind.LOST, lasting=True)
                        yield Run(scenario, (Fault(call.number, kind), lost), calls)


def execute(run: Run) -> Result:
    """Plays the scenario under the faults, lets everything settle, and checks the invariants."""
    with Lab(environment=run.scenario.environment, faults=run.faults, rival=rival) as lab:
        run.scenario.play(lab)
        return result_of(run, outcome_of(lab))


def outcome_of(lab: Lab) -> Outcome:
    return Outcome(tuple(violations(lab)), lab.second_runs(), tuple(lab.reached))


def result_of(run: Run, outcome: Outcome) -> Result:
    wrong = outcome.violations
    if run.may_run_twice:
        wrong = tuple(text for text in wrong if not text.startswith("no_manifest_starts_a_second_run"))
    # The second fault of a pair may hit a call that is not made any more after the first.
    return Result(run, run.faults[0] in outcome.reached, wrong, outcome.second_runs, outcome.merged)


def rival(lab: Lab) -> None:
    """Another execution for the same date, from its event to its end; then everything is delivered once more."""
    lab.arrive(f"rival/{DAY}-rival.ndjson", 15 * MB)
    lab.deliver_all()
    lab.execute({"sweep": True})
