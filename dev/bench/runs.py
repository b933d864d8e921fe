"""The measured runs: days of both systems, small files, batches of one, a backlog, a sweep."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dev.bench import days, monolith
from dev.bench.counts import Counts
from dev.bench.meter import MeteredWorld
from manifest_builder.settings import settings

BATCH = 10
"""Messages that the event source mapping hands over at once (template.yaml)."""
PENDING_TRIED = (410, 2_000, 20_000)
"""Files that wait when another arrives: two manifests' worth, and many."""
SAMPLES = 5
"""Positions at which something is measured that would take hours as a whole."""


@dataclass(frozen=True)
class Run:
    """One measurement, made in a process of its own."""

    name: str
    measure: Callable[[], Counts]


def measured(run: Run) -> tuple[str, Counts]:
    """The task of a process of the pool."""
    return run.name, run.measure()


def day(files: int, batch: int = BATCH) -> Counts:
    """A day's files in order of arrival; the sweep takes the rest of them when it has waited for a day."""
    with MeteredWorld() as world:
        with world.metering() as counts:
            for first in range(0, files, batch):
                world.trigger(days.messages(first, min(batch, files - first), days.TYPICAL_BYTES))
            world.wait(days=1, minutes=1)
            world.sweep()
        _expect(world, {"manifested": files})
    return counts


def arrivals(pending: int, files: int = 50) -> Counts:
    """Files that arrive while `pending` others wait and another run builds."""
    with MeteredWorld() as world:
        _seed_pending(world, pending)
        world.seed([days.lock_of_another_run()])
        with world.metering() as counts:
            for first in range(pending, pending + files, BATCH):
                world.trigger(days.messages(first, BATCH, days.TYPICAL_BYTES))
        _expect(world, {"pending": pending + files})
    return counts


def backlog(pending: int) -> Counts:
    """One execution works on a backlog until its time is up. `files`: the files that it has manifested."""
    with MeteredWorld() as world:
        _seed_pending(world, pending)
        with world.metering() as counts:
            world.trigger(days.messages(pending, BATCH, days.TYPICAL_BYTES))
        counts.files = world.statuses()["manifested"]
    return counts


def sweep() -> Counts:
    """A sweep that finds a hundred files waiting, and nothing to do."""
    with MeteredWorld() as world:
        _seed_pending(world, 100)
        with world.metering() as counts:
            world.sweep()
    return counts


def monolith_day(files: int) -> Counts:
    with MeteredWorld() as world, world.metering() as counts:
        for first in range(0, files, BATCH):
            _run_monolith(world, first, BATCH)
    return counts


def monolith_sampled(files: int) -> Counts:
    """A day of the monolith by stratified sampling: its cost depends on nothing but the rows that the day has so far.

    In the middle of each stratum one batch is run that builds nothing, and one that fills a manifest.
    """
    per_manifest = settings().max_batch_bytes // days.TYPICAL_BYTES
    manifests = files / per_manifest / SAMPLES
    nearly_full = per_manifest - BATCH // 2
    total = Counts()
    for position in _middles(files):
        total += monolith_at(position, pending=0).scaled((per_manifest / BATCH - 1) * manifests)
        total += monolith_at(max(position, nearly_full), pending=nearly_full).scaled(manifests)
    return total


def monolith_at(position: int, *, pending: int) -> Counts:
    """A batch when the day has had `position` files, of which `pending` wait for their manifest."""
    with MeteredWorld() as world:
        with world.metering():
            _run_monolith(world, 0, 1)
        (row,) = world.items()
        world.seed(days.alike(dict(row) | {"status": {"S": "manifested"}}, 0, position - pending))
        world.seed(days.alike(row, position - pending, pending))
        with world.metering() as counts:
            _run_monolith(world, position, BATCH)
    return counts


def small_files_sampled() -> Counts:
    """The small files of one manifest, by stratified sampling: the cost of a check is that of reading the pending
    files."""
    per_manifest = settings().max_batch_bytes // days.SMALL_BYTES
    total = _small_files_at(per_manifest)
    for pending in _middles(per_manifest):
        total += _small_files_at(pending).scaled((per_manifest / BATCH - 1) / SAMPLES)
    return total


def _small_files_at(pending: int) -> Counts:
    with MeteredWorld() as world:
        _seed_pending(world, pending, days.SMALL_BYTES)
        with world.metering() as counts:
            world.trigger(days.messages(pending, BATCH, days.SMALL_BYTES))
    return counts


def _middles(length: int) -> list[int]:
    return [round(length * (stratum + 0.5) / SAMPLES) for stratum in range(SAMPLES)]


def _run_monolith(world: MeteredWorld, first: int, files: int) -> None:
    world.run_alone("Monolith", monolith.handler, days.messages(first, files, days.TYPICAL_BYTES))


def _seed_pending(world: MeteredWorld, number: int, size_bytes: int = days.TYPICAL_BYTES) -> None:
    """Rows that are like a row of the workflow."""
    with world.metering():
        world.trigger(days.messages(0, 1, size_bytes))
    (row,) = world.items()
    world.seed(days.alike(row, 1, number - 1))


def _expect(world: MeteredWorld, statuses: dict[str, int]) -> None:
    found = dict(world.statuses())
    assert found == statuses, f"expected {statuses}, found {found}"


def runs() -> list[Run]:
    """All of them, the longest first."""
    return [
        Run("10,000 files", partial(day, 10_000)),
        Run("small files, sampled", small_files_sampled),
        Run("3,000 files", partial(day, 3_000)),
        Run("monolith, 1,000 files", partial(monolith_day, 1_000)),
        Run("backlog of 20,000", partial(backlog, 20_000)),
        Run("monolith, 10,000 files, sampled", partial(monolith_sampled, 10_000)),
        Run("1,000 files", partial(day, 1_000)),
        Run("420 files in batches of 1", partial(day, 420, batch=1)),
        *(Run(f"arrivals with {pending:,} pending", partial(arrivals, pending)) for pending in PENDING_TRIED),
        Run("monolith, 3,000 files, sampled", partial(monolith_sampled, 3_000)),
        Run("monolith, 1,000 files, sampled", partial(monolith_sampled, 1_000)),
        Run("a sweep", sweep),
    ]
