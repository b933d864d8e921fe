"""Commands that write: their effects, their refusals, and the state that an interrupted command leaves."""

from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from dev.simulator.world import INPUT_BUCKET, MANIFEST_BUCKET
from manifest_builder import announcements, clock, job_runs
from manifest_builder.rows import FileRow
from manifest_builder.tracking import file_rows, locks, manifest_records
from ops import machine, redrive
from tests.ops.operator import DATE, MB, Operator

KEY = f"orders/{DATE}/large.ndjson"
FLUSHED = f"orders/{DATE}/waiting.ndjson"


@pytest.fixture
def refused(operator: Operator) -> Operator:
    """An account in which KEY is quarantined for its size."""
    operator.settings(EXPECTED_FILE_SIZE_MB="0.1")
    operator.put(KEY)
    operator.ops("backfill", "--yes")
    operator.deliver_queued()
    assert operator.statuses() == {"quarantined": 1}
    return operator


def test_a_manifest_that_failed_is_started_again_as_a_new_attempt(operator: Operator) -> None:
    record = operator.a_manifest(FLUSHED, status="failed", pending_since=None, error="no such column")
    said = operator.ops("replay", record["file_path"], "--yes", "--json")
    assert said.code == 0, said.err
    assert (said.document["replayed"], said.document["attempt"]) == (True, 2)
    operator.wait_for_executions()
    (now,) = operator.manifest_records()
    assert (now["status"], now["attempt"]) == ("started", 2)
    assert now["job_run_id"] != record["job_run_id"]
    assert operator.job_runs() == [record["file_path"]] * 2


def test_a_replay_is_of_its_date_alone_however_much_waits(operator: Operator) -> None:
    record = operator.a_manifest(FLUSHED, status="failed", pending_since=None)
    older = [f"a/2025-11-{day:02}.ndjson" for day in range(1, 22)]
    operator.deliver(operator.upload(FLUSHED.replace("waiting", "later"), MB))
    operator.deliver(*(operator.upload(key, MB) for key in older))
    operator.wait(days=2)
    for row in operator.files().values():
        if row["status"] == "pending" and row["date_prefix"] != DATE:
            operator.change(row, pending_since="2025-12-01T00:00:00.000000Z")
    assert operator.ops("replay", record["file_path"], "--yes").code == 0
    operator.wait_for_executions()
    assert operator.job_runs() == [record["file_path"]] * 2
    assert operator.statuses() == {"manifested": 1, "pending": 22}


def test_a_manifest_is_named_as_its_bucket_has_it(operator: Operator) -> None:
    said = operator.ops("replay", f"/manifests/{DATE}/x.json")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "begins with a slash, which no manifest's key does: leave it out" in said.err
    said = operator.ops("replay", f"s3://other/manifests/{DATE}/x.json")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "other is not the manifest bucket, which is manifest-bucket" in said.err


@pytest.mark.parametrize("status", ["started", "succeeded"])
def test_a_manifest_that_was_not_seen_to_fail_is_replayed_by_force_alone(operator: Operator, status: str) -> None:
    record = operator.a_manifest(FLUSHED, status=status)
    key = record["file_path"].partition("/manifests/")[2]
    said = operator.ops("replay", f"manifests/{key}", "--yes", "--json")
    assert said.code == 1
    assert "--force" in said.document["reason"]
    assert said.writes == []
    assert operator.ops("replay", f"manifests/{key}", "--yes", "--force").code == 0
    operator.wait_for_executions()
    assert operator.job_runs() == [record["file_path"]] * 2


@pytest.mark.parametrize("state", ["RUNNING", "STARTING", "WAITING", "STOPPING", "SUCCEEDED"])
def test_a_manifest_whose_run_lives_or_has_succeeded_is_replayed_by_force_alone_whatever_its_record_says(
    operator: Operator, state: str
) -> None:
    record = operator.a_manifest(FLUSHED, status="failed", error="UNKNOWN: glue-job has no such run")
    operator.end_run(record["job_run_id"], state)
    said = operator.ops("replay", record["file_path"], "--yes", "--json")
    assert (said.code, said.writes) == (1, [])
    assert "Glue says that its run" in said.document["reason"]
    assert operator.ops("replay", record["file_path"], "--yes", "--force").code == 0


