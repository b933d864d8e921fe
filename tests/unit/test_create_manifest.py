"""CreateManifest: cut a batch, write the object, commit under the lease, resume open manifests, find their runs."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

import create_manifest
from dev.simulator.telemetry import Telemetry
from dev.simulator.world import GLUE_JOB, MANIFEST_BUCKET, TRACKING_TABLE
from manifest_builder import aws, clock, job_runs, manifest_objects, planning
from manifest_builder.errors import LockLost
from manifest_builder.manifests import START_SETTLE_SECONDS, ManifestRecord
from manifest_builder.tracking import file_rows, locks, manifest_records
from tests.unit.support import (
    ANSWER_LOST,
    DATE,
    NOON,
    Account,
    a_file,
    a_manifest,
    answer_lost,
    aws_error,
    cancelled,
    commit,
    failing,
    intercepted,
    track,
)

MAX = 751_619_276
FULL = [MAX // 2, MAX - MAX // 2]


@pytest.fixture
def token(account: Account) -> str:
    """The token of the date's lock, which this run holds."""
    assert locks.acquire(DATE, "run-1", "token-1", clock.now())
    return "token-1"


def create(token: str, batch_index: int = 1, *, flush_before: str | None = None, **entered_at: str) -> dict[str, Any]:
    event = entered_at | {
        "run_id": "run-1",
        "date_prefix": DATE,
        "flush_before": flush_before,
        "batch_index": batch_index,
        "token": token,
    }
    return create_manifest.handler(event, None)


def attempt(manifest: ManifestRecord, run_id: str = "run-0") -> None:
    partition = f"MANIFEST#{manifest.date_prefix}"
    assert manifest_records.claim_start(partition, manifest.record_name, run_id, None, clock.now())


# Cutting


def test_a_full_batch_becomes_an_object_and_an_open_record(account: Account, token: str) -> None:
    paths = track(*FULL)
    account.wait(seconds=1)

    answer = create(token)

    path = f"s3://{MANIFEST_BUCKET}/manifests/2025-12-23/batch-0001-20251223T120001000000Z.json"
    assert answer == {
        "needed": True,
        "record": {"date_prefix": "MANIFEST#2025-12-23", "file_name": "batch-0001-token-1"},
        "manifest_path": path,
        "manifest_bucket": MANIFEST_BUCKET,
        "cut": "2025-12-23T12:00:00.000000Z",
        "file_count": 2,
        "file_size_bytes": MAX,
        "created_at": "2025-12-23T12:00:01.000000Z",
        "ask_since": "2025-12-23T12:00:01.000000Z",
        "marked": False,
        "stale_starter": None,
        "stale_attempted_at": None,
        "run_found": False,
        "job": {"JobRunId": None},
    }
    assert account.manifest_objects() == {path: paths}
    assert account.record() == {
        "date_prefix": "MANIFEST#2025-12-23",
        "file_name": "batch-0001-token-1",
        "file_path": path,
        "file_count": 2,
        "file_size_bytes": MAX,
        "cut": "2025-12-23T12:00:00.000000Z",
        "status": "open",
        "created_at": "2025-12-23T12:00:01.000000Z",
        "pending_since": "2025-12-23T12:00:01.000000Z",
    }


def test_the_cut_is_the_latest_arrival_among_the_files_chosen(account: Account, token: str) -> None:
    for number, size in enumerate([*FULL, 1]):
        file_rows.track_file(DATE, a_file(f"in/{number}.ndjson", size))
        account.wait(seconds=1)

    assert create(token)["cut"] == "2025-12-23T12:00:01.000000Z"


def test_the_response_has_the_same_fields_with_and_without_a_manifest(account: Account, token: str) -> None:
    nothing = create(token)

    track(*FULL)
    assert nothing["needed"] is False
    assert nothing.keys() == create(token).keys()
    assert nothing["marked"] is True
    assert account.manifest_objects().keys() == {record["file_path"] for record in account.manifest_records()}


