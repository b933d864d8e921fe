"""All runs of `make faults`, by name, as tasks for the processes of a pool, and their results."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from dev.faults import forks, interleave, outages, sweep, worlds
from dev.faults.calls import SKEWS
from dev.faults.controls import CONTROLS, Control
from dev.faults.scenarios import GIVEN_UP, SMALLEST, Scenario
from dev.faults.schedules import Schedules
from dev.faults.sweep import Run

PAIRS = {kind: f"pairs: {kind}" for kind in (*sweep.PAIR_KINDS, *SKEWS)}
"""By the kind of the first fault."""
OUTAGE = "a service is out, for 1 to 720 minutes"
INTERLEAVED = "executions interleaved by a seed"
SCHEDULE = "schedules drawn by Hypothesis"
CONTROL = "controls: a clause is broken on purpose"
SCHEDULES_PER_TASK = 25
FORKED_RUNS_PER_TASK = 40


@dataclass(frozen=True)
class Result:
    """The result of a trial. A control has a violation if its invariant was not violated."""

    name: str
    kind: str
    violations: tuple[str, ...]
    story: str = ""
    runs: int = 1
    points: tuple[tuple[str, int], ...] = ()
    reached: bool = True
    second_runs: int = 0
    merged: bool = False


class Trial(Protocol):
    """A run that is repeated alone by its name, or several that belong together."""

    @property
    def name(self) -> str: ...

    def play(self) -> Result: ...


Task = Sequence[Trial]
"""Trials that one process plays."""


def identifier(name: str) -> str:
    """What a person types to repeat a trial: letters and digits that no shell changes."""
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def perform(task: Task) -> list[Result]:
    """The results of a task. Discards the metrics that functions print."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
    suffering = [trial for trial in task if isinstance(trial, Suffering)]
    if len(suffering) == len(task):
        known = worlds.Known(worlds.FILE)
        return [result_of(result) for result in forks.explore([trial.run for trial in suffering], known)]
    return [trial.play() for trial in task]


@dataclass(frozen=True)
class Suffering:
    """A scenario under one fault or two."""

    run: Run

    @property
    def name(self) -> str:
        return str(self.run)

    def play(self) -> Result:
        return result_of(sweep.execute(self.run))


def result_of(result: sweep.Result) -> Result:
    run = result.run
    kind = run.faults[0].kind
    return Result(
        str(run),
        str(kind) if len(run.faults) == 1 else PAIRS[kind],
        result.violations,
        points=tuple((run.scenario.name, fault.call) for fault in run.faults),
        reached=result.reached,
        second_runs=result.second_runs,
        merged=result.merged,
    )


@dataclass(frozen=True)
class Outlasting:
    """A scenario during an outage of a service."""

    run: outages.Run

    @property
    def name(self) -> str:
        return str(self.run)

    def play(self) -> Result:
        outcome = outages.execute(self.run)
        return Result(self.name, OUTAGE, outcome.violations, second_runs=outcome.second_runs)


@dataclass(frozen=True)
class Interleaved:
    """Executions whose calls are interleaved as a seed draws it."""

    seed: int

    @property
    def name(self) -> str:
        return f"interleaved by seed {self.seed}"

    def play(self) -> Result:
        played = interleave.play(self.seed)
        return Result(self.name, INTERLEAVED, played.violations, str(played), second_runs=played.second_runs)


@dataclass(frozen=True)
class Scheduled:
    """Schedules that Hypothesis draws; it shrinks a failing one to a short story."""

    seed: int
    number: int

    @property
    def name(self) -> str:
        return f"{self.number} schedules of seed {self.seed}"

    def play(self) -> Result:
        played = settings(settings.get_profile("nightly"), max_examples=self.number, derandomize=False)
        drawn = seed(self.seed)(type("Schedules", (Schedules,), {}))
        violations: tuple[str, ...] = ()
        try:
            run_state_machine_as_test(drawn, settings=played)
        except AssertionError as error:
            violations = ("\n".join([str(error), *getattr(error, "__notes__", [])]),)
        return Result(self.name, SCHEDULE, violations, runs=self.number)


@dataclass(frozen=True)
class Controlled:
    """A control, by its place in CONTROLS: a control holds functions that cannot be sent to another process."""

    number: int

    @property
    def control(self) -> Control:
        return CONTROLS[self.number]

    @property
    def name(self) -> str:
        return f"control: {self.control}"

    def play(self) -> Result:
        invariant = self.control.caught_by.__name__
        caught = invariant in self.control.run(broken=True)
        return Result(self.name, CONTROL, () if caught else (f"{invariant} did not notice",))


def suffering(scenarios: Sequence[Scenario]) -> Iterator[Trial]:
    """Every call of each scenario under every kind of fault, in the order of the calls; then pairs of faults."""
    for scenario in scenarios:
        runs = sorted(sweep.single_faults(scenario), key=lambda run: run.faults[0].call)
        yield from map(Suffering, runs)
        if scenario in (SMALLEST, GIVEN_UP):
            starts = sorted(sweep.lost_starts_under_wrong_clocks(scenario), key=lambda run: run.faults[0].call)
            yield from map(Suffering, starts)
    yield from map(Outlasting, outages.runs(scenarios))
    if SMALLEST in scenarios:
        yield from map(Suffering, sorted(sweep.pairs_of_faults(), key=lambda run: run.faults[0].call))


def others(schedules: int, seeds: int) -> Iterator[Trial]:
    """All that is no fault of a scenario. These take long, so they come first: no core waits for them at the end."""
    for first in range(0, schedules, SCHEDULES_PER_TASK):
        yield Scheduled(first, min(SCHEDULES_PER_TASK, schedules - first))
    yield from map(Controlled, range(len(CONTROLS)))
    yield from map(Interleaved, range(seeds))


def tasks(trials: Sequence[Trial]) -> list[Task]:
    """Runs of the same scenario are played together, so that its calls are made once for all of them."""
    found: list[list[Trial]] = []
    for trial in trials:
        last = found[-1] if found else []
        if _go_together(last, trial):
            last.append(trial)
        else:
            found.append([trial])
    return list(found)


def _go_together(task: Task, trial: Trial) -> bool:
    if not task or len(task) == FORKED_RUNS_PER_TASK or not isinstance(trial, Suffering):
        return False
    last = task[-1]
    return isinstance(last, Suffering) and last.run.scenario is trial.run.scenario
