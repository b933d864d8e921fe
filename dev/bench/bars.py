"""The bars for the workflow, and the floor: the calls that every design which keeps the promise needs."""

from collections.abc import Iterator
from dataclasses import dataclass

from dev.bench import costs, deployment
from dev.bench.costs import Line
from dev.bench.counts import Counts, Record

DAYS = ("1,000 files", "3,000 files", "10,000 files")
TYPICAL = DAYS[-1]
"""The day that costs are taken from."""
MOST_WRITE_UNITS = 4.5
MOST_STATE_BYTES = 64 * 1024
MOST_READ_GROWTH = 0.10
MOST_DOLLARS = 6.00
# A conditional write and a status write; a manifest's object and its job's start.
FLOOR_CALLS_PER_FILE = 2
FLOOR_CALLS_PER_MANIFEST = 2
FLOOR_WRITE_UNITS = 2


@dataclass(frozen=True, slots=True)
class Bar:
    what: str
    bar: str
    measured: str
    holds: bool


def bars(record: Record) -> Iterator[Bar]:
    days = [record.counts[run].per_file() for run in DAYS]
    writes = max(day.write_units for day in days)
    yield Bar(
        "write units a file, over its life", f"at most {MOST_WRITE_UNITS}", f"{writes:.2f}", writes <= MOST_WRITE_UNITS
    )
    reads = [day.read_units for day in days]
    growth = max(reads) / min(reads) - 1
    yield Bar(
        "read units a file, from 1,000 to 10,000 files a day",
        f"within {MOST_READ_GROWTH:.0%}",
        f"{min(reads):.2f} to {max(reads):.2f}, {growth:.0%}",
        growth <= MOST_READ_GROWTH,
    )
    waiting = [counts.per_file().read_units for run, counts in record.counts.items() if run.startswith("arrivals")]
    growth = max(waiting) / min(waiting) - 1
    yield Bar(
        "read units an arriving file, from 410 to 20,000 pending",
        f"within {MOST_READ_GROWTH:.0%}",
        f"{min(waiting):.2f} to {max(waiting):.2f}, {growth:.0%}",
        growth <= MOST_READ_GROWTH,
    )
    drained = record.counts["backlog of 20,000"].per_file().read_units
    yield Bar(
        "read units a file, while a backlog of 20,000 is worked off",
        "no more than on a day",
        f"{drained:.2f}",
        drained <= max(reads),
    )
    state = max(counts.largest_state_bytes for counts in record.counts.values())
    yield Bar(
        "largest state", f"at most {MOST_STATE_BYTES // 1024} KiB", f"{state / 1024:.1f} KiB", state <= MOST_STATE_BYTES
    )
    usage, fixed = prod_bill(record)
    yield Bar(
        "a million 3.5 MB files in prod, in batches of 10, less what is fixed",
        f"at most ${MOST_DOLLARS:.2f}",
        f"${costs.dollars(usage):.2f}",
        costs.dollars(usage) <= MOST_DOLLARS,
    )
    everything = costs.total(usage, fixed)
    files_a_day = costs.dollars(fixed) * costs.MILLION / (MOST_DOLLARS - costs.dollars(usage)) / 30
    yield Bar(
        f"the same with its share of what is fixed, at {costs.data().files_per_day:,.0f} files a day",
        f"at most ${MOST_DOLLARS:.2f}",
        f"${everything:.2f}; ${MOST_DOLLARS:.2f} from {files_a_day:,.0f} files a day on",
        everything <= MOST_DOLLARS,
    )


def prod_bill(record: Record) -> tuple[list[Line], list[Line]]:
    """Lines of a million files, and of a month."""
    settings, day = deployment.settings("prod"), record.counts[TYPICAL]
    return costs.usage(day, settings), costs.fixed(day, record.counts["a sweep"], settings)


def floor_calls(counts: Counts) -> float:
    """Calls per file that every design needs."""
    return FLOOR_CALLS_PER_FILE + FLOOR_CALLS_PER_MANIFEST * counts.manifests / counts.files
