"""`make faults`: the full sweep, its figures, and docs/reliability.md.

Exit codes: 0 the promise held in every run and every control was caught, 1 it did not, or a call was not reached, 2 the
user's mistake, 130 Ctrl-C, 143 SIGTERM or SIGHUP.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from dev.simulator.world import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # importing a function checks its settings

from dev.faults import campaign
from dev.faults.campaign import Result, Trial, identifier
from dev.faults.page import ALL, COLUMNS, REPORT, Figures, figures_of, page
from dev.faults.record import Record
from dev.faults.scenarios import SCENARIOS
from dev.workers import workers
from toolkit.console import make_console
from toolkit.errors import UsageError
from toolkit.exit_codes import FAILED, MISTAKE

SHOWN_FAILURES = 20
LINE_EVERY = 500
"""Results between two progress lines, if no progress bar can be drawn."""
# moto keeps something of every account that it has played, and a process gets slower as it grows.
TASKS_PER_PROCESS = 30
COLUMNS_OF_PROGRESS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TextColumn("left:"),
    TimeRemainingColumn(),
)


def main() -> int:
    options = parse()
    try:
        return repeat(options) if options.run else sweep(options)
    except UsageError as mistake:
        print(mistake, file=sys.stderr)
        return MISTAKE


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
    parser.add_argument("--resume", action="store_true", help="go on with the sweep that was interrupted")
    parser.add_argument("--run", metavar="ID", help="repeat one run, by the identifier that a failure prints")
    options = parser.parse_args()
    if not any(options.scenario in scenario.name for scenario in SCENARIOS):
        parser.error(f"no scenario has {options.scenario!r} in its name; there are: " + "; ".join(map(str, SCENARIOS)))
    return options


def repeat(options: argparse.Namespace) -> int:
    """Plays one run in this process, and shows all of its violations."""
    found = [trial for trial in trials(options) if identifier(trial.name) == options.run]
    if not found:
        raise UsageError(f"no run has the identifier {options.run}; give --seeds and --schedules as in its sweep")
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):  # the functions print their metrics
        result = found[0].play()
    print(result.name, *([result.story] if result.story else []), *result.violations, sep="\n    ")
    print(verdict([result]))
    return exit_code([result])


def sweep(options: argparse.Namespace) -> int:
    console = Console(stderr=True)
    record = Record.resume() if options.resume else Record.begin()
    with Progress(*COLUMNS_OF_PROGRESS, console=console, transient=True) as progress:
        bar = progress.add_task("counting calls", total=None)
        planned = trials(options)
        done = {result.name for result in record.results}
        left = [trial for trial in planned if trial.name not in done]
        progress.update(bar, total=len(planned), completed=len(planned) - len(left), description="runs")
        with workers(options.processes, TASKS_PER_PROCESS) as pool:
            for results in pool.imap_unordered(campaign.perform, campaign.tasks(left)):
                record.add(results)
                progress.advance(bar, len(results))
                show_failures(progress.console, results, record.results)
                if not console.is_terminal:
                    show_line(console, len(results), record, len(planned))
    names = {trial.name for trial in planned}
    results = [result for result in record.results if result.name in names]
    figures = figures_of(results)
    show(figures, record.seconds)
    if options.every == 1 and not options.scenario:
        REPORT.write_text(page(figures, record.seconds))
    record.finish()
    print(verdict(results))
    return exit_code(results)


def trials(options: argparse.Namespace) -> list[Trial]:
    """The long ones first, so that no core waits for them at the end."""
    scenarios = [scenario for scenario in SCENARIOS if options.scenario in scenario.name]
    others = [] if options.scenario else campaign.others(options.schedules, options.seeds)
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):  # the functions print their metrics
        return [*others, *campaign.suffering(scenarios)][:: options.every]


def show_failures(console: Console, results: Sequence[Result], known: Sequence[Result]) -> None:
    """Each failure with the command that repeats it, up to a limit."""
    shown = sum(failed(result) for result in known) - sum(map(failed, results))
    for result in list(filter(failed, results))[: max(0, SHOWN_FAILURES - shown)]:
        story = [result.story] if result.story else []
        again = f'again: make faults ARGS="--run {identifier(result.name)}"'
        unreached = [] if result.reached else ["its call was not reached"]
        console.print(result.name, *story, *unreached, *result.violations, again, sep="\n    ", markup=False)


def show_line(console: Console, new: int, record: Record, planned: int) -> None:
    done = len(record.results)
    if done // LINE_EVERY > (done - new) // LINE_EVERY:
        left = record.seconds / done * (planned - done)
        console.print(f"{done:,} of {planned:,} after {record.seconds:.0f} s, about {left:.0f} s left")


def show(figures: dict[str, Figures], seconds: float) -> None:
    console = make_console()
    table = Table(*COLUMNS, title=f"{figures[ALL].runs:,} runs in {seconds:.0f} s")
    for kind, of_kind in figures.items():
        if kind == ALL:
            table.add_section()
        table.add_row(kind, *of_kind.cells())
    console.print(table)


def failed(result: Result) -> bool:
    return bool(result.violations) or not result.reached


def verdict(results: Sequence[Result]) -> str:
    return "the promise does NOT hold" if any(map(failed, results)) else "the promise holds in every run"


def exit_code(results: Sequence[Result]) -> int:
    return FAILED if any(map(failed, results)) else 0
