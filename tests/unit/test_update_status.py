"""UpdateStatus: which rows a committed manifest marks, and which run may start its job."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

import update_status
from dev.simulator.telemetry import Telemetry
from dev.simulator.world import INPUT_BUCKET, MANIFEST_BUCKET, TRACKING_TABLE
from manifest_builder import aws, clock
from manifest_builder.batching import PendingFile
from manifest_builder.files import Removal
from manifest_builder.manifests import START_SETTLE_SECONDS
from manifest_builder.tracking import file_rows, manifest_records, pending
from manifest_builder.tracking.marking import MARKING_THREADS, mark_manifested
from tests.unit.support import (
    DATE,
    MB,
    NOON,
    Account,
    a_document,
    a_file,
    a_manifest,
    aws_error,
    commit,
    failing,
    intercepted,
    manifest_state,
    track,
)

PARTITION, RECORD = f"MANIFEST#{DATE}", "batch-0001-token-1"
CUT = clock.to_text(NOON)
PATH = a_manifest().file_path


@pytest.fixture
def manifest(account: Account) -> Callable[..., dict[str, Any]]:
    """Commit a manifest that names these files; CreateManifest's output for it."""

    def committed(*paths: str, **changes: Any) -> dict[str, Any]:
        commit(a_manifest())
        key = PATH.removeprefix(f"s3://{MANIFEST_BUCKET}/")
        account.s3.put_object(Bucket=MANIFEST_BUCKET, Key=key, Body=a_document(*paths).encode())
        return manifest_state(**changes)

    return committed


Manifest = Callable[..., dict[str, Any]]


def update(manifest: dict[str, Any], run_id: str = "run-1") -> dict[str, Any]:
    return update_status.handler({"run_id": run_id, "date_prefix": DATE, "manifest": manifest}, None)


# Marking


def test_the_files_of_a_manifest_are_marked_and_leave_the_index(account: Account, manifest: Manifest) -> None:
    paths = track(10, 20)
    named = manifest(*paths)
    account.wait(seconds=5)

    assert update(named) == {"claimed": True, "files_marked": 2, "files_left": 0}

    row = account.files()[paths[0]]
    assert (row["status"], row["manifest_path"], row["cut"]) == ("manifested", PATH, CUT)
    assert row["updated_at"] == "2025-12-23T12:00:05.000000Z"
    assert row["created_at"] == "2025-12-23T12:00:00.000000Z"
    assert "pending_since" not in row
    assert list(pending.pending_files(DATE)) == []


def test_a_pending_file_that_is_not_named_stays_pending(account: Account, manifest: Manifest) -> None:
    first, second = track(10, 20)

    assert update(manifest(first))["files_marked"] == 1

    assert account.files()[second]["status"] == "pending"


def test_a_reupload_after_the_cut_stays_pending(account: Account, manifest: Manifest) -> None:
    (path,) = track(10)
    named = manifest(path)
    account.wait(microseconds=1)
    file_rows.track_file(DATE, a_file(f"in/{DATE}-000.ndjson", 30, sequencer="0055AED7"))

    with failing(aws.dynamodb(), "update_item") as writes:
        assert update(named)["files_marked"] == 0

    assert account.files()[path]["status"] == "pending"
    assert writes.call_count == 1, "the only write is the claim; no write tries a row after the cut"


def remove(account: Account, path: str) -> str:
    removal = Removal(
        "message-2", INPUT_BUCKET, path.removeprefix(f"s3://{INPUT_BUCKET}/"), version_id=None, sequencer="0055AED7"
    )
    return file_rows.record_removal(DATE, removal).outcome


def test_a_file_deleted_after_the_cut_is_marked_and_keeps_deleted_at(account: Account, manifest: Manifest) -> None:
    """The manifest names the deleted file, so its row has to be manifested."""
    gone, there = track(10, 20)
    named = manifest(gone, there)
    account.wait(seconds=1)
    remove(account, gone)

    assert update(named) == {"claimed": True, "files_marked": 2, "files_left": 0}

    row = account.files()[gone]
    assert (row["status"], row["manifest_path"], row["cut"]) == ("manifested", PATH, CUT)
    assert row["deleted_at"] == account.moment()


def test_a_file_deleted_during_the_marking_of_its_row_is_marked(account: Account, manifest: Manifest) -> None:
    (path,) = track(10)
    named = manifest(path)

    def remove_first(proceed: Any, number: int, _: Any) -> Any:
        if number == 1:
            assert remove(account, path) == "deleted"
        return proceed()

    with intercepted(aws.dynamodb(), "update_item", remove_first):
        assert update(named)["files_marked"] == 1

    assert account.files()[path]["status"] == "manifested"


