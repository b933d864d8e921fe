"""Worlds that a run has come to: from equal ones, all that follows is equal, so it is played once.

A world is written down where nothing is half done: before a function is invoked and between deliveries, when all faults
of its run have struck and no call that was given up can still land. No function runs then. What is to come depends on
the contents of the account, the clock, the queue, the answers that the execution under way has had so far (the
interpreter and the trigger know nothing else), and the place in the scenario; what the invariants say depends on the
observations besides. All of that is in the text, in the order of storage. Identifiers that are drawn at random are
numbered in the order in which the text names them: which ones were drawn means nothing.
"""

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from moto.glue.models import glue_backends
from moto.s3.models import s3_backends

from dev.faults.calls import Fault, Kind
from dev.faults.lab import Lab
from dev.faults.sweep import Outcome
from dev.paths import BUILD
from dev.simulator.world import ACCOUNT, GLUE_JOB, REGION

FILE = BUILD / "faults.sqlite"
"""The worlds of the sweep under way."""
RANDOM = re.compile(r"jr_[0-9a-f]{64}|[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")
"""A run of the job, or a UUID."""


def fingerprint(lab: Lab) -> str | None:
    """A digest of the world, the same for equal ones. None if something of it cannot be written down."""
    if lab.zombies or lab.start_job_run or lab.around:
        return None
    return hashlib.sha256(text(lab).encode()).hexdigest()


def text(lab: Lab) -> str:
    world = {
        "environment": lab.environment,
        "table": [[*key, item] for key, item in lab.items().items()],
        "objects": list(_objects()),
        "runs": [
            [run.job_run_id, run.arguments, *(of.get(run.job_run_id) for of in (lab.starts, lab.ends, lab.retries))]
            for run in glue_backends[ACCOUNT][REGION].jobs[GLUE_JOB].job_runs
        ],
        **lab.state(),
    }
    numbers: dict[str, str] = {}
    # No key is sorted: the order in which things were stored is the order in which they are read.
    return RANDOM.sub(
        lambda found: numbers.setdefault(found[0].replace("-", ""), f"random {len(numbers)}"),
        json.dumps(world, default=_plain),
    )


def _objects() -> Iterator[list[Any]]:
    for bucket in s3_backends[ACCOUNT]["aws"].buckets.values():
        for key in bucket.keys.values():
            yield [bucket.name, key.name, key.etag, key.metadata]


def _plain(value: Any) -> Any:
    if isinstance(value, set):
        return sorted(value)
    return vars(value) if hasattr(value, "__dict__") else str(value)


class Known:
    """The outcomes of the worlds of a sweep, in a file that all of its processes read and write."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with self._database() as database:
            database.execute("CREATE TABLE IF NOT EXISTS worlds (world TEXT PRIMARY KEY, outcome TEXT) WITHOUT ROWID")

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        # A connection must not be used on both sides of a fork. What a crash of this machine loses can be made again.
        database = sqlite3.connect(self._file, timeout=60, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = OFF")
            yield database
        finally:
            database.close()

    def outcome(self, world: str) -> Outcome | None:
        with self._database() as database:
            found = database.execute("SELECT outcome FROM worlds WHERE world = ?", (world,)).fetchone()
        return outcome(json.loads(found[0])) if found else None

    def add(self, worlds: Iterable[str], of: Outcome) -> None:
        """All these worlds end so."""
        written = json.dumps(asdict(of))
        with self._database() as database:
            database.execute("BEGIN IMMEDIATE")
            rows = [(world, written) for world in worlds]
            database.executemany("INSERT OR IGNORE INTO worlds VALUES (?, ?)", rows)
            database.execute("COMMIT")


def outcome(written: dict[str, Any]) -> Outcome:
    """An outcome from its JSON."""
    reached = [Fault(fault["call"], Kind(fault["kind"]), fault["lasting"]) for fault in written["reached"]]
    return Outcome(tuple(written["violations"]), written["second_runs"], tuple(reached), written["merged"])