def test_below_the_threshold_nothing_is_cut_unless_the_date_has_started_or_is_flushed(
    account: Account, token: str
) -> None:
    track(MAX - 1)

    assert create(token, batch_index=0)["needed"] is False
    assert create(token, batch_index=1)["needed"] is False
    assert create(token, batch_index=2)["needed"] is True


def test_a_flush_cuts_any_rest(account: Account, token: str) -> None:
    track(1)

    assert create(token, flush_before=account.moment())["file_count"] == 1


def test_a_round_that_only_resumes_still_numbers_its_manifest_from_one(account: Account, token: str) -> None:
    track(*FULL)

    assert create(token, batch_index=0)["record"]["file_name"] == "batch-0001-token-1"


def test_the_state_stays_small_with_many_files_in_the_manifest(account: Account, token: str) -> None:
    track(*[2_000_000] * 400)

    answer = create(token)

    assert answer["file_count"] == 375
    assert len(json.dumps(answer)) < 1000


# The object


def test_an_object_is_never_overwritten_and_a_taken_key_leads_to_a_new_key(account: Account, token: str) -> None:
    track(*FULL)
    account.tick = timedelta(microseconds=1)
    taken: list[str] = []

    def other_is_first(proceed: Any, number: int, arguments: Any) -> Any:
        if number == 1:
            taken.append(arguments["Key"])
            account.s3.put_object(Bucket=arguments["Bucket"], Key=arguments["Key"], Body=b"another's")
        return proceed()

    with intercepted(aws.s3(), "put_object", other_is_first) as calls:
        answer = create(token)

    keys = [call.kwargs["Key"] for call in calls.call_args_list]
    assert len(set(keys)) == 2
    assert account.s3.get_object(Bucket=MANIFEST_BUCKET, Key=taken[0])["Body"].read() == b"another's"
    assert answer["manifest_path"] == f"s3://{MANIFEST_BUCKET}/{keys[1]}"
    moment = clock.from_text(answer["created_at"])
    assert answer["manifest_path"].endswith(f"-{moment:%Y%m%dT%H%M%S%fZ}.json"), (
        "the time in the key is the record's created_at"
    )


@pytest.mark.parametrize("code", ["PreconditionFailed", "ConditionalRequestConflict"])
def test_a_key_that_stays_taken_is_an_error(account: Account, token: str, code: str) -> None:
    track(*FULL)

    with failing(aws.s3(), "put_object", *[aws_error(code)] * 99) as calls, pytest.raises(Exception, match=code):
        create(token)

    assert calls.call_count == manifest_objects.PUT_ATTEMPTS
    assert account.manifest_records() == []


def test_any_other_error_of_the_bucket_is_raised_at_once(account: Account, token: str) -> None:
    track(*FULL)

    with failing(aws.s3(), "put_object", aws_error("AccessDenied")) as calls, pytest.raises(Exception, match="Access"):
        create(token)

    assert calls.call_count == 1


# The commit


def test_a_run_whose_token_is_not_in_the_lock_commits_nothing_and_leaves_no_object(
    account: Account, token: str
) -> None:
    track(*FULL)

    with pytest.raises(LockLost, match=DATE):
        create("a-token-of-yesterday")

    assert account.manifest_records() == []
    assert account.manifest_objects() == {}
    assert account.statuses() == {"pending": 2}


def test_without_a_lock_nothing_is_committed(account: Account) -> None:
    track(*FULL)

    with pytest.raises(LockLost):
        create("token-1")

    assert account.manifest_records() == []


@pytest.mark.parametrize(("waited", "committed"), [(299, True), (300, True), (301, False)])
def test_after_the_lease_has_expired_nothing_is_committed(
    account: Account, token: str, waited: int, committed: bool
) -> None:
    account.wait(seconds=waited)

    if committed:
        assert manifest_records.commit(a_manifest(), token, clock.now()) == a_manifest()
    else:
        with pytest.raises(LockLost):
            manifest_records.commit(a_manifest(), token, clock.now())
    assert len(account.manifest_records()) == committed


@pytest.mark.parametrize("waited", [299, 300, 301])
def test_at_no_moment_can_one_run_commit_and_another_run_acquire_the_lock(
    account: Account, token: str, waited: int
) -> None:
    account.wait(seconds=waited)
    try:
        manifest_records.commit(a_manifest(), token, clock.now())
        may_commit = True
    except LockLost:
        may_commit = False

    assert locks.acquire(DATE, "run-2", "token-2", clock.now()) is not may_commit