def test_a_deleted_version_that_arrived_after_the_cut_is_not_marked(account: Account, manifest: Manifest) -> None:
    (path,) = track(10)
    named = manifest(path)
    account.wait(microseconds=1)
    file_rows.track_file(DATE, a_file(f"in/{DATE}-000.ndjson", 30, sequencer="0055AED6DD"))
    remove(account, path)

    assert update(named) == {"claimed": True, "files_marked": 0, "files_left": 0}
    assert account.files()[path]["status"] == "deleted"


def test_a_deleted_later_version_is_not_marked_even_if_a_lagging_clock_tracked_it_before_the_cut(
    account: Account, manifest: Manifest
) -> None:
    (path,) = track(10)
    named = manifest(path)
    update(named)
    account.wait(seconds=-90)
    file_rows.track_file(DATE, a_file(f"in/{DATE}-000.ndjson", 30, sequencer="0055AED6DD"))
    remove(account, path)

    assert update(named)["files_marked"] == 0
    assert account.files()[path]["status"] == "deleted"


def test_the_job_starts_even_if_no_time_is_left_to_mark_deleted_files(account: Account, manifest: Manifest) -> None:
    (path,) = track(10)
    named = manifest(path)
    remove(account, path)
    account.tick = update_status.MARKING_TIME

    assert update(named) == {"claimed": True, "files_marked": 0, "files_left": 0}
    assert account.files()[path]["status"] == "deleted"


def test_the_job_starts_even_if_rows_of_deleted_files_cannot_be_read(
    account: Account, manifest: Manifest, log: Telemetry
) -> None:
    (path,) = track(10)
    named = manifest(path)
    remove(account, path)

    def unprocessed(proceed: Any, number: int, arguments: Any) -> Any:
        account.wait(seconds=1)
        return {"Responses": {TRACKING_TABLE: []}, "UnprocessedKeys": arguments["RequestItems"]}

    with intercepted(aws.dynamodb(), "batch_get_item", unprocessed) as reads:
        answer = update(named)

    assert answer == {"claimed": True, "files_marked": 0, "files_left": 0}
    assert reads.call_count == 5
    (line,) = [line for line in log.lines if line["level"] == "WARNING"]
    assert line["files_left"] == 1


@pytest.mark.parametrize("refused", [aws_error("ThrottlingException"), None], ids=["throttled", "left for later"])
def test_throttled_and_unprocessed_reads_are_retried(
    account: Account, manifest: Manifest, refused: Exception | None
) -> None:
    (path,) = track(10)
    named = manifest(path)
    remove(account, path)

    def at_first(proceed: Any, number: int, arguments: Any) -> Any:
        if number > 1:
            return proceed()
        if refused:
            raise refused
        return {"Responses": {}, "UnprocessedKeys": arguments["RequestItems"]}

    with intercepted(aws.dynamodb(), "batch_get_item", at_first):
        assert update(named)["files_marked"] == 1


def test_deleted_files_of_one_name_in_two_folders_are_found_by_both_sort_keys(
    account: Account, manifest: Manifest
) -> None:
    files = [a_file(f"{folder}/{DATE}-part.ndjson") for folder in ("eu", "us")]
    for file in files:
        file_rows.track_file(DATE, file)
    paths = [file.file_path for file in files]
    named = manifest(*paths)
    for path in paths:
        remove(account, path)
    assert update(named) == {"claimed": True, "files_marked": 2, "files_left": 0}


def test_all_of_more_than_a_hundred_deleted_files_are_marked(account: Account, manifest: Manifest) -> None:
    paths = track(*[10] * 110)
    named = manifest(*paths)
    for path in paths:
        remove(account, path)

    assert update(named)["files_marked"] == 110


def test_no_further_read_is_made_if_all_files_were_pending(account: Account, manifest: Manifest) -> None:
    named = manifest(*track(10, 20))

    with intercepted(aws.dynamodb(), "batch_get_item", lambda proceed, *_: proceed()) as looks:
        update(named)

    assert looks.call_count == 0


def test_a_file_that_was_quarantined_meanwhile_is_not_marked(account: Account, manifest: Manifest) -> None:
    (path,) = track(10)
    file_rows.record_quarantine(DATE, a_file(f"in/{DATE}-000.ndjson", 0, sequencer="0055AED7"), "reason", None)

    assert update(manifest(path))["files_marked"] == 0

    assert account.files()[path]["status"] == "quarantined"


def test_a_file_with_the_same_key_in_another_bucket_is_not_marked(account: Account, manifest: Manifest) -> None:
    (path,) = track(10)

    assert update(manifest(path.replace("input-bucket", "other-bucket")))["files_marked"] == 0


def test_marking_again_changes_nothing(account: Account, manifest: Manifest) -> None:
    named = manifest(*track(10, 20))
    update(named)
    before = account.files()
    account.wait(seconds=10)

    assert update(named)["files_marked"] == 0
    assert account.files() == before


