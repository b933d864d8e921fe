"""The counts of the measured work: docs/performance.csv, the source of every figure."""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from dev.paths import DOCS

CSV = DOCS / "performance.csv"
HEADER = ("run", "measure", "name", "value")
MACHINE = "machine"


@dataclass
class Counts:
    """Counts of some work. Sums, except `largest_state_bytes`."""

    files: float = 0
    calls: Counter[str] = field(default_factory=Counter)
    """AWS calls by service and operation, the state machine's own among them."""
    calls_in: Counter[str] = field(default_factory=Counter)
    """Calls as "function operation", for the functions' durations."""
    read_units: float = 0
    write_units: float = 0
    items_read: float = 0
    """Looked at by Query, Scan and GetItem, and paid for."""
    items_returned_in: Counter[str] = field(default_factory=Counter)
    bytes_read_in: Counter[str] = field(default_factory=Counter)
    """By function."""
    invocations: Counter[str] = field(default_factory=Counter)
    cpu_ns: Counter[str] = field(default_factory=Counter)
    """CPU seconds by function on this machine, without the emulator's own."""
    executions: float = 0
    transitions: Counter[str] = field(default_factory=Counter)
    """States entered, by name."""
    execution_log_events: float = 0
    execution_log_bytes: float = 0
    """At level ALL, with data."""
    largest_state_bytes: float = 0
    log_bytes: Counter[str] = field(default_factory=Counter)
    """The functions' log lines by level; METRICS for those in CloudWatch's embedded metric format."""
    log_lines: Counter[str] = field(default_factory=Counter)
    stored_bytes: float = 0
    """Growth of the table in bytes, with DynamoDB's overhead per item."""
    metrics: Counter[str] = field(default_factory=Counter)
    """How often each custom metric was written."""
    seconds: float = 0
    """In this emulator on this machine: good for a ratio, not for more."""

    def __add__(self, other: Self) -> Self:
        combined = {name: value + getattr(other, name) for name, value in self._values()}
        combined["largest_state_bytes"] = max(self.largest_state_bytes, other.largest_state_bytes)
        return type(self)(**combined)

    def scaled(self, factor: float) -> Self:
        """The same work `factor` times."""
        scaled = {name: _times(value, factor) for name, value in self._values()}
        scaled["largest_state_bytes"] = self.largest_state_bytes
        return type(self)(**scaled)

    def per_file(self) -> Self:
        return self.scaled(1 / self.files)

    @property
    def manifests(self) -> float:
        return self.calls["glue StartJobRun"]

    def rows(self) -> Iterator[tuple[str, str, float]]:
        """(measure, name, value); the name is empty if a measure is one number."""
        for measure, value in self._values():
            if isinstance(value, Counter):
                yield from ((measure, name, number) for name, number in sorted(value.items()))
            else:
                yield measure, "", value

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[str, str, float]]) -> Self:
        counts = cls()
        for measure, name, value in rows:
            if name:
                getattr(counts, measure)[name] = value
            else:
                setattr(counts, measure, value)
        return counts

    def _values(self) -> Iterator[tuple[str, Any]]:
        for known in fields(self):
            yield known.name, getattr(self, known.name)


def _times(value: Any, factor: float) -> Any:
    if isinstance(value, Counter):
        return Counter({name: number * factor for name, number in value.items()})
    return value * factor


@dataclass
class Record:
    """All that one `make bench` has measured."""

    counts: dict[str, Counts] = field(default_factory=dict)
    """By run."""
    timings: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """Timed figures, by run, measure and name."""
    machine: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path = CSV) -> None:
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER)
            writer.writerows((MACHINE, "", name, text) for name, text in self.machine.items())
            for run, counts in self.counts.items():
                writer.writerows((run, measure, name, f"{value:.10g}") for measure, name, value in counts.rows())
            for run, measures in self.timings.items():
                for measure, values in measures.items():
                    writer.writerows((run, f"timed {measure}", name, f"{value:.4g}") for name, value in values.items())

    @classmethod
    def read(cls, path: Path = CSV) -> Self:
        record = cls()
        counted: dict[str, list[tuple[str, str, float]]] = defaultdict(list)
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                run, measure, name, value = (row[column] for column in HEADER)
                if run == MACHINE:
                    record.machine[name] = value
                elif measure.startswith("timed "):
                    measures = record.timings.setdefault(run, {})
                    measures.setdefault(measure.removeprefix("timed "), {})[name] = float(value)
                else:
                    counted[run].append((measure, name, float(value)))
        record.counts = {run: Counts.from_rows(rows) for run, rows in counted.items()}
        return record