def test_a_retry_after_a_lost_response_finds_its_commit_and_deletes_the_second_object(
    account: Account, token: str
) -> None:
    track(*FULL)
    with answer_lost(aws.dynamodb(), "transact_write_items"), pytest.raises(Exception, match="Read timeout"):
        create(token)
    first = account.record()

    # The retry, as if it had read the open manifests before the first commit took effect.
    account.wait(seconds=1)
    with mock.patch.object(planning, "open_manifests", return_value=[]):
        answer = create(token)

    assert answer["manifest_path"] == first["file_path"]
    assert account.record() == first
    assert account.manifest_objects().keys() == {first["file_path"]}


def test_a_retry_finds_its_commit_even_after_the_lease_has_expired(account: Account, token: str) -> None:
    manifest_records.commit(a_manifest(), token, clock.now())
    account.wait(seconds=301)

    again = manifest_records.commit(a_manifest(file_path="s3://manifest-bucket/second.json"), token, clock.now())

    assert again == a_manifest()


def test_one_token_commits_at_most_one_manifest(account: Account, token: str) -> None:
    manifest_records.commit(a_manifest("token-1"), "token-1", clock.now())
    locks.acquire(DATE, "run-1", "token-2", clock.now())

    manifest_records.commit(a_manifest("token-2"), "token-2", clock.now())
    with pytest.raises(LockLost):
        manifest_records.commit(a_manifest("token-1", record_name="batch-0002-token-1"), "token-1", clock.now())

    assert [record["file_name"] for record in account.manifest_records()] == [
        "batch-0001-token-1",
        "batch-0001-token-2",
    ]


@pytest.mark.parametrize(
    "conflict",
    [
        cancelled("TransactionConflict", "None"),
        cancelled("None", "TransactionConflict"),
        aws_error("TransactionConflictException"),
    ],
)
def test_a_commit_is_retried_after_a_transaction_conflict(account: Account, token: str, conflict: Exception) -> None:
    with failing(aws.dynamodb(), "transact_write_items", conflict, conflict) as calls:
        manifest_records.commit(a_manifest(), token, clock.now())

    assert calls.call_count == 3
    assert account.record()["status"] == "open"


def test_a_conflict_does_not_hide_that_the_lock_was_lost(account: Account) -> None:
    refusal = cancelled("ConditionalCheckFailed", "TransactionConflict")

    with failing(aws.dynamodb(), "transact_write_items", *[refusal] * 99) as calls, pytest.raises(LockLost):
        manifest_records.commit(a_manifest(), "token-1", clock.now())

    assert calls.call_count == 1


@pytest.mark.parametrize(
    "uncertain",
    [ANSWER_LOST, aws_error("InternalServerError"), *[cancelled("TransactionConflict", "None")] * 1],
)
def test_an_object_is_kept_if_its_commit_may_have_taken_effect(
    account: Account, token: str, uncertain: Exception
) -> None:
    track(*FULL)

    with failing(aws.dynamodb(), "transact_write_items", *[uncertain] * 99), pytest.raises(type(uncertain)):
        create(token)

    assert len(account.manifest_objects()) == 1


def test_a_failing_deletion_of_the_object_does_not_hide_the_lost_lock(account: Account, log: Telemetry) -> None:
    track(*FULL)

    with failing(aws.s3(), "delete_object", aws_error("AccessDenied")), pytest.raises(LockLost):
        create("lost")

    (line,) = [line for line in log.lines if line["level"] == "WARNING"]
    assert line["key"].startswith("manifests/2025-12-23/batch-0001-")


def test_a_committed_manifest_is_counted_once(account: Account, token: str, log: Telemetry) -> None:
    track(*FULL)
    create(token)
    assert log.metrics["ManifestsCreated"] == 1

    create(token)

    assert log.metrics["ManifestsCreated"] == 1, "a resumed manifest is not counted again"


# Resuming