@pytest.mark.parametrize("listed", [True, False])
def test_a_manifest_whose_run_glue_itself_tries_again_is_not_replayed(operator: Operator, *, listed: bool) -> None:
    record = operator.a_manifest(FLUSHED, attempt=1)
    operator.end_run(record["job_run_id"], "FAILED")
    with (
        mock.patch.object(job_runs, "glues_own_retry", return_value="jr_2" if listed else None),
        mock.patch.object(job_runs, "is_retry_due", return_value=not listed),
    ):
        said = operator.ops("replay", record["file_path"], "--yes", "--json")
    assert (said.code, said.writes) == (1, [])
    assert "Glue itself tries its run again" in said.document["reason"]


def test_a_manifest_whose_run_has_failed_unheard_is_replayed_with_all_its_retries(operator: Operator) -> None:
    record = operator.a_manifest(FLUSHED, attempt=3)
    operator.end_run(record["job_run_id"], "FAILED")
    assert operator.ops("replay", record["file_path"], "--yes").code == 0
    (record,) = operator.manifest_records()
    assert (record["attempt"], record["replayed_after"]) == (4, 3)


def test_a_replay_that_ended_before_its_sweep_is_finished_by_saying_it_again(operator: Operator) -> None:
    record = operator.a_manifest(FLUSHED, status="failed", pending_since=None)
    manifest_records.reopen(DATE, record["file_name"], run_id=record["job_run_id"])
    said = operator.ops("replay", record["file_path"], "--yes", "--json")
    assert (said.code, said.document["attempt"]) == (0, 2)
    operator.wait_for_executions()
    assert operator.job_runs() == [record["file_path"]] * 2


def test_a_manifest_whose_record_has_moved_on_is_not_replayed(operator: Operator) -> None:
    record = operator.a_manifest(FLUSHED, status="failed")
    with mock.patch.object(manifest_records, "reopen", return_value=False):
        said = operator.ops("replay", record["file_path"], "--yes")
    assert said.code == 1
    assert "has changed meanwhile" in said.out
    assert operator.started == []


def test_a_manifest_that_nobody_knows_is_not_replayed(operator: Operator) -> None:
    said = operator.ops("replay", f"manifests/{DATE}/batch-0001-x.json", "--yes")
    assert (said.code, said.writes) == (1, [])
    assert operator.ops("replay", "batch-0001-x.json", "--yes").code == 2


def delete_object(operator: Operator, uri: str) -> None:
    operator.s3.delete_object(Bucket=MANIFEST_BUCKET, Key=uri.removeprefix(f"s3://{MANIFEST_BUCKET}/"))


@pytest.fixture
def gone(operator: Operator) -> str:
    """A manifest of two files whose start was claimed, and whose object was deleted then. It has no run."""
    record = operator.a_manifest(
        FLUSHED,
        FLUSHED.replace("waiting", "second"),
        status="failed",
        error="GONE",
        pending_since=None,
        job_run_id=None,
    )
    delete_object(operator, record["file_path"])
    return str(record["file_path"])


def test_a_manifest_whose_object_is_gone_is_rebuilt_and_then_replayed(operator: Operator, gone: str) -> None:
    said = operator.ops("replay", gone, "--yes", "--json")
    assert (said.code, said.writes) == (1, [])
    assert "its object is gone; first: " in said.document["reason"]
    assert f"rebuild {gone}" in said.document["reason"]

    said = operator.ops("rebuild", gone, "--yes")
    assert said.code == 0, said.err
    assert "written with 2 of its 2 files" in said.out
    assert f"replay {gone}" in said.out.replace("\n", "")
    named = operator.manifest_objects()[gone]
    assert sorted(named) == sorted(f"s3://{INPUT_BUCKET}/{key}" for key in operator_keys(operator))

    assert operator.ops("replay", gone, "--yes").code == 0
    operator.wait_for_executions()
    (record,) = operator.manifest_records()
    assert (record["status"], record["attempt"]) == ("started", 2)


