"""`make bench`: measures everything, and writes docs/performance.csv, the plots, and the page's figures."""

import argparse
import os
import sys
import time
from collections.abc import Collection
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dev.simulator.world import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # importing a function checks its settings

from dev.bench import bars, coldstart, machine, page, throughput
from dev.bench.counts import CSV, Counts, Record
from dev.bench.runs import measured, runs
from dev.workers import workers
from toolkit.ending import end_when_told, exit_code_of

PARTS = ("timings", "counts")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="how many runs at a time (default: one per core)"
    )
    parser.add_argument("--only", choices=PARTS, help="measure this part; the other stays as it is in the CSV")
    parser.add_argument("--draw", action="store_true", help="measure nothing: make page and plots anew from the CSV")
    options = parser.parse_args()
    console, started = Console(stderr=True), time.monotonic()
    if options.draw:
        record = Record.read()
    else:
        record = measure([options.only] if options.only else PARTS, options.processes, console)
        record.machine["minutes"] = f"{(time.monotonic() - started) / 60:.0f}"
        record.write()
        # The page shows the figures of the CSV, which are rounded.
        record = Record.read()
    from dev.bench import plots  # needs matplotlib, which only the drawing does

    drawn = plots.draw(record)
    page.PAGE.write_text(page.with_figures(page.PAGE.read_text(), record))
    show(record)
    print(*(path.relative_to(Path.cwd()) for path in (page.PAGE, CSV, *drawn)), sep="\n")
    return 0


def measure(parts: Collection[str], processes: int, console: Console) -> Record:
    """Timed runs come first and alone; counted runs follow, several at once."""
    record = Record() if set(parts) == set(PARTS) else Record.read()
    record.machine = machine.describe()
    if "timings" in parts:
        console.print("cold starts, and 2,000 files through the embedded run")
        # The Glue job and the audit are timed by commands of their own.
        of_others = {name: found for name, found in Record.read().timings.items() if name in ("Glue job", "audit")}
        record.timings = {"cold start": coldstart.measure(), "make run": throughput.measure(), **of_others}
    if "counts" in parts:
        record.counts = count(processes, console)
    return record


def count(processes: int, console: Console) -> dict[str, Counts]:
    """All runs, by name and in their order."""
    planned, counts = runs(), {}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("runs", total=len(planned))
        with workers(processes, tasks_per_process=1) as pool:
            for name, found in pool.imap_unordered(measured, planned, chunksize=1):
                counts[name] = found
                progress.console.print(f"{name}: {found.seconds:.0f} s")
                progress.advance(task)
    return {run.name: counts[run.name] for run in planned}


def show(record: Record) -> None:
    table = Table("What", "Bar", "Measured", "Holds")
    for bar in bars.bars(record):
        table.add_row(bar.what, bar.bar, bar.measured, "yes" if bar.holds else "[red]no[/red]")
    Console().print(table)


if __name__ == "__main__":
    end_when_told()
    sys.exit(exit_code_of(main))
