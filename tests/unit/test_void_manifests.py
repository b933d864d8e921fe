"""Manifests whose object was deleted: void and given back, or failed."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import create_manifest
import update_status
from dev.simulator.telemetry import Telemetry
from dev.simulator.world import MANIFEST_BUCKET
from manifest_builder import aws, clock, manifests
from manifest_builder.files import Removal
from manifest_builder.manifests import START_SETTLE_SECONDS, VOID, ManifestRecord
from manifest_builder.planning import plan
from manifest_builder.tracking import file_rows, manifest_records, marking, pending, table, vanished
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
    manifest_state,
    track,
)

PARTITION, RECORD = f"MANIFEST#{DATE}", "batch-0001-token-1"
PATH = a_manifest().file_path
CUT = clock.to_text(NOON)
MAX = 30 * MB


@pytest.fixture
def files(account: Account) -> list[str]:
    """A committed manifest of three pending files, whose object is gone; a fourth file came after its cut."""
    paths = track(MB, MB, MB)
    commit(a_manifest(cut=CUT, file_count=3))
    account.wait(seconds=1)
    file_rows.track_file(DATE, a_file(f"in/{DATE}-later.ndjson"))
    account.wait(seconds=1)
    return paths


def update(**changes: Any) -> dict[str, Any]:
    """Runs UpdateStatus on what CreateManifest gives it."""
    event = {"run_id": "run-1", "date_prefix": DATE, "manifest": manifest_state(**changes)}
    return update_status.handler(event, None)


def mark(account: Account, *paths: str) -> None:
    rows = [row for row in pending.pending_files(DATE) if row.file_path in paths]
    assert len(marking.mark_manifested(DATE, rows, PATH, CUT, clock.now() + timedelta(hours=1)).marked) == len(paths)


def claim(run_id: str = "run-0") -> None:
    assert manifest_records.claim_start(PARTITION, RECORD, run_id, None, clock.now())


def next_step(at: Any = None) -> Any:
    return plan(DATE, MAX, date_started=False, flush_before=clock.to_text(clock.now()), at=at or clock.now())


@pytest.mark.parametrize("marked", [0, 1, 3])
def test_the_files_of_a_manifest_that_was_never_started_are_pending_again_and_the_date_goes_on(
    account: Account, files: list[str], log: Telemetry, marked: int
) -> None:
    mark(account, *files[:marked])

    assert update() == {"claimed": False, "files_marked": 0, "files_left": 0}

    record = account.record()
    assert (record["status"], record["starter"], record["error"]) == ("void", VOID, update_status.GONE)
    assert "pending_since" not in record
    assert account.statuses() == {"pending": 4}
    assert not any("manifest_path" in row for row in account.files().values())
    step = next_step()
    assert step.manifest is None
    assert {file.file_path for file in step.batch.files} == {*files, a_file(f"in/{DATE}-later.ndjson").file_path}
    assert log.metrics["ManifestsVoided"] == 1


def test_what_is_given_back_is_pending_beyond_the_cut_so_that_a_late_mark_has_no_effect(
    account: Account, files: list[str]
) -> None:
    before = list(pending.pending_files(DATE, until=CUT))
    mark(account, files[0])

    update()

    late = marking.mark_manifested(DATE, before, PATH, CUT, clock.now() + timedelta(hours=1))
    assert (late.marked, late.left) == ([], 0)
    assert account.statuses() == {"pending": 4}


def test_a_late_mark_has_no_effect_on_a_later_version_either_even_if_the_clock_of_its_box_is_behind(
    account: Account, files: list[str]
) -> None:
    before = list(pending.pending_files(DATE, until=CUT))
    update()

    account.later -= timedelta(minutes=4)
    key = files[0].removeprefix("s3://input-bucket/")
    again = a_file(key, MB, etag="another", sequencer="0055AED6DCD90281E6")
    assert file_rows.track_file(DATE, again).outcome == "tracked"
    late = marking.mark_manifested(DATE, before, PATH, CUT, clock.now() + timedelta(hours=1))

    assert late.marked == []
    assert account.statuses() == {"pending": 4}


def test_giving_back_ends_in_time_though_a_page_holds_many_rows(account: Account, files: list[str]) -> None:
    mark(account, *files)
    assert vanished.void(PARTITION, RECORD, CUT, "gone", clock.now())
    record = manifest_records.read(PARTITION, RECORD)
    assert record is not None
    account.tick = timedelta(seconds=1)

    returned, is_done = vanished.give_back(record, until=clock.now() + timedelta(seconds=2))

    assert (0 < returned < 3, is_done) == (True, False)


def test_the_cut_is_exceeded_even_if_the_machines_clock_is_behind_it(account: Account, files: list[str]) -> None:
    assert vanished.void(PARTITION, RECORD, CUT, "gone", NOON - timedelta(minutes=5))

    assert account.record()["voided_at"] == clock.microsecond_after(CUT)


def test_a_file_that_was_deleted_meanwhile_is_deleted_and_not_pending(account: Account, files: list[str]) -> None:
    mark(account, files[0])
    removal = Removal("m", "input-bucket", files[0].removeprefix("s3://input-bucket/"), None, "0055AED6DCD90281E6")
    assert file_rows.record_removal(DATE, removal).outcome == "deleted"

    update()

    row = account.files()[files[0]]
    assert (row["status"], "pending_since" in row, "manifest_path" in row) == ("deleted", False, False)
    assert account.statuses() == {"pending": 3, "deleted": 1}


def test_rows_that_expire_are_kept_again(environment: Callable[..., None], account: Account, files: list[str]) -> None:
    environment(RETENTION_DAYS="1")
    mark(account, files[0])
    assert "ttl" in account.files()[files[0]]

    update()

    assert "ttl" not in account.files()[files[0]]


def test_rows_of_other_manifests_are_left_alone(account: Account, files: list[str]) -> None:
    mark(account, files[0])
    row = account.files()[files[0]]
    account.dynamodb.put_item(
        TableName="tracking-table", Item=table.to_dynamodb(row | {"manifest_path": "s3://manifests/another"})
    )

    update()

    assert account.files()[files[0]]["manifest_path"] == "s3://manifests/another"


def test_giving_back_goes_on_where_the_time_ended_and_nothing_is_cut_before_its_end(
    account: Account, files: list[str]
) -> None:
    mark(account, *files)
    assert vanished.void(PARTITION, RECORD, CUT, "gone", clock.now())

    def one_row_a_page(params: dict[str, Any], **_: Any) -> None:
        params["Limit"] = 1

    aws.dynamodb().meta.events.register("provide-client-params.dynamodb.Query", one_row_a_page)
    rounds = 0
    while (record := manifest_records.read(PARTITION, RECORD)) and "pending_since" in account.record():
        step = next_step()
        assert (step.manifest.file_path, step.manifest.status, step.batch.files) == (PATH, "void", [])
        vanished.give_back(record, until=clock.now())
        rounds += 1

    assert rounds >= 3
    assert account.statuses() == {"pending": 4}


def test_a_void_manifest_is_resumed_until_its_files_are_given_back(account: Account, files: list[str]) -> None:
    mark(account, files[0])
    assert vanished.void(PARTITION, RECORD, CUT, "gone", clock.now())

    event = {"run_id": "run-2", "date_prefix": DATE, "flush_before": None, "batch_index": 1, "token": "token-2"}
    manifest = create_manifest.handler(event, None)
    assert (manifest["manifest_path"], manifest["run_found"]) == (PATH, False)
    answer = update_status.handler({"run_id": "run-2", "date_prefix": DATE, "manifest": manifest}, None)

    assert answer["claimed"] is False
    assert account.statuses() == {"pending": 4}
    assert "pending_since" not in account.record()


def test_voiding_and_claiming_exclude_each_other(account: Account, files: list[str]) -> None:
    claim()

    assert not vanished.void(PARTITION, RECORD, CUT, "gone", clock.now())

    assert account.record()["status"] == "open"


def test_a_void_manifest_cannot_be_claimed(account: Account, files: list[str]) -> None:
    assert vanished.void(PARTITION, RECORD, CUT, "gone", clock.now())

    for stale in (None, (VOID, account.moment())):
        assert not manifest_records.claim_start(PARTITION, RECORD, "run-2", stale, clock.now())


def test_a_manifest_whose_start_was_claimed_waits_for_an_operator(
    account: Account, files: list[str], log: Telemetry
) -> None:
    mark(account, *files)
    claim()
    attempted_at = account.record()["start_attempted_at"]
    account.wait(seconds=START_SETTLE_SECONDS)

    answer = update(marked=True, stale_starter="run-0", stale_attempted_at=attempted_at)

    assert answer["claimed"] is False
    record = account.record()
    assert (record["status"], record["error"], "pending_since" in record) == ("failed", update_status.GONE, False)
    assert account.statuses() == {"manifested": 3, "pending": 1}
    assert log.metrics["ManifestsFailed"] == 1
    assert "ManifestsVoided" not in log.metrics


def test_an_attempt_that_was_made_meanwhile_is_not_failed(account: Account, files: list[str]) -> None:
    claim()
    first = account.record()["start_attempted_at"]
    account.wait(seconds=START_SETTLE_SECONDS)
    assert manifest_records.claim_start(PARTITION, RECORD, "run-9", ("run-0", first), clock.now())

    update(marked=True, stale_starter="run-0", stale_attempted_at=first)

    assert account.record()["status"] == "open"


def test_a_reopened_manifest_without_its_object_is_failed(account: Account, files: list[str]) -> None:
    claim()
    account.dynamodb.update_item(
        TableName="tracking-table",
        Key=table.key(PARTITION, RECORD),
        UpdateExpression="REMOVE start_attempted_at SET failed_runs = :runs",
        ExpressionAttributeValues=table.to_dynamodb({":runs": ["jr_1"]}),
    )

    update(marked=True, stale_starter="run-0")

    assert account.record()["status"] == "failed"


@pytest.mark.parametrize("marked", [False, True])
def test_an_error_of_s3_that_is_no_absence_retires_nothing(account: Account, files: list[str], *, marked: bool) -> None:
    denied = aws_error("403" if marked else "AccessDenied")
    operation = "head_object" if marked else "get_object"
    with failing(aws.s3(), operation, denied), pytest.raises(type(denied)):
        update(marked=marked, stale_starter="run-0" if marked else None)

    assert account.record()["status"] == "open"


def test_an_entry_of_the_index_tells_that_its_manifest_is_void(account: Account, files: list[str]) -> None:
    assert vanished.void(PARTITION, RECORD, CUT, "gone", clock.now())

    (entry,) = manifest_records.open_manifests(DATE)
    assert entry.status == "void"


def test_a_void_manifest_comes_before_every_other(account: Account) -> None:
    def manifest(created_at: int, **changes: Any) -> ManifestRecord:
        return a_manifest(created_at=account.moment(seconds=created_at), **changes)

    older, void = manifest(0), manifest(5, status="void", starter=VOID)

    assert manifests.oldest_resumable([older, void], clock.now()) == void


def test_the_object_of_a_manifest_is_asked_for_only_before_another_start(account: Account) -> None:
    (path,) = track(MB)
    commit(a_manifest(cut=CUT))
    key = PATH.removeprefix(f"s3://{MANIFEST_BUCKET}/")
    account.s3.put_object(Bucket=MANIFEST_BUCKET, Key=key, Body=a_document(path).encode())
    calls: list[str] = []
    aws.s3().meta.events.register("before-call.s3", lambda model, **_: calls.append(model.name))

    assert update()["claimed"]
    assert calls == ["GetObject"]
    calls.clear()
    update(marked=True, stale_starter="run-1", stale_attempted_at=account.record()["start_attempted_at"])
    assert calls == ["HeadObject"]


def test_the_rows_of_a_manifest_are_found_by_its_path(account: Account, files: list[str]) -> None:
    mark(account, *files[:2])

    assert sorted(row.file_path for row in file_rows.rows_of_manifest(DATE, PATH)) == sorted(files[:2])
