"""`make faults`: the full sweep, its figures, and docs/reliability.md.

Exit codes: 0 the promise held in every run, 1 it did not, or a fault point was not reached.
"""

import argparse
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.simulator.world import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # importing a function checks its settings

from tests.faults.calls import PREEMPTIONS, Kind
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.sweep import Result, Run, execute_quietly, pairs_of_faults, single_faults

REPORT = Path(__file__).parents[2] / "docs" / "reliability.md"
HEAD = """\
# Reliability, tried

Every AWS call that a scenario makes, by the functions, by Step Functions itself, by the invocation of a function and by
the trigger, suffers in turn. Then the world goes on (the queue redelivers, the lease ends, one sweep runs) and the
invariants of [tests/faults/invariants.py](../tests/faults/invariants.py) are checked. The definition and the functions
are the real ones; moto plays the services. Repeat it with `make faults`, which writes this page.
"""
SHOWN_FAILURES = 20
CHUNK = 8
# moto keeps something of every account it has played, and a process gets slower as it grows.
RUNS_PER_PROCESS = 240


@dataclass
class Figures:
    """What the runs of one kind of fault came to."""

    runs: int = 0
    points: set[tuple[str, int]] = field(default_factory=set)
    unreached: int = 0
    violations: int = 0
    second_runs: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="how many runs at a time (default: one per core)"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth run; writes no page")
    parser.add_argument(
        "--scenario", metavar="WORDS", default="", help="only scenarios with these words; writes no page"
    )
    options = parser.parse_args()
    console, started = Console(stderr=True), time.monotonic()
    scenarios = [scenario for scenario in SCENARIOS if options.scenario in scenario.name]
    if not scenarios:
        parser.error(f"no scenario has {options.scenario!r} in its name; there are: " + "; ".join(map(str, SCENARIOS)))
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("counting calls", total=None)
        runs = list(planned(scenarios))[:: options.every]
        progress.update(task, total=len(runs), description="runs")
        results: list[Result] = []
        with get_context("spawn").Pool(options.processes, maxtasksperchild=RUNS_PER_PROCESS // CHUNK) as pool:
            for result in pool.imap_unordered(execute_quietly, runs, chunksize=CHUNK):
                results.append(result)
                progress.advance(task)
                if result.violations and sum(bool(known.violations) for known in results) <= SHOWN_FAILURES:
                    progress.console.print(f"[red]{result.run}[/red]", *result.violations, sep="\n    ")
    seconds = time.monotonic() - started
    rows = table_rows(results)
    show(rows, seconds)
    if options.every == 1 and not options.scenario:
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text(page(rows, scenarios, seconds))
    failed = any(result.violations or not result.reached for result in results)
    print("the promise does NOT hold" if failed else "the promise holds in every run")
    return 1 if failed else 0


def planned(scenarios: list[Scenario]) -> Iterator[Run]:
    for scenario in scenarios:
        yield from single_faults(scenario)
    if SCENARIOS[0] in scenarios:
        yield from pairs_of_faults()


def table_rows(results: list[Result]) -> list[tuple[str, Figures]]:
    figures: dict[str, Figures] = defaultdict(Figures)
    for result in results:
        faults = result.run.faults
        for name in (str(faults[0].kind) if len(faults) == 1 else f"pairs: {faults[0].kind}", "all"):
            kind = figures[name]
            kind.runs += 1
            kind.points |= {(result.run.scenario.name, fault.call) for fault in faults}
            kind.unreached += not result.reached
            kind.violations += bool(result.violations)
            kind.second_runs += result.second_runs
    names = [*map(str, Kind), *(f"pairs: {kind}" for kind in Kind), "all"]
    return [(name, figures[name]) for name in names if name in figures]


def cells(name: str, figures: Figures) -> tuple[str, ...]:
    numbers = (figures.runs, len(figures.points), figures.unreached, figures.violations, figures.second_runs)
    return (name, *(f"{number:,}" for number in numbers))


COLUMNS = ("What befalls the call", "Runs", "Fault points", "Not reached", "Violations", "Second runs of a job")


def show(rows: list[tuple[str, Figures]], seconds: float) -> None:
    table = Table(*COLUMNS, title=f"{rows[-1][1].runs:,} runs in {seconds:.0f} s" if rows else None)
    for name, figures in rows:
        table.add_row(*cells(name, figures))
    Console().print(table)


def page(rows: list[tuple[str, Figures]], scenarios: list[Scenario], seconds: float) -> str:
    preemptions = sum(figures.runs for name, figures in rows if name in set(map(str, PREEMPTIONS)))
    lines = [
        HEAD,
        f"{rows[-1][1].runs:,} runs, {preemptions:,} of them preemptions, in {seconds / 60:.0f} minutes on "
        f"{os.cpu_count()} cores.\n",
        "| " + " | ".join(COLUMNS) + " |",
        "|---" + "|--:" * (len(COLUMNS) - 1) + "|",
        *("| " + " | ".join(cells(name, figures)) + " |" for name, figures in rows),
        "",
        "A fault strikes the first attempt of a call and, in another run, every attempt of the SDK or of the state's",
        "`Retry`. Second runs of a job are counted: they occur only where Glue accepts a start more than 60 s after it",
        "was given up, or answers `GetJobRuns` without a run that it has started (README, Limits).",
        "",
        "## Scenarios",
        "",
        *(f"- {scenario}" for scenario in scenarios),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
