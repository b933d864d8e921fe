"""The bars that the workflow is held to, and the floor: what no design that keeps the promise could do without."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench import costs, deployment
from bench.counts import Counts, Record

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
    dollars = total_dollars(record, TYPICAL)
    yield Bar(
        "a million 3.5 MB files, all included, prod, batches of 10",
        f"at most ${MOST_DOLLARS:.2f}",
        f"${dollars:.2f}",
        dollars <= MOST_DOLLARS,
    )


def total_dollars(record: Record, run: str, environment: str = "prod") -> float:
    settings = deployment.settings(environment)
    counts = record.counts[run]
    return costs.total(
        costs.usage(counts, settings), costs.fixed(record.counts[TYPICAL], record.counts["a sweep"], settings)
    )


def floor_calls(counts: Counts) -> float:
    """Calls a file that nobody can do without."""
    return FLOOR_CALLS_PER_FILE + FLOOR_CALLS_PER_MANIFEST * counts.manifests / counts.files
