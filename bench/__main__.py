"""`make bench`: measures everything, and writes docs/performance.csv, the plots, and the page's figures.

Exit codes: 0 every bar holds, 1 one does not.
"""

import argparse
import os
import sys
import time
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.simulator.world import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # importing a function checks its settings

from bench import bars, coldstart, machine, page, plots, throughput
from bench.counts import CSV, Counts, Record
from bench.runs import Run, runs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="how many runs at a time (default: one per core)"
    )
    parser.add_argument(
        "--draw", action="store_true", help="measure nothing: make page and plots anew from docs/performance.csv"
    )
    options = parser.parse_args()
    console, started = Console(stderr=True), time.monotonic()
    if options.draw:
        record = Record.read()
    else:
        record = measure(options.processes, console)
        record.machine["minutes"] = f"{(time.monotonic() - started) / 60:.0f}"
        record.write()
        # What is drawn is what was written: figures are rounded there.
        record = Record.read()
    drawn = plots.draw(record)
    page.PAGE.write_text(page.with_figures(page.PAGE.read_text(), record))
    show(record)
    print(*(path.relative_to(Path.cwd()) for path in (page.PAGE, CSV, *drawn)), sep="\n")
    return 0 if all(bar.holds for bar in bars.bars(record)) else 1


def measure(processes: int, console: Console) -> Record:
    """Days first, side by side; what is timed comes after them, alone."""
    record = Record(machine=machine.describe())
    planned = runs()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("runs", total=len(planned) + 2)
        with get_context("spawn").Pool(processes, maxtasksperchild=1) as pool:
            for name, counts in pool.imap_unordered(_measured, planned, chunksize=1):
                record.counts[name] = counts
                progress.console.print(f"{name}: {counts.seconds:.0f} s")
                progress.advance(task)
        record.counts = {run.name: record.counts[run.name] for run in planned}
        record.timings["cold start"] = coldstart.measure()
        progress.advance(task)
        record.timings["make run"] = throughput.measure()
        progress.advance(task)
    return record


def _measured(run: Run) -> tuple[str, Counts]:
    return run.name, run.measure()


def show(record: Record) -> None:
    table = Table("What", "Bar", "Measured", "Holds")
    for bar in bars.bars(record):
        table.add_row(bar.what, bar.bar, bar.measured, "yes" if bar.holds else "[red]no[/red]")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