def test_an_open_manifest_is_resumed_before_anything_is_cut(account: Account, token: str) -> None:
    track(*FULL)
    first = create(token)
    locks.acquire(DATE, "run-1", "token-2", clock.now())

    assert create("token-2", batch_index=2) == first
    assert len(account.manifest_objects()) == 1


def test_a_manifest_without_an_attempted_start_is_resumed_as_unmarked_without_a_call_of_glue(
    account: Account, token: str
) -> None:
    commit_under(account, a_manifest())

    with mock.patch.object(aws, "glue", side_effect=AssertionError):
        answer = create(token)

    assert (answer["marked"], answer["run_found"], answer["stale_attempted_at"]) == (False, False, None)


def commit_under(account: Account, manifest: ManifestRecord) -> None:
    manifest_records.commit(manifest, "token-1", clock.now())


def test_while_an_attempted_start_settles_nothing_is_resumed_and_nothing_is_cut(account: Account, token: str) -> None:
    commit_under(account, a_manifest())
    attempt(a_manifest())
    track(*FULL)
    account.wait(seconds=START_SETTLE_SECONDS - 1)
    assert create(token)["needed"] is False

    account.wait(seconds=1)
    assert create(token)["manifest_path"] == a_manifest().file_path


@pytest.mark.parametrize("minutes", [-60, 60])
def test_the_age_of_an_attempt_is_measured_by_the_clock_of_the_machine(
    account: Account, token: str, minutes: int
) -> None:
    commit_under(account, a_manifest())
    partition, attempted_at = f"MANIFEST#{DATE}", NOON + timedelta(minutes=minutes)
    assert manifest_records.claim_start(partition, a_manifest().record_name, "run-0", None, attempted_at)

    def is_resumed(seconds: int) -> bool:
        entered_at = clock.to_text(attempted_at + timedelta(seconds=seconds))
        needed: bool = create(token, entered_at=entered_at)["needed"]
        return needed

    assert not is_resumed(START_SETTLE_SECONDS - 1)
    assert is_resumed(START_SETTLE_SECONDS)


def test_a_manifest_is_committed_within_its_lease_by_the_clock_of_the_machine(account: Account) -> None:
    track(*FULL)
    entered = NOON - timedelta(hours=1)  # an hour behind the clock of the function
    assert locks.acquire(DATE, "run-1", "token-1", entered)
    within, after = (clock.to_text(entered + timedelta(seconds=seconds)) for seconds in (299, 301))

    with pytest.raises(LockLost):
        create("token-1", entered_at=after)
    assert create("token-1", entered_at=within)["needed"] is True


def test_the_simulator_lists_the_newest_runs_first_as_glue_does(account: Account) -> None:
    started = [account.glue.start_job_run(JobName=GLUE_JOB)["JobRunId"] for _ in range(3)]
    listed = [run["Id"] for run in account.glue.get_job_runs(JobName=GLUE_JOB)["JobRuns"]]
    assert listed == started[::-1]


def test_a_stale_attempt_without_a_run_is_returned_to_be_claimed(account: Account, token: str) -> None:
    commit_under(account, a_manifest())
    attempt(a_manifest(), "run-0")
    account.wait(seconds=START_SETTLE_SECONDS)

    answer = create(token)

    assert answer["needed"] is True
    assert answer["marked"] is True
    assert (answer["stale_starter"], answer["stale_attempted_at"]) == ("run-0", "2025-12-23T12:00:00.000000Z")
    assert (answer["run_found"], answer["job"]) == (False, {"JobRunId": None})


def test_a_stale_attempt_with_a_run_is_returned_with_that_run(account: Account, token: str) -> None:
    commit_under(account, a_manifest())
    attempt(a_manifest())
    other = account.glue.start_job_run(JobName=GLUE_JOB, Arguments={"--MANIFEST_PATH": "s3://another"})["JobRunId"]
    run = account.glue.start_job_run(JobName=GLUE_JOB, Arguments={"--MANIFEST_PATH": a_manifest().file_path})
    account.wait(seconds=START_SETTLE_SECONDS)

    answer = create(token)

    assert (answer["run_found"], answer["job"]) == (True, {"JobRunId": run["JobRunId"]})
    assert answer["ask_since"] == "1970-01-01T00:00:00.000000Z", "the next sweep asks for its outcome"
    assert other != run["JobRunId"]


