"""The figures of a complete sweep, and the page that shows them, docs/reliability.md."""

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from dev.faults.calls import PREEMPTIONS, Kind
from dev.faults.campaign import CONTROL, INTERLEAVED, OUTAGE, PAIRS, SCHEDULE, Result
from dev.faults.controls import CONTROLS, UNREACHABLE
from dev.faults.scenarios import SCENARIOS
from dev.paths import DOCS

REPORT = DOCS / "reliability.md"
HEAD = """\
# Reliability, tried

Every AWS call that a scenario makes, by the functions, by Step Functions itself, by the invocation of a function and by
the trigger, suffers in turn. Then the world goes on (the queue redelivers, the lease ends, one sweep runs) and the
invariants of [dev/faults/invariants.py](../dev/faults/invariants.py) are checked. The definition and the functions
are the real ones; moto plays the services. Repeat it with `make faults`, which writes this page.
"""
KINDS = [*map(str, Kind), *PAIRS.values(), OUTAGE, INTERLEAVED, SCHEDULE, CONTROL]
ALL = "all"
COLUMNS = (
    "What befalls the calls",
    "Runs",
    "Merged",
    "Fault points",
    "Not reached",
    "Violations",
    "Second runs of a job",
)


@dataclass
class Figures:
    """Figures of the runs of one kind."""

    runs: int = 0
    merged: int = 0
    points: set[tuple[str, int]] = field(default_factory=set)
    unreached: int = 0
    violations: int = 0
    second_runs: int = 0

    def add(self, result: Result) -> None:
        self.runs += result.runs
        self.merged += result.merged
        self.points.update(result.points)
        self.unreached += not result.reached
        self.violations += bool(result.violations)
        self.second_runs += result.second_runs

    def cells(self) -> tuple[str, ...]:
        numbers = (self.runs, self.merged, len(self.points), self.unreached, self.violations, self.second_runs)
        return tuple(f"{number:,}" for number in numbers)


def figures_of(results: Sequence[Result]) -> dict[str, Figures]:
    found: dict[str, Figures] = defaultdict(Figures)
    for result in results:
        found[result.kind].add(result)
        found[ALL].add(result)
    return {kind: found[kind] for kind in [*KINDS, ALL] if kind in found}


def page(figures: dict[str, Figures], seconds: float) -> str:
    preemptions = sum(figures[str(kind)].runs for kind in PREEMPTIONS)
    caught = Counter(control.caught_by.__name__ for control in CONTROLS)
    lines = [
        HEAD,
        f"{figures[ALL].runs:,} runs, {preemptions:,} of them preemptions, in {seconds / 60:.0f} minutes on "
        f"{os.cpu_count()} cores.\n",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" + "|--:" * (len(COLUMNS) - 1) + "|",
        *("| " + " | ".join((kind, *of_kind.cells())) + " |" for kind, of_kind in figures.items()),
        "",
        "A fault strikes the first attempt of a call and, in another run, every attempt of the SDK or of the state's",
        "`Retry`. A merged run came to a world in which another run had been: the same contents of the account, queue,",
        "clock and answers to the execution under way. From there on the two are the same, so it was not played to its",
        "end ([dev/faults/worlds.py](../dev/faults/worlds.py) says what is compared). In an outage each service that a",
        "scenario calls is out for 1, 15, 120 and 720 minutes, and an hour after its end all must be done. Second runs",
        "of a job occur only where Glue accepts a start over a minute after it was given up, or answers `GetJobRuns`",
        "without a run that it has started ([limits](limits.md)).",
        "",
        "## Scenarios",
        "",
        *(f"- {scenario}" for scenario in SCENARIOS),
        "",
        "## Controls",
        "",
        "A sweep that cannot fail proves nothing. Each of these clauses of the protocol was broken, and the invariant",
        "beside it noticed.",
        "",
        "| Clause | Caught by |",
        "|---|---|",
        *(f"| {control} | `{control.caught_by.__name__}` |" for control in CONTROLS),
        "",
        f"{len(CONTROLS)} controls, {len(caught)} invariants. No run can tell these clauses from their absence:",
        "",
        *(f"- {clause}: {reason}" for clause, reason in UNREACHABLE.items()),
        "",
    ]
    return "\n".join(lines)