def test_interrupted_marking_is_finished_by_any_run(account: Account, manifest: Manifest) -> None:
    named = manifest(*track(10, 20, 30))
    error = aws_error("InternalServerError")

    with failing(aws.dynamodb(), "update_item", error), pytest.raises(Exception, match="InternalServerError"):
        update(named, "run-1")
    assert account.record().get("starter") is None, "no start is claimed before all files are marked"

    assert update(named, "run-2")["claimed"] is True
    assert account.statuses() == {"manifested": 3}


def test_a_manifest_that_is_marked_is_not_read_again(account: Account, manifest: Manifest) -> None:
    track(10)
    marked = manifest("unread", marked=True)

    with failing(aws.s3(), "get_object", *[aws_error("NoSuchKey")] * 99):
        assert update(marked) == {"claimed": True, "files_marked": 0, "files_left": 0}


def test_the_files_and_bytes_marked_are_counted(account: Account, manifest: Manifest, log: Telemetry) -> None:
    update(manifest(*track(10, 20)))

    assert log.metrics["FilesManifested"] == 2
    assert log.metrics["BytesManifested"] == 30


# The conditions on a row


def rows() -> list[PendingFile]:
    return list(pending.pending_files(DATE))


def mark(read: list[PendingFile], path: str = PATH, until: datetime = NOON + timedelta(hours=1)) -> list[PendingFile]:
    return mark_manifested(DATE, read, path, CUT, until).marked


@pytest.mark.parametrize(("ahead", "marked"), [(-1, True), (0, True), (1, False)])
def test_a_row_is_marked_up_to_the_cut_inclusive(account: Account, ahead: int, marked: bool) -> None:
    account.wait(microseconds=ahead)
    track(10)

    assert len(mark(rows())) == marked

    assert account.statuses() == {"manifested" if marked else "pending": 1}


def test_a_row_that_changes_between_the_read_and_the_write_is_not_marked(account: Account) -> None:
    (path,) = track(10)
    read = rows()
    account.wait(seconds=1)
    file_rows.track_file(DATE, a_file(f"in/{DATE}-000.ndjson", 30, sequencer="0055AED7"))

    assert mark(read) == []
    assert account.files()[path]["status"] == "pending"


def test_a_row_that_another_manifest_has_marked_is_not_marked_again(account: Account) -> None:
    track(10)
    read = rows()
    mark(read, "s3://first")

    assert mark(read, "s3://second") == []
    assert {row["manifest_path"] for row in account.files().values()} == {"s3://first"}


def test_marking_does_not_create_a_row_that_was_deleted(account: Account) -> None:
    assert mark([PendingFile("gone", "s3://b/gone", 1, CUT)]) == []
    assert account.rows() == []


def test_more_rows_than_threads_are_all_marked(account: Account) -> None:
    track(*[MB] * (MARKING_THREADS * 3 + 1))

    marked = mark(rows())

    assert len(marked) == MARKING_THREADS * 3 + 1
    assert account.statuses() == {"manifested": len(marked)}


def test_marking_is_retried_after_a_transaction_conflict(account: Account) -> None:
    track(10)

    with failing(aws.dynamodb(), "update_item", aws_error("TransactionConflictException")) as calls:
        assert len(mark(rows())) == 1

    assert calls.call_count == 2


def test_no_row_is_marked_after_the_time_limit_and_the_remaining_rows_are_counted(account: Account) -> None:
    track(10, 20, 30)
    account.tick = timedelta(seconds=1)

    marking = mark_manifested(DATE, rows(), PATH, CUT, until=account.now() + timedelta(seconds=3))

    assert (len(marking.marked), marking.left) == (1, 2)
    assert account.statuses() == {"manifested": 1, "pending": 2}


@pytest.mark.parametrize("code", ["ThrottlingException", "ProvisionedThroughputExceededException"])
def test_a_throttled_row_is_counted_as_remaining(account: Account, code: str) -> None:
    track(10, 20)

    with failing(aws.dynamodb(), "update_item", aws_error(code)):
        marking = mark_manifested(DATE, rows(), PATH, CUT, until=NOON + timedelta(hours=1))

    assert (len(marking.marked), marking.left) == (1, 1)


def test_the_start_is_claimed_only_in_the_round_that_marks_the_last_row(
    account: Account, manifest: Manifest, log: Telemetry
) -> None:
    named = manifest(*track(10, 20))

    with failing(aws.dynamodb(), "update_item", aws_error("ThrottlingException")):
        assert update(named) == {"claimed": False, "files_marked": 1, "files_left": 1}
    assert "starter" not in account.record()
    assert log.metrics["FilesManifested"] == 1

    assert update(named) == {"claimed": True, "files_marked": 1, "files_left": 0}


# Claiming the start


def claim(run_id: str, stale: tuple[str, str] | None = None) -> bool:
    return manifest_records.claim_start(PARTITION, RECORD, run_id, stale, clock.now())