def operator_keys(operator: Operator) -> list[str]:
    return [row["file_path"].removeprefix(f"s3://{INPUT_BUCKET}/") for row in operator.files().values()]


def test_a_rebuilt_manifest_leaves_out_files_that_a_later_version_has_replaced(operator: Operator, gone: str) -> None:
    operator.put_and_tell(FLUSHED, sequencer="99")
    said = operator.ops("rebuild", gone, "--yes", "--json")
    assert (said.code, said.document["files"]) == (0, 1)
    assert "The others were replaced by later versions" in said.err
    assert operator.manifest_objects()[gone] == [f"s3://{INPUT_BUCKET}/{FLUSHED.replace('waiting', 'second')}"]


@pytest.mark.parametrize("status", ["open", "failed", "started", "succeeded"])
def test_a_manifest_that_has_its_object_is_not_rebuilt(operator: Operator, status: str) -> None:
    record = operator.a_manifest(FLUSHED, status=status)
    said = operator.ops("rebuild", record["file_path"], "--yes", "--json")
    assert (said.code, said.document["rebuilt"], said.document["reason"]) == (1, False, "its object is there")
    assert said.writes == []


@pytest.mark.parametrize("command", [["rebuild"], ["replay"], ["replay", "--force"]])
def test_a_void_manifest_is_neither_rebuilt_nor_replayed(operator: Operator, gone: str, command: list[str]) -> None:
    (record,) = operator.manifest_records()
    operator.change(record, status="void", error="GONE")
    said = operator.ops(*command, gone, "--yes", "--json")
    assert (said.code, said.writes) == (1, [])
    assert "its files were given back" in said.document["reason"]


def test_a_manifest_that_no_row_names_is_not_rebuilt(operator: Operator, gone: str) -> None:
    for row in operator.files().values():
        operator.change(row, manifest_path=None)
    said = operator.ops("rebuild", gone, "--yes", "--json")
    assert (said.code, said.writes) == (1, [])
    assert "no row names it" in said.document["reason"]


def test_a_manifest_that_nobody_knows_is_not_rebuilt(operator: Operator) -> None:
    said = operator.ops("rebuild", f"manifests/{DATE}/batch-0001-x.json", "--yes")
    assert (said.code, said.writes) == (1, [])


def test_a_file_that_the_new_settings_accept_is_released(refused: Operator) -> None:
    refused.settings(EXPECTED_FILE_SIZE_MB="10")
    said = refused.ops("release", KEY, "--yes", "--json")
    assert (said.code, said.document["released"]) == (0, True)
    refused.deliver_queued()
    assert refused.statuses() == {"pending": 1}


def test_a_released_file_without_a_date_stays_on_the_day_of_its_event(operator: Operator) -> None:
    operator.settings(EXPECTED_FILE_SIZE_MB="0.1")
    operator.put_and_tell("large.ndjson", event_time="2025-12-20T23:59:59.000Z")
    operator.settings(EXPECTED_FILE_SIZE_MB="10", SIZE_TOLERANCE_PERCENT="100")
    assert operator.ops("release", "large.ndjson", "--yes").code == 0
    operator.deliver_queued()
    (row,) = operator.files().values()
    assert (row["date_prefix"], row["status"]) == ("2025-12-20", "pending")


def test_a_file_that_the_settings_still_refuse_is_not_released(refused: Operator) -> None:
    said = refused.ops("release", KEY, "--yes")
    assert (said.code, said.writes) == (1, [])
    assert "still refuse it (Size 1.00MB out of range)" in said.out


