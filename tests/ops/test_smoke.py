"""What the acceptance test uploads, and what it costs. tests/stack/test_smoke.py runs it on a deployed stack."""

import json
import re
from collections.abc import Callable
from io import StringIO
from typing import Any
from unittest import mock

import pytest
from botocore.client import BaseClient
from rich.console import Console

from dev.simulator.world import GLUE_JOB, INPUT_BUCKET, TRACKING_TABLE
from manifest_builder import clock
from manifest_builder.settings import MB, settings
from manifest_builder.tracking import locks, table
from manifest_builder.validation import reason_to_refuse
from ops import acceptance, leftovers, smoke, wiring
from ops.acceptance import Course, StepMissing
from tests.ops.operator import Operator
from toolkit.ending import Terminated
from toolkit.errors import UsageError
from toolkit.facts import Upload
from toolkit.objects import keys_and_etags
from toolkit.steps import Steps


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


def test_a_date_that_is_no_date_of_a_test_is_not_cleaned_up(operator: Operator) -> None:
    """Also where nothing but the output of the job is left: rows can have expired."""
    said = operator.ops("smoke", "--clean-up", "2025-12-23", "--yes")

    assert said.code == 2
    assert "1900 to 1969" in said.err
    assert said.writes == []


@pytest.mark.parametrize("expired", [False, True])
def test_the_date_of_other_files_is_not_cleaned_up(operator: Operator, expired: bool) -> None:
    operator.a_manifest("a/1969-12-30.ndjson")
    if expired:
        for row in operator.files().values():
            operator.dynamodb.delete_item(TableName=TRACKING_TABLE, Key=table.key(row["date_prefix"], row["file_name"]))

    said = operator.ops("smoke", "--clean-up", "1969-12-30", "--yes")

    assert said.code == 2
    assert "has other files" in said.err
    assert said.writes == []


def test_an_object_that_s3_does_not_delete_is_an_error(operator: Operator) -> None:
    operator.put("smoke/1969-12-30/file.ndjson")
    denied = {"Errors": [{"Key": "smoke/1969-12-30/file.ndjson", "Code": "AccessDenied", "Message": "no"}]}
    make = BaseClient._make_api_call  # type: ignore[attr-defined]

    def answer(client: BaseClient, operation: str, parameters: Any) -> Any:
        return denied if operation == "DeleteObjects" else make(client, operation, parameters)

    with (
        mock.patch.object(BaseClient, "_make_api_call", answer),
        pytest.raises(UsageError, match=r"file\.ndjson cannot be deleted: AccessDenied: no"),
    ):
        leftovers.delete_files(operator.stack, "1969-12-30")


@pytest.mark.parametrize("end", [KeyboardInterrupt, Terminated, UsageError("AWS refused")])
def test_whatever_ends_the_test_what_it_has_made_is_told(operator: Operator, end: Any) -> None:
    with (
        mock.patch.object(wiring, "findings", return_value=[]),
        mock.patch.object(acceptance, "await_rows", side_effect=end),
    ):
        said = operator.ops("smoke", "--yes")

    assert said.code in (130, 143, 2)
    date = str(re.search(r"smoke --clean-up (\S+)", said.err)).partition("clean-up ")[2][:10]
    assert list(keys_and_etags(operator.s3, INPUT_BUCKET, f"smoke/{date}/")) != []


@pytest.fixture
def course(operator: Operator) -> Course:
    console = Console(file=StringIO())
    return Course(operator.stack, "1969-12-30", 0.01, Steps(console))


def test_a_failed_run_is_the_cause(operator: Operator, course: Course) -> None:
    record = operator.a_manifest("smoke/1969-12-30/file.ndjson")
    operator.end_run(record["job_run_id"], "FAILED", "no memory")

    with pytest.raises(StepMissing, match="the Glue run failed") as failed:
        acceptance.await_runs(course)

    assert [cause.cause.partition(" is ")[2] for cause in failed.value.causes] == ["FAILED: no memory"]


@pytest.mark.parametrize("step", [acceptance.await_manifests, acceptance.await_runs])
def test_a_manifest_without_a_run_is_waited_for(
    operator: Operator, course: Course, step: Callable[[Course], None]
) -> None:
    record = operator.a_manifest("smoke/1969-12-30/file.ndjson")
    operator.end_run(record["job_run_id"])
    step(course)
    operator.change(record, status="open", job_run_id=None)

    with pytest.raises(StepMissing, match="not within"):
        step(course)


def test_the_flush_waits_for_the_end_of_what_the_files_have_started(operator: Operator, course: Course) -> None:
    operator.put_and_tell("smoke/1969-12-30/file.ndjson")
    course.uploads = [Upload(row.uri, row.etag, 1, version_id=row.version_id) for row in course.rows()]
    acceptance.await_rows(course)
    locks.acquire(course.date, "run", "token", clock.now())

    with pytest.raises(StepMissing, match="TrackFile: not within"):
        acceptance.await_rows(course)


def test_the_partitions_of_the_date_are_deleted_and_no_others(operator: Operator) -> None:
    names = {"DatabaseName": "lake", "TableName": "files"}
    operator.glue.create_database(DatabaseInput={"Name": "lake"})
    keys: Any = [{"Name": name, "Type": "string"} for name in ("date", "manifest")]
    operator.glue.create_table(DatabaseName="lake", TableInput={"Name": "files", "PartitionKeys": keys})
    for values in (["1969-12-30", "a"], ["1969-12-30", "b"], ["1969-12-31", "a"]):
        operator.glue.create_partition(**names, PartitionInput={"Values": values, "StorageDescriptor": {"Columns": []}})

    leftovers.delete_partitions("1969-12-30")  # the job keeps no table
    assert len(operator.glue.get_partitions(**names)["Partitions"]) == 3
    arguments = {"--GLUE_DATABASE": "lake", "--GLUE_TABLE": "files"}
    operator.glue.delete_job(JobName=GLUE_JOB)
    operator.glue.create_job(Name=GLUE_JOB, Role="role", Command={}, DefaultArguments=arguments)

    leftovers.delete_partitions("1969-12-30")
    left = operator.glue.get_partitions(**names)["Partitions"]
    assert [partition["Values"] for partition in left] == [["1969-12-31", "a"]]
    operator.glue.delete_job(JobName=GLUE_JOB)
    leftovers.delete_partitions("1969-12-31")  # nor is there a job


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
