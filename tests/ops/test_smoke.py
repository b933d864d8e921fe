"""What the acceptance test uploads, and what it costs. tests/stack/test_smoke.py runs it on a deployed stack."""

import json
from typing import Any

import pytest

from dev.simulator.world import GLUE_JOB
from manifest_builder.settings import MB, settings
from manifest_builder.validation import reason_to_refuse
from ops import acceptance, leftovers, smoke
from tests.ops.operator import Operator
from toolkit.errors import UsageError


@pytest.mark.parametrize(("expected", "tolerance"), [("10", "99"), ("10", "0"), ("0.001", "50"), ("1", "100")])
def test_all_files_but_the_last_are_valid(operator: Operator, expected: str, tolerance: str) -> None:
    operator.settings(EXPECTED_FILE_SIZE_MB=expected, SIZE_TOLERANCE_PERCENT=tolerance)

    *valid, refused = acceptance.sample("1950-01-01")

    assert len(valid) == acceptance.VALID_FILES
    assert [reason_to_refuse(key, size_bytes) for key, size_bytes in valid] == [None] * len(valid)
    assert reason_to_refuse(*refused)
    assert {key.rpartition("/")[0] for key, _ in [*valid, refused]} == {"smoke/1950-01-01"}


def test_files_that_are_too_large_for_a_test_are_refused(operator: Operator) -> None:
    operator.settings(EXPECTED_FILE_SIZE_MB="1000", SIZE_TOLERANCE_PERCENT="10")

    with pytest.raises(UsageError, match="too much for a test"):
        acceptance.sample("1950-01-01")
    assert settings().min_file_bytes == 900 * MB


@pytest.mark.parametrize("size_bytes", [0, 1, 99, 100, 101, 12_345])
def test_the_content_has_its_size_and_no_field(size_bytes: int) -> None:
    text = acceptance.content(size_bytes)

    assert len(text) == size_bytes
    assert all(json.loads(line) == {} for line in text.splitlines() if line.strip())
    assert (size_bytes >= 100) == (b"{}" in text)


def test_a_day_with_files_is_not_taken(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.put_and_tell("a/1969-12-30.ndjson")
    monkeypatch.setattr(acceptance, "FIRST_DAY", acceptance.LAST_DAY.replace(day=30))

    assert {acceptance.unused_date() for _ in range(5)} == {"1969-12-31"}
    operator.put_and_tell("a/1969-12-31.ndjson")
    with pytest.raises(UsageError, match="no day"):
        acceptance.unused_date()


def test_the_date_of_other_files_is_not_cleaned_up(operator: Operator) -> None:
    operator.put_and_tell("a/1969-12-30.ndjson")

    said = operator.ops("smoke", "--clean-up", "1969-12-30", "--yes")

    assert said.code == 2
    assert "has other files" in said.err
    assert said.writes == []


def test_the_partitions_of_the_date_are_deleted_and_no_others(operator: Operator) -> None:
    names = {"DatabaseName": "lake", "TableName": "files"}
    operator.glue.create_database(DatabaseInput={"Name": "lake"})
    keys: Any = [{"Name": name, "Type": "string"} for name in ("date", "manifest")]
    operator.glue.create_table(DatabaseName="lake", TableInput={"Name": "files", "PartitionKeys": keys})
    for values in (["1969-12-30", "a"], ["1969-12-30", "b"], ["1969-12-31", "a"]):
        operator.glue.create_partition(**names, PartitionInput={"Values": values, "StorageDescriptor": {"Columns": []}})

    assert leftovers.delete_partitions("1969-12-30") == 0  # the job keeps no table
    arguments = {"--GLUE_DATABASE": "lake", "--GLUE_TABLE": "files"}
    operator.glue.delete_job(JobName=GLUE_JOB)
    operator.glue.create_job(Name=GLUE_JOB, Role="role", Command={}, DefaultArguments=arguments)

    assert leftovers.delete_partitions("1969-12-30") == 2
    left = operator.glue.get_partitions(**names)["Partitions"]
    assert [partition["Values"] for partition in left] == [["1969-12-31", "a"]]
    operator.glue.delete_job(JobName=GLUE_JOB)
    assert leftovers.delete_partitions("1969-12-31") == 0


@pytest.mark.parametrize(
    ("run", "dollars"),
    [
        ({"ExecutionTime": 3}, 2 / 60 * 0.44),
        ({"ExecutionTime": 90, "WorkerType": "G.2X", "NumberOfWorkers": 3}, 6 * 90 / 3600 * 0.44),
        ({"ExecutionTime": 90, "ExecutionClass": "FLEX"}, 2 * 90 / 3600 * 0.29),
        ({}, 2 / 60 * 0.44),
    ],
)
def test_a_run_is_paid_by_the_second_and_for_a_minute_at_least(run: Any, dollars: float) -> None:
    assert smoke.dollars([run]) == pytest.approx(dollars)


@pytest.mark.parametrize("text", ["0", "-1", "x", "nan", "4000"])
def test_patience_is_a_number_of_seconds(operator: Operator, text: str) -> None:
    said = operator.ops("smoke", f"--patience={text}")

    assert said.code == 2
    assert "is not a number of seconds up to 3600" in said.err