def test_a_started_manifest_is_not_open_any_more(account: Account, token: str) -> None:
    commit_under(account, a_manifest())
    account.dynamodb.update_item(
        TableName=TRACKING_TABLE,
        Key={"date_prefix": {"S": "MANIFEST#2025-12-23"}, "file_name": {"S": "batch-0001-token-1"}},
        UpdateExpression="SET #status = :started REMOVE pending_since",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":started": {"S": "started"}},
    )

    assert create(token)["needed"] is False


def test_manifests_of_another_date_are_not_resumed(account: Account, token: str) -> None:
    commit(a_manifest(date_prefix="2025-12-24"))

    assert create(token)["needed"] is False


# Looking for the run of an attempt


class Pages:
    """Responses of GetJobRuns, newest first. A run is (id, manifest path or None, minutes before noon)."""

    def __init__(self, *pages: list[tuple[str, str | None, float]]) -> None:
        self.pages, self.read = pages, 0

    def paginate(self, JobName: str) -> Iterator[dict[str, Any]]:
        assert JobName == GLUE_JOB
        for page in self.pages:
            self.read += 1
            yield {"JobRuns": [self.run(*run) for run in page]}

    def run(self, run_id: str, path: str | None, minutes: float) -> dict[str, Any]:
        arguments = {} if path is None else {"Arguments": {"--MANIFEST_PATH": path, "--DATE_PREFIX": DATE}}
        return {"Id": run_id, "StartedOn": NOON - timedelta(minutes=minutes), **arguments}


def found_in(pages: Pages) -> str | None:
    glue = mock.Mock()
    glue.get_paginator.return_value = pages
    with (
        mock.patch.object(aws, "glue", return_value=glue),
        mock.patch.object(job_runs, "failed_runs", return_value=[]),
    ):
        return job_runs.find_job_run(a_manifest())
    raise AssertionError


OURS = a_manifest().file_path


def test_the_search_reads_pages_until_it_finds_the_run() -> None:
    pages = Pages([("1", "other", -9), ("2", None, -8)], [("3", "other", -7), ("4", OURS, -6)], [("5", "other", -5)])

    assert found_in(pages) == "4"
    assert pages.read == 2


def test_the_search_ends_five_minutes_before_the_manifests_creation() -> None:
    pages = Pages([("1", "other", 4.9)], [("2", "other", 5.1)], [("3", OURS, 6)])

    assert found_in(pages) is None
    assert pages.read == 2


def test_a_run_that_started_before_the_manifest_by_glues_clock_is_found() -> None:
    assert found_in(Pages([("1", "other", 4.9)], [("2", OURS, 4.95)])) == "2"


def test_a_run_that_started_long_before_the_manifest_was_reopened_is_not_found() -> None:
    assert found_in(Pages([("1", "other", 1), ("2", OURS, 6)])) is None


@pytest.mark.parametrize(("ended_minutes_ago", "found"), [(5.1, None), (4.9, "1"), (-0.1, "1"), (None, "1")])
def test_a_run_that_ended_long_before_the_manifest_was_reopened_is_not_found(
    ended_minutes_ago: float | None, found: str | None
) -> None:
    """Glue's clock may be five minutes behind that of the function that committed."""
    pages = Pages([("1", OURS, 1)])
    ended = None if ended_minutes_ago is None else NOON - timedelta(minutes=ended_minutes_ago)
    run = pages.run
    with mock.patch.object(pages, "run", lambda *facts: run(*facts) | {"CompletedOn": ended}):
        assert found_in(pages) == found


def test_a_job_that_never_ran_has_no_run_of_the_manifest() -> None:
    assert found_in(Pages([])) is None
    assert found_in(Pages([], [])) is None


def test_a_run_is_found_only_by_the_whole_manifest_path() -> None:
    assert found_in(Pages([("1", OURS + ".json", -1), ("2", OURS[:-1], -1)])) is None
