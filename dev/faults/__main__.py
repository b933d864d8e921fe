"""`make faults`: the full sweep, its figures, and docs/reliability.md.

Exit codes: 0 the promise held in every run and every control was caught, 1 it did not, or a call was not reached, 130
Ctrl-C, 143 SIGTERM or SIGHUP.
"""

import argparse
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dev.paths import DOCS
from dev.simulator.world import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # importing a function checks its settings

from dev.faults import campaign
from dev.faults.calls import PREEMPTIONS, Kind
from dev.faults.campaign import CONTROL, INTERLEAVED, PAIRS, SCHEDULE, Result, Task
from dev.faults.controls import CONTROLS, UNREACHABLE
from dev.faults.scenarios import SCENARIOS, Scenario
from dev.workers import workers
from toolkit.ending import end_when_told, exit_code_of

REPORT = DOCS / "reliability.md"
HEAD = """\
# Reliability, tried

Every AWS call that a scenario makes, by the functions, by Step Functions itself, by the invocation of a function and by
the trigger, suffers in turn. Then the world goes on (the queue redelivers, the lease ends, one sweep runs) and the
invariants of [dev/faults/invariants.py](../dev/faults/invariants.py) are checked. The definition and the functions
are the real ones; moto plays the services. Repeat it with `make faults`, which writes this page.
"""
SHOWN_FAILURES = 20
CHUNK = 8
LINE_EVERY = 500
"""Results between two progress lines, if no progress bar can be drawn."""
# moto keeps something of every account it has played, and a process gets slower as it grows.
TASKS_PER_PROCESS = 240
KINDS = [*map(str, Kind), *PAIRS.values(), INTERLEAVED, SCHEDULE, CONTROL]
ALL = "all"
COLUMNS = ("What befalls the calls", "Runs", "Fault points", "Not reached", "Violations", "Second runs of a job")


@dataclass
class Figures:
    """Figures of the runs of one kind."""

    runs: int = 0
    points: set[tuple[str, int]] = field(default_factory=set)
    unreached: int = 0
    violations: int = 0
    second_runs: int = 0

    def add(self, result: Result) -> None:
        self.runs += result.runs
        self.points |= result.points
        self.unreached += not result.reached
        self.violations += bool(result.violations)
        self.second_runs += result.second_runs

    def cells(self) -> tuple[str, ...]:
        numbers = (self.runs, len(self.points), self.unreached, self.violations, self.second_runs)
        return tuple(f"{number:,}" for number in numbers)


def main() -> int:
    options = parse()
    console, started = Console(stderr=True), time.monotonic()
    scenarios = [scenario for scenario in SCENARIOS if options.scenario in scenario.name]
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("counting calls", total=None)
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):  # the functions print their metrics
            tasks = list(planned(scenarios, options))[:: options.every]
        progress.update(bar, total=len(tasks), description="runs")
        results: list[Result] = []
        with workers(options.processes, TASKS_PER_PROCESS // CHUNK) as pool:
            for result in pool.imap_unordered(campaign.perform_quietly, tasks, chunksize=CHUNK):
                results.append(result)
                progress.advance(bar)
                if not console.is_terminal and len(results) % LINE_EVERY == 0:
                    console.print(f"{len(results):,} of {len(tasks):,} after {time.monotonic() - started:.0f} s")
                if result.violations and sum(bool(known.violations) for known in results) <= SHOWN_FAILURES:
                    progress.console.print(f"[red]{result.story}[/red]", *result.violations, sep="\n    ")
    seconds = time.monotonic() - started
    figures = figures_of(results)
    show(figures, seconds)
    if options.every == 1 and not options.scenario:
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text(page(figures, seconds))
    failed = any(result.violations or not result.reached for result in results)
    print("the promise does NOT hold" if failed else "the promise holds in every run")
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m dev.faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="how many runs at a time (default: one per core)"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth run; writes no page")
    parser.add_argument(
        "--scenario", metavar="WORDS", default="", help="only scenarios with these words; writes no page"
    )
    parser.add_argument("--seeds", type=int, default=300, help="interleaved runs (default 300)")
    parser.add_argument("--schedules", type=int, default=500, help="drawn schedules (default 500)")
    options = parser.parse_args()
    if not any(options.scenario in scenario.name for scenario in SCENARIOS):
        parser.error(f"no scenario has {options.scenario!r} in its name; there are: " + "; ".join(map(str, SCENARIOS)))
    return options


def planned(scenarios: list[Scenario], options: argparse.Namespace) -> Iterator[Task]:
    """The long ones first, so that no core waits for them at the end."""
    if not options.scenario:
        yield from campaign.schedules(options.schedules)
        yield from campaign.controls()
        yield from campaign.interleavings(options.seeds)
    yield from campaign.faults(scenarios)


def figures_of(results: list[Result]) -> dict[str, Figures]:
    found: dict[str, Figures] = defaultdict(Figures)
    for result in results:
        found[result.kind].add(result)
        found[ALL].add(result)
    return {kind: found[kind] for kind in [*KINDS, ALL] if kind in found}


def show(figures: dict[str, Figures], seconds: float) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = 120
    table = Table(*COLUMNS, title=f"{figures[ALL].runs:,} runs in {seconds:.0f} s")
    for kind, of_kind in figures.items():
        if kind == ALL:
            table.add_section()
        table.add_row(kind, *of_kind.cells())
    console.print(table)


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
        "`Retry`. Second runs of a job are counted: they occur only where Glue accepts a start more than 60 s after it",
        "was given up, or answers `GetJobRuns` without a run that it has started ([limits](limits.md)).",
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


if __name__ == "__main__":
    end_when_told()
    sys.exit(exit_code_of(main))
