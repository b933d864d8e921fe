"""The monolith does what the specification says."""

from collections.abc import Iterator

import pytest

from dev.bench import days, monolith
from dev.bench.meter import LIKE_DEPLOYED, MeteredWorld
from dev.bench.monolith import TrackedFile

MB = 1024**2


@pytest.fixture
def world() -> Iterator[MeteredWorld]:
    with MeteredWorld(environment=LIKE_DEPLOYED | {"MAX_BATCH_SIZE_GB": "0.013671875"}) as world:
        yield world


@pytest.mark.parametrize(
    ("key", "size_bytes", "reason"),
    [
        ("a.ndjson", 3 * MB, None),
        ("a.csv", 3 * MB, "Invalid extension"),
        ("a.ndjson", 20 * MB, "Size 20.00MB out of range"),
        ("a.ndjson", MB // 20, "Size 0.05MB out of range"),
    ],
)
def test_extension_and_size_are_checked(key: str, size_bytes: int, reason: str | None) -> None:
    assert monolith.reason_to_refuse(key, size_bytes) == reason


def test_the_date_is_looked_for_in_the_whole_key() -> None:
    assert monolith.date_and_name("a/2025-12-23/b.ndjson") == ("2025-12-23", "b.ndjson")


def test_batches_are_greedy_and_a_rest_below_half_is_left(world: MeteredWorld) -> None:
    files = [TrackedFile(str(number), f"s3://b/{number}", 3.5 * MB) for number in range(6)]

    assert [len(batch) for batch in monolith.create_batches(files)] == [4, 2]
    assert [len(batch) for batch in monolith.create_batches(files[:5])] == [4]
    assert [len(batch) for batch in monolith.create_batches(files[:1])] == [1]


def test_full_batches_become_manifests_and_start_jobs(world: MeteredWorld) -> None:
    with world.metering() as counts:
        world.run_alone("Monolith", monolith.handler, days.messages(0, 9, days.TYPICAL_BYTES))

    assert world.statuses() == {"manifested": 8, "pending": 1}
    assert len(world.job_runs()) == counts.manifests == 2
    assert world.locks() == []


def test_whoever_does_not_get_the_lock_builds_nothing(world: MeteredWorld) -> None:
    world.seed([days.lock_of_another_run()])
    with world.metering() as counts:
        world.run_alone("Monolith", monolith.handler, days.messages(0, 5, days.TYPICAL_BYTES))

    assert world.statuses() == {"pending": 5}
    assert counts.manifests == 0