@pytest.fixture
def open_manifest(account: Account) -> Account:
    commit(a_manifest())
    return account


@pytest.mark.parametrize("minutes", [-60, 60])
def test_the_moment_of_an_attempt_is_the_machines(account: Account, manifest: Manifest, minutes: int) -> None:
    named = manifest(*track(10))
    entered_at = account.moment(minutes=minutes)
    event = {"run_id": "run-1", "date_prefix": DATE, "manifest": named, "entered_at": entered_at}
    assert update_status.handler(event, None)["claimed"] is True
    assert account.record()["start_attempted_at"] == entered_at


def test_a_start_never_attempted_is_claimed(open_manifest: Account) -> None:
    assert claim("run-1") is True

    record = open_manifest.record()
    assert (record["starter"], record["start_attempted_at"]) == ("run-1", "2025-12-23T12:00:00.000000Z")
    assert record["status"] == "open"
    assert record["pending_since"] == CUT


def test_a_start_that_another_run_has_claimed_is_not_claimed(open_manifest: Account) -> None:
    claim("run-1")
    before = open_manifest.record()
    open_manifest.wait(hours=1)

    assert claim("run-2") is False
    assert open_manifest.record() == before


def test_a_run_claims_its_own_start_again_after_a_lost_response(open_manifest: Account) -> None:
    claim("run-1")
    open_manifest.wait(seconds=1)

    assert claim("run-1") is True
    assert open_manifest.record()["start_attempted_at"] == "2025-12-23T12:00:01.000000Z"


def test_the_given_stale_attempt_is_taken_over(open_manifest: Account) -> None:
    claim("run-1")
    open_manifest.wait(seconds=START_SETTLE_SECONDS)

    assert claim("run-2", ("run-1", "2025-12-23T12:00:00.000000Z")) is True
    assert open_manifest.record()["starter"] == "run-2"


@pytest.mark.parametrize(
    "stale",
    [
        ("run-0", "2025-12-23T12:00:00.000000Z"),
        ("run-1", "2025-12-23T11:59:59.999999Z"),
        ("run-1", "2025-12-23T12:00:00.000001Z"),
    ],
)
def test_any_other_attempt_than_the_given_stale_attempt_is_not_taken_over(
    open_manifest: Account, stale: tuple[str, str]
) -> None:
    claim("run-1")

    assert claim("run-2", stale) is False
    assert open_manifest.record()["starter"] == "run-1"


def test_only_one_of_two_runs_takes_over_a_stale_attempt(open_manifest: Account) -> None:
    claim("run-0")
    stale = ("run-0", "2025-12-23T12:00:00.000000Z")
    open_manifest.wait(seconds=START_SETTLE_SECONDS)

    assert [claim("run-1", stale), claim("run-2", stale)] == [True, False]


def test_a_job_that_was_started_is_not_started_again(open_manifest: Account) -> None:
    claim("run-1")
    open_manifest.dynamodb.update_item(
        TableName=TRACKING_TABLE,
        Key={"date_prefix": {"S": PARTITION}, "file_name": {"S": RECORD}},
        UpdateExpression="SET #status = :started",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":started": {"S": "started"}},
    )

    assert claim("run-1") is False
    assert claim("run-2", ("run-1", CUT)) is False


def test_a_record_that_is_not_there_is_not_claimed(account: Account) -> None:
    assert claim("run-1") is False
    assert account.rows() == []


def test_a_claim_is_retried_after_a_transaction_conflict(open_manifest: Account) -> None:
    with failing(aws.dynamodb(), "update_item", aws_error("TransactionConflictException")):
        assert claim("run-1") is True


def test_a_start_claimed_by_another_run_is_returned_and_logs_no_warning(manifest: Manifest, log: Telemetry) -> None:
    named = manifest(*track(10))
    claim("run-0")

    assert update(named) == {"claimed": False, "files_marked": 1, "files_left": 0}
    assert log.at_least("WARNING") == []


def test_the_stale_attempt_in_the_input_is_taken_over_once(account: Account, manifest: Manifest) -> None:
    stale = manifest(marked=True, stale_starter="run-0", stale_attempted_at=CUT)
    claim("run-0")

    assert update(stale, "run-2")["claimed"] is True
    assert update(stale, "run-3")["claimed"] is False


def test_everything_is_marked_before_the_start_is_claimed(account: Account, manifest: Manifest) -> None:
    named = manifest(*track(10, 20, 30))
    keys: list[str] = []

    def note(proceed: Any, number: int, arguments: Any) -> Any:
        keys.append(arguments["Key"]["date_prefix"]["S"])
        return proceed()

    with intercepted(aws.dynamodb(), "update_item", note):
        update(named)

    assert keys == [DATE, DATE, DATE, PARTITION]
