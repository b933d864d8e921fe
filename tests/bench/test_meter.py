"""The meter, on work whose cost is calculated by hand."""

from collections.abc import Iterator

import pytest

from dev.bench import days, monolith
from dev.bench.meter import LIKE_DEPLOYED, MeteredWorld
from manifest_builder.tracking import retention

FILES = 4
# Four files of 3.5 MB fill a manifest.
FOUR_A_MANIFEST = LIKE_DEPLOYED | {"MAX_BATCH_SIZE_GB": "0.013671875"}


@pytest.fixture
def world() -> Iterator[MeteredWorld]:
    with MeteredWorld(environment=FOUR_A_MANIFEST) as world:
        retention.shortest_days()  # a process asks once an hour
        yield world


def messages(number: int, first: int = 0) -> list[dict[str, str]]:
    return days.messages(first, number, days.TYPICAL_BYTES)


def test_a_file_that_waits_costs_a_row_an_entry_and_a_check(world: MeteredWorld) -> None:
    with world.metering() as counts:
        world.trigger(messages(1))

    assert counts.calls == {"sfn StartSyncExecution": 1, "dynamodb PutItem": 1, "dynamodb Query": 2}
    assert counts.write_units == 1 + 1
    assert counts.read_units == 1 + 1  # no open manifest, one entry
    assert counts.items_read == 1
    assert (counts.files, counts.executions, counts.manifests) == (1, 1, 0)


def test_a_duplicate_costs_the_row_that_it_meets(world: MeteredWorld) -> None:
    with world.metering():
        world.trigger(messages(1))
    with world.metering() as counts:
        world.trigger(messages(1))

    assert counts.write_units == 1


def test_a_manifest_costs_its_files_twice_and_fourteen_units_of_its_own(world: MeteredWorld) -> None:
    with world.metering() as counts:
        world.trigger(messages(FILES))

    files = FILES * (2 + 2)  # row and entry appear, row changes and entry goes
    lock = 1 + 1
    commit = 2 * (1 + 1 + 1)  # a transaction: the lock is checked, the record and its entry appear
    claim = 1 + 1  # the entry repeats who starts the job
    record_of_run = 1 + 1
    assert counts.manifests == 1
    assert counts.write_units == files + lock + commit + claim + record_of_run
    assert counts.calls["s3 PutObject"] == counts.calls["s3 GetObject"] == 1


def test_what_is_not_metered_is_not_counted(world: MeteredWorld) -> None:
    with world.metering() as counts:
        pass
    world.rows()

    assert counts.calls == {}
    assert counts.read_units == 0


def test_states_payloads_and_execution_logs_are_counted(world: MeteredWorld) -> None:
    with world.metering() as counts:
        world.trigger(messages(3))

    assert counts.transitions["ValidateFile"] == counts.transitions["TrackFile"] == 3
    assert counts.transitions["ForEachFile"] == 1
    bodies = sum(len(message["body"]) for message in messages(3))
    assert bodies < counts.largest_state_bytes < 3 * bodies
    assert counts.execution_log_bytes > counts.largest_state_bytes


def test_log_lines_are_counted_by_level_and_metrics_by_name(world: MeteredWorld) -> None:
    with world.metering() as counts:
        world.trigger(messages(FILES))

    assert {"DEBUG", "INFO", "METRICS"} <= counts.log_bytes.keys()
    assert counts.log_bytes["DEBUG"] > 100 * counts.log_lines["DEBUG"]
    assert counts.metrics["FilesTracked"] == 1


def test_the_monolith_pays_for_rows_that_its_filter_drops(world: MeteredWorld) -> None:
    with world.metering():
        world.run_alone("Monolith", monolith.handler, messages(1))
    (row,) = world.items()
    world.seed(days.alike(dict(row) | {"status": {"S": "manifested"}}, 1, 99))
    with world.metering() as counts:
        world.run_alone("Monolith", monolith.handler, messages(1, first=100))

    assert counts.items_read == 101
    assert counts.items_returned_in == {"Monolith": 2}
    assert counts.read_units > 2  # 101 rows of more than 200 bytes, eventually consistent


def test_the_monoliths_rows_cost_no_index(world: MeteredWorld) -> None:
    with world.metering() as counts:
        world.run_alone("Monolith", monolith.handler, messages(1))

    assert counts.write_units == 1
