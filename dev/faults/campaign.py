"""All runs of `make faults`, as tasks for the processes of a pool, and their results."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from dev.faults import interleave, sweep
from dev.faults.controls import CONTROLS, Control
from dev.faults.scenarios import SMALLEST, Scenario
from dev.faults.schedules import Schedules
from dev.faults.sweep import Run

PAIRS = {kind: f"pairs: {kind}" for kind in sweep.PAIR_KINDS}
INTERLEAVED = "executions interleaved by a seed"
SCHEDULE = "schedules drawn by Hypothesis"
CONTROL = "controls: a clause is broken on purpose"
SCHEDULES_PER_TASK = 25


@dataclass(frozen=True)
class Result:
    """The result of a task. A control has a violation if its invariant was not violated."""

    kind: str
    story: str
    violations: tuple[str, ...]
    runs: int = 1
    points: frozenset[tuple[str, int]] = frozenset()
    reached: bool = True
    second_runs: int = 0


Task = Callable[[], Result]


def perform_quietly(task: Task) -> Result:
    """Discards the metrics that functions print, also from the interpreter's threads."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
    return task()


def faults(scenarios: list[Scenario]) -> Iterator[Task]:
    for scenario in scenarios:
        yield from (partial(suffer, run) for run in sweep.single_faults(scenario))
    if SMALLEST in scenarios:
        yield from (partial(suffer, run) for run in sweep.pairs_of_faults())


def suffer(run: Run) -> Result:
    result = sweep.execute(run)
    kind = run.faults[0].kind
    return Result(
        str(kind) if len(run.faults) == 1 else PAIRS[kind],
        str(run),
        result.violations,
        points=frozenset((run.scenario.name, fault.call) for fault in run.faults),
        reached=result.reached,
        second_runs=result.second_runs,
    )


def interleavings(seeds: int) -> Iterator[Task]:
    yield from (partial(interleaved, number) for number in range(seeds))


def interleaved(number: int) -> Result:
    played = interleave.play(number)
    return Result(INTERLEAVED, str(played), played.violations, second_runs=played.second_runs)


def schedules(number: int) -> Iterator[Task]:
    yield from (
        partial(scheduled, first, min(SCHEDULES_PER_TASK, number - first))
        for first in range(0, number, SCHEDULES_PER_TASK)
    )


def scheduled(first: int, number: int) -> Result:
    """`number` schedules; a failure is shrunk to a short story, which Hypothesis prints."""
    played = settings(settings.get_profile("nightly"), max_examples=number, derandomize=False)
    drawn = seed(first)(type("Schedules", (Schedules,), {}))
    try:
        run_state_machine_as_test(drawn, settings=played)
    except AssertionError as error:
        story = "\n".join([str(error), *getattr(error, "__notes__", [])])
        return Result(SCHEDULE, f"schedules of seed {first}", (story,), runs=number)
    return Result(SCHEDULE, f"schedules of seed {first}", (), runs=number)


def controls() -> Iterator[Task]:
    yield from (partial(controlled, number) for number in range(len(CONTROLS)))


def controlled(number: int) -> Result:
    control: Control = CONTROLS[number]
    caught = control.caught_by.__name__ in control.run(broken=True)
    missed = () if caught else (f"{control.caught_by.__name__} did not notice",)
    return Result(CONTROL, str(control), missed)