def test_a_release_that_ends_before_its_event_is_sent_leaves_the_file_quarantined_and_is_said_again(
    refused: Operator,
) -> None:
    refused.settings(EXPECTED_FILE_SIZE_MB="10")
    with mock.patch.object(announcements, "send", side_effect=KeyboardInterrupt):
        assert refused.ops("release", KEY, "--yes").code == 130
    assert refused.statuses() == {"quarantined": 1}
    assert refused.ops("release", KEY, "--yes").code == 0
    refused.deliver_queued()
    assert refused.statuses() == {"pending": 1}


def test_what_a_release_has_left_half_done_is_found_by_a_backfill_too(refused: Operator) -> None:
    refused.settings(EXPECTED_FILE_SIZE_MB="10")
    with mock.patch.object(announcements, "send", side_effect=KeyboardInterrupt):
        refused.ops("release", KEY, "--yes")
    refused.ops("backfill", "--yes")
    refused.deliver_queued()
    assert refused.statuses() == {"pending": 1}


def test_a_file_released_twice_is_in_one_manifest(refused: Operator) -> None:
    refused.settings(EXPECTED_FILE_SIZE_MB="10")
    refused.ops("release", KEY, "--yes")
    refused.ops("release", KEY, "--yes")
    first, second = refused.queued()
    refused.deliver(first)
    refused.wait(days=2)
    refused.sweep()
    refused.deliver(second)
    assert refused.statuses() == {"manifested": 1}


def test_a_file_that_changes_under_the_release_is_left_alone(refused: Operator) -> None:
    refused.settings(EXPECTED_FILE_SIZE_MB="10")
    release = file_rows.release_version
    (row,) = refused.files().values()

    def overtaken(read: FileRow) -> bool:
        refused.change(row, status="pending")
        return release(read)

    with mock.patch.object(file_rows, "release_version", overtaken):
        said = refused.ops("release", KEY, "--yes")
    assert said.code == 1
    assert "has changed meanwhile" in said.out
    assert refused.queued() == []


def test_only_a_quarantined_file_that_is_still_there_is_released(refused: Operator) -> None:
    refused.settings(EXPECTED_FILE_SIZE_MB="10")
    refused.deliver(refused.upload(f"a/{DATE}-fine.ndjson", MB))
    assert "it is pending" in refused.ops("release", f"a/{DATE}-fine.ndjson", "--yes").out
    assert "does not know it" in refused.ops("release", f"a/{DATE}-no.ndjson", "--yes").out
    refused.s3.delete_object(Bucket=INPUT_BUCKET, Key=KEY)
    said = refused.ops("release", KEY, "--yes")
    assert (said.code, said.writes) == (1, [])
    assert "not in the bucket any more" in said.out


def test_the_version_that_was_refused_is_released_and_no_other(refused: Operator) -> None:
    refused.settings(EXPECTED_FILE_SIZE_MB="10")
    refused.put(KEY, 2 * MB)
    said = refused.ops("release", KEY, "--yes")
    assert (said.code, said.writes) == (1, [])
    assert "is not the current one" in said.out


def test_a_version_that_another_day_has_in_a_manifest_is_not_released_for_the_day_of_an_older_one(
    operator: Operator,
) -> None:
    key = "readings.ndjson"
    operator.settings(EXPECTED_FILE_SIZE_MB="0.1")
    operator.put_and_tell(key, event_time="2025-12-20T12:00:00.000Z")
    operator.settings(EXPECTED_FILE_SIZE_MB="10")
    operator.deliver(operator.upload(key, MB, event_time="2025-12-21T12:00:00.000Z", etag="of another"))
    assert sorted(row["status"] for row in operator.rows()) == ["pending", "quarantined"]
    said = operator.ops("release", key, "--yes")
    assert (said.code, said.writes) == (1, [])
    assert "is not the current one" in said.out


def test_a_date_is_flushed_now_and_no_other(operator: Operator) -> None:
    operator.deliver(operator.upload(FLUSHED, MB), operator.upload("a/2025-12-24.ndjson", MB))
    said = operator.ops("flush", DATE, "--yes", "--json")
    assert (said.document["pending_files"], said.document["pending_bytes"]) == (1, MB)
    operator.wait_for_executions()
    assert list(operator.manifest_objects().values()) == [[f"s3://{INPUT_BUCKET}/{FLUSHED}"]]
    assert operator.statuses() == {"manifested": 1, "pending": 1}


def test_a_flush_says_what_came_of_it_and_how_to_see_more(operator: Operator) -> None:
    operator.deliver(operator.upload(FLUSHED, MB))
    said = operator.ops("flush", DATE, "--yes")
    assert (said.code, said.out.splitlines()) == (
        0,
        ["flushed: 1 file", f"see: python -m ops status {DATE} --stack the-stack"],
    )
    assert operator.statuses() == {"manifested": 1}


def test_a_flush_that_does_not_wait_says_what_it_has_started(operator: Operator) -> None:
    operator.deliver(operator.upload(FLUSHED, MB))
    said = operator.ops("flush", DATE, "--yes", "--no-wait")
    assert (said.code, said.out.splitlines()[0]) == (0, f"started: {operator.started[0]}")
    assert operator.statuses() == {"pending": 1}


def test_a_flush_whose_date_is_locked_in_between_says_that_it_did_nothing(operator: Operator) -> None:
    operator.deliver(operator.upload(FLUSHED, MB))
    start = machine.start

    def too_late(*arguments: Any, **flags: Any) -> str:
        assert locks.acquire(DATE, "run-1", "token", clock.now())
        return start(*arguments, **flags)

    with mock.patch.object(machine, "start", too_late):
        said = operator.ops("flush", DATE, "--yes")
    assert said.code == 1
    assert said.out.startswith(f"not flushed: 1 of 1 file still pending; the lock of {DATE} is held by run run-1 ")
    assert operator.statuses() == {"pending": 1}


def test_ctrl_c_while_a_flush_waits_says_that_the_execution_goes_on(operator: Operator) -> None:
    operator.deliver(operator.upload(FLUSHED, MB))
    with mock.patch.object(operator, "_sleep", side_effect=KeyboardInterrupt):
        said = operator.ops("flush", DATE, "--yes")
    assert (said.code, said.out) == (130, "")
    assert said.err.endswith(f"stopped waiting; the execution goes on: {operator.started[0]}\n")


def test_a_flush_takes_files_that_came_later_by_the_clock_of_the_operator(operator: Operator) -> None:
    operator.deliver(operator.upload(FLUSHED, MB))
    (row,) = operator.files().values()
    operator.change(row, pending_since=clock.to_text(operator.now() + timedelta(minutes=5)))
    assert operator.ops("flush", DATE, "--yes").code == 0
    assert operator.statuses() == {"manifested": 1}


def test_a_date_whose_lock_is_held_is_not_flushed_before_its_lease_is_over(operator: Operator) -> None:
    operator.deliver(operator.upload(FLUSHED, MB))
    locks.acquire(DATE, "run-1", "token", clock.now())
    said = operator.ops("flush", DATE)
    assert (said.code, said.writes) == (1, [])
    assert said.out.startswith(f"not flushed: the lock of {DATE} is held by run run-1 until 2025-12-23T10:05:0")
    assert said.out.endswith("Z: try again then\n")
    document = operator.ops("flush", DATE, "--yes", "--json").document
    assert (document["execution"], document["lock"]["holder"], document["lock"]["is_over"]) == (None, "run-1", False)
    operator.wait(minutes=6)
    assert operator.ops("flush", DATE, "--yes").code == 0
    operator.wait_for_executions()
    assert operator.statuses() == {"manifested": 1}


def test_a_date_with_nothing_pending_starts_nothing(operator: Operator) -> None:
    said = operator.ops("flush", DATE)
    assert (said.code, said.out, said.writes) == (0, f"nothing of {DATE} is pending\n", [])


def test_dead_letters_go_back_to_the_queue(operator: Operator) -> None:
    for number in range(12):
        operator.sqs.send_message(QueueUrl=operator.dead_letters, MessageBody=f"body {number}")
    said = operator.ops("redrive", "--yes", "--json")
    assert (said.code, said.document["messages"]) == (0, 12)
    assert sorted(message["body"] for message in operator.queued()) == sorted(f"body {number}" for number in range(12))
    assert operator.ops("redrive").out == "the dead-letter queue is empty\n"


def test_sqs_moves_dead_letters_itself_where_it_can(operator: Operator) -> None:
    operator.sqs.send_message(QueueUrl=operator.dead_letters, MessageBody="body")
    with mock.patch.object(announcements.sqs(), "start_message_move_task") as start:
        operator.ops("redrive", "--yes")
    start.assert_called_once_with(
        SourceArn="arn:aws:sqs:us-east-1:123456789012:input-dlq",
        DestinationArn="arn:aws:sqs:us-east-1:123456789012:input",
    )
    assert operator.queued() == []


def test_a_dead_letter_is_in_the_queue_before_it_leaves_the_other(operator: Operator) -> None:
    operator.sqs.send_message(QueueUrl=operator.dead_letters, MessageBody="body")
    with mock.patch.object(announcements.sqs(), "delete_message", side_effect=KeyboardInterrupt):
        assert operator.ops("redrive", "--yes").code == 130
    assert [message["body"] for message in operator.queued()] == ["body"]


def test_a_refusal_to_move_dead_letters_is_not_taken_for_a_service_that_cannot(operator: Operator) -> None:
    operator.sqs.send_message(QueueUrl=operator.dead_letters, MessageBody="body")
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "StartMessageMoveTask")
    with mock.patch.object(announcements.sqs(), "start_message_move_task", side_effect=denied):
        said = operator.ops("redrive", "--yes")
    assert (said.code, said.err.splitlines()[-1]) == (2, "error: StartMessageMoveTask: AccessDenied: no")
    assert "SendMessage" not in said.calls
    assert redrive.UNKNOWN_CALL


@pytest.fixture
def busy(operator: Operator) -> Operator:
    """An account in which every command has something to do."""
    operator.put(f"a/{DATE}-unknown.ndjson")
    operator.settings(EXPECTED_FILE_SIZE_MB="0.1")
    operator.put_and_tell(KEY)
    operator.settings(EXPECTED_FILE_SIZE_MB="10")
    operator.sqs.send_message(QueueUrl=operator.dead_letters, MessageBody="body")
    operator.deliver(operator.upload(FLUSHED, MB))
    return operator


@pytest.mark.parametrize(
    "command",
    [["backfill"], ["flush", DATE], ["redrive"], ["release", KEY]],
    ids=lambda command: command[0],
)
def test_what_changes_something_says_so_and_asks_and_does_nothing_without_an_answer(
    busy: Operator, command: list[str]
) -> None:
    said = busy.ops(*command)
    assert said.code == 2
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert "add --yes" in said.err
    assert said.writes == []
    said = busy.ops(*command, answer="no\n")
    assert said.code == 1
    assert said.err.endswith("Go on? [y/N] nothing was done\n")
    assert said.writes == []
    said = busy.ops(*command, "--json", answer="no\n")
    assert (said.code, said.document["done"], said.document["reason"]) == (1, False, "not confirmed")
    said = busy.ops(*command, answer="y\n")
    assert said.code == 0
    assert said.writes


def test_ctrl_c_at_the_question_is_a_no(busy: Operator) -> None:
    said = busy.ops("flush", DATE, answer=KeyboardInterrupt())
    assert (said.code, said.writes) == (130, [])
    assert said.err.endswith("Go on? [y/N] \nnothing was done\n")


def test_a_replay_asks_first_too(operator: Operator) -> None:
    record = operator.a_manifest(FLUSHED, status="failed")
    assert operator.ops("replay", record["file_path"]).code == 2
    said = operator.ops("replay", record["file_path"], answer="\n")
    assert (said.code, said.writes) == (1, [])
    assert f"Starts the job for {record['file_path']} (failed) as attempt 2." in said.err
