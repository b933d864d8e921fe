"""Versions of one file in a bucket with versions: each is tracked, marked and deleted for itself."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

import record_removal
import update_status
from dev.simulator.world import INPUT_BUCKET, MANIFEST_BUCKET, TRACKING_TABLE
from manifest_builder import aws, clock
from manifest_builder.batching import PendingFile
from manifest_builder.documents import NamedFile, to_document
from manifest_builder.errors import RowContended
from manifest_builder.files import FileVersion, Removal, version_name
from manifest_builder.rows import FileRow, is_kept_apart
from manifest_builder.tracking import file_rows, manifest_records, marking, pending, table, vanished
from tests.unit.support import (
    DATE,
    MB,
    NOON,
    Account,
    a_file,
    a_manifest,
    answer_lost,
    commit,
    intercepted,
    is_current,
    manifest_state,
)

KEY = f"in/{DATE}-a.ndjson"
PATH = a_manifest().file_path
CUT = clock.to_text(NOON)


def version(number: int, **changes: Any) -> FileVersion:
    facts = {"version_id": f"v{number}", "etag": f"e{number}", "sequencer": f"{number:02}"}
    return a_file(KEY, number * MB, **facts | changes)


def track(file: FileVersion) -> str:
    return file_rows.track_file(DATE, file).outcome


def remove(version_id: str | None = None, sequencer: str = "09") -> str:
    removal = Removal("message-1", INPUT_BUCKET, KEY, version_id, sequencer)
    answer = record_removal.handler({"run_id": "r", "date_prefix": DATE, "file": removal.to_state()}, None)
    return str(answer["outcome"])


def statuses(account: Account) -> dict[str, str]:
    """The status of each version."""
    rows = [row for row in account.rows() if "version_id" in row]
    assert len({row["version_id"] for row in rows}) == len(rows), "a version has one row"
    return {row["version_id"]: row["status"] for row in rows}


def name(account: Account, *files: FileVersion, **changes: Any) -> dict[str, Any]:
    """Commit a manifest that names these versions; CreateManifest's output for it."""
    commit(a_manifest(**changes))
    document = to_document(NamedFile(file.file_path, file.version_id, file.etag, file.size_bytes) for file in files)
    key = PATH.removeprefix(f"s3://{MANIFEST_BUCKET}/")
    account.s3.put_object(Bucket=MANIFEST_BUCKET, Key=key, Body=document.encode())
    return manifest_state(cut=changes.get("cut", CUT))


def update(manifest: dict[str, Any]) -> dict[str, Any]:
    return update_status.handler({"run_id": "run-1", "date_prefix": DATE, "manifest": manifest}, None)


# Arriving


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (1, 3, 2)])
def test_every_version_is_pending_in_whatever_order_the_events_come(account: Account, order: tuple[int, ...]) -> None:
    assert [track(version(number)) for number in order] == ["tracked"] * 3
    assert [track(version(number)) for number in order] == ["duplicate"] * 3

    assert statuses(account) == {"v1": "pending", "v2": "pending", "v3": "pending"}
    assert account.row(version(3))["version_id"] == "v3", "the file's row is of its newest version"
    assert account.row(version(3))["older_versions"] == 2


def test_a_version_keeps_its_place_in_the_queue_when_a_newer_one_comes(account: Account) -> None:
    track(version(1))
    account.wait(minutes=1)
    track(version(2))

    assert [(file.version_id, file.pending_since) for file in pending.pending_files(DATE)] == [
        ("v1", account.moment(minutes=-1)),
        ("v2", account.moment()),
    ]


def test_the_row_of_a_manifested_version_still_names_its_manifest_when_a_newer_one_comes(account: Account) -> None:
    track(version(1))
    update(name(account, version(1)))
    track(version(2))

    (older,) = account.older_versions()
    assert (older["status"], older["manifest_path"], older["cut"]) == ("manifested", PATH, CUT)
    assert "older_versions" not in older
    assert track(version(1)) == "duplicate"


def test_in_a_bucket_without_versions_the_newer_object_takes_the_row(account: Account) -> None:
    track(version(1, version_id=None))
    track(version(2, version_id=None))

    assert account.older_versions() == []
    assert [file.etag for file in pending.pending_files(DATE)] == ["e2"]
    assert track(version(1, version_id=None)) == "superseded"


def test_a_version_that_was_replaced_in_an_earlier_release_is_not_read_again(account: Account) -> None:
    """The row of an earlier release was overwritten by each newer version, so nobody knows what became of the older."""
    track(version(2))
    account.dynamodb.update_item(TableName=TRACKING_TABLE, Key=_key(account), UpdateExpression="REMOVE older_versions")

    assert track(version(1)) == "superseded"
    assert track(version(3)) == "tracked"
    assert track(version(1)) == "superseded"
    assert track(version(2)) == "duplicate"
    assert statuses(account) == {"v2": "pending", "v3": "pending"}


def _key(account: Account) -> Any:
    return table.key(DATE, account.row(version(1))["file_name"])


def test_a_lost_response_of_the_write_of_two_versions_changes_nothing(account: Account) -> None:
    track(version(1))
    with answer_lost(aws.dynamodb(), "transact_write_items"), pytest.raises(Exception, match=r"timeout|timed out"):
        track(version(2))

    assert track(version(2)) == "duplicate"
    assert statuses(account) == {"v1": "pending", "v2": "pending"}


@pytest.mark.parametrize("first", [1, 3])
def test_versions_that_arrive_at_the_same_moment_are_both_kept(account: Account, first: int) -> None:
    track(version(2))

    def another_comes_first(proceed: Callable[[], Any], number: int, _: Any) -> Any:
        if number == 1:
            track(version(first))
        return proceed()

    with intercepted(aws.dynamodb(), "transact_write_items", another_comes_first):
        assert track(version(4 - first)) == "tracked"

    assert statuses(account) == {"v1": "pending", "v2": "pending", "v3": "pending"}
    assert account.row(version(3))["older_versions"] == 2


def test_a_row_that_changes_at_every_attempt_is_contended(account: Account) -> None:
    track(version(1))

    def changed(proceed: Callable[[], Any], number: int, _: Any) -> Any:
        account.dynamodb.update_item(
            TableName=TRACKING_TABLE,
            Key=_key(account),
            UpdateExpression="SET older_versions = :n",
            ExpressionAttributeValues={":n": {"N": str(number)}},
        )
        return proceed()

    with intercepted(aws.dynamodb(), "transact_write_items", changed), pytest.raises(RowContended):
        track(version(2))


def test_a_version_whose_file_has_expired_from_the_table_is_still_known(
    account: Account, environment: Callable[..., None]
) -> None:
    environment(RETENTION_DAYS="30")
    track(version(1))
    track(version(2))
    account.dynamodb.delete_item(TableName=TRACKING_TABLE, Key=_key(account))

    assert track(version(1)) == "duplicate"


def test_a_refused_older_version_is_quarantined_beside_the_newest(account: Account) -> None:
    track(version(2))
    assert file_rows.is_known(DATE, version(1)) is None
    file_rows.record_quarantine(DATE, version(1), "Size", None)

    assert statuses(account) == {"v1": "quarantined", "v2": "pending"}
    assert file_rows.is_known(DATE, version(1)) == "duplicate"


# Removal


def test_the_deletion_of_a_file_deletes_all_its_pending_versions(account: Account) -> None:
    track(version(1))
    update(name(account, version(1)))
    track(version(2))
    track(version(3))

    assert remove() == "deleted"

    assert statuses(account) == {"v1": "manifested", "v2": "deleted", "v3": "deleted"}
    assert list(pending.pending_files(DATE)) == []
    assert track(version(2)) == "duplicate"


def test_a_deletion_between_two_versions_deletes_the_older_one_even_if_it_comes_last(account: Account) -> None:
    track(version(1))
    track(version(5))
    assert remove(sequencer="03") == "superseded"
    assert track(version(2)) == "superseded"
    assert track(version(4)) == "tracked"

    assert statuses(account) == {"v1": "deleted", "v4": "pending", "v5": "pending"}


def test_an_interrupted_deletion_is_finished_by_its_redelivery(account: Account) -> None:
    track(version(1))
    track(version(2))
    with intercepted(aws.dynamodb(), "put_item", _fails_at(2)), pytest.raises(RuntimeError):
        remove()
    assert statuses(account) == {"v1": "deleted", "v2": "pending"}, "the file's row comes last"

    assert remove() == "deleted"
    assert statuses(account) == {"v1": "deleted", "v2": "deleted"}


def test_an_older_version_that_arrives_during_the_deletion_is_deleted_too(account: Account) -> None:
    track(version(2))
    track(version(3))

    def older_arrives(proceed: Callable[[], Any], number: int, arguments: Any) -> Any:
        if number == 2:
            track(version(1))
        return proceed()

    with intercepted(aws.dynamodb(), "put_item", older_arrives):
        assert remove() == "deleted"

    assert statuses(account) == {"v1": "deleted", "v2": "deleted", "v3": "deleted"}


def _fails_at(failing_call: int) -> Callable[..., Any]:
    def around(proceed: Callable[[], Any], number: int, _: Any) -> Any:
        if number == failing_call:
            raise RuntimeError("killed")
        return proceed()

    return around


def test_the_permanent_deletion_of_an_older_version_deletes_this_one_alone(account: Account) -> None:
    track(version(1))
    track(version(2))

    assert remove("v1", "03") == "deleted"
    assert remove("v1", "03") == "duplicate"
    assert statuses(account) == {"v1": "deleted", "v2": "pending"}


def test_a_deleted_older_version_that_is_restored_and_sent_again_is_pending(account: Account) -> None:
    track(version(1))
    track(version(2))
    remove()
    with is_current(version(1)):
        assert track(replace(version(1), sequencer=None)) == "tracked"
        assert track(replace(version(1), sequencer=None)) == "duplicate"

    assert statuses(account) == {"v1": "pending", "v2": "deleted"}


# Manifests


def test_a_manifest_marks_the_version_that_it_names_and_no_other(account: Account) -> None:
    track(version(1))
    track(version(2))

    assert update(name(account, version(1)))["files_marked"] == 1

    assert statuses(account) == {"v1": "manifested", "v2": "pending"}


@pytest.mark.parametrize("moment", ["before the read", "before the write"])
def test_a_newer_version_that_comes_during_the_marking_hides_nothing(account: Account, moment: str) -> None:
    track(version(1))
    manifest = name(account, version(1))
    client, method = (aws.s3(), "get_object") if moment == "before the read" else (aws.dynamodb(), "update_item")

    def newer_comes(proceed: Callable[[], Any], number: int, _: Any) -> Any:
        if number == 1:
            track(version(2))
        return proceed()

    with intercepted(client, method, newer_comes):
        assert update(manifest)["files_marked"] == 1

    assert statuses(account) == {"v1": "manifested", "v2": "pending"}
    assert "manifest_path" not in account.row(version(2))


def test_a_row_that_moved_past_the_reading_of_the_index_is_marked(account: Account) -> None:
    """A page ended between the two places of a row that moved then, so no page has shown it."""
    track(version(1))
    manifest = name(account, version(1))
    track(version(2))

    with mock.patch.object(pending, "pending_files", return_value=iter(())):
        assert update(manifest)["files_marked"] == 1

    assert statuses(account) == {"v1": "manifested", "v2": "pending"}


def test_a_newer_version_is_not_marked_even_if_a_lagging_clock_tracked_it_before_the_cut(account: Account) -> None:
    account.wait(minutes=5)
    track(version(1))
    manifest = name(account, version(1), cut=account.moment())
    account.later = timedelta(0)
    track(version(2))

    update(manifest)

    assert statuses(account) == {"v1": "manifested", "v2": "pending"}


def test_a_named_version_that_was_deleted_and_replaced_meanwhile_is_marked(account: Account) -> None:
    track(version(1))
    manifest = name(account, version(1))
    account.wait(seconds=1)
    remove(sequencer="02")
    track(version(3))

    assert update(manifest)["files_marked"] == 1

    (older,) = account.older_versions()
    assert (older["status"], older["manifest_path"]) == ("manifested", PATH)
    assert account.row(version(3))["status"] == "pending"


@pytest.mark.parametrize("marked", [True, False])
def test_the_versions_of_a_void_manifest_are_given_back_although_newer_ones_have_come(
    account: Account, marked: bool
) -> None:
    track(version(1))
    commit(a_manifest())
    if marked:
        rows = list(pending.pending_files(DATE))
        assert marking.mark_manifested(DATE, rows, PATH, CUT, clock.now() + timedelta(hours=1)).marked
    account.wait(seconds=1)
    vanished.void(f"MANIFEST#{DATE}", "batch-0001-token-1", CUT, "gone", clock.now())

    def newer_comes(proceed: Callable[[], Any], number: int, _: Any) -> Any:
        if number == 1:
            track(version(2))
        return proceed()

    record = manifest_records.read(f"MANIFEST#{DATE}", "batch-0001-token-1")
    assert record is not None
    with intercepted(aws.dynamodb(), "update_item", newer_comes):
        vanished.give_back(record, clock.now() + timedelta(hours=1))

    assert statuses(account) == {"v1": "pending", "v2": "pending"}
    (older,) = account.older_versions()
    assert older["pending_since"] == record.voided_at


# Names


def test_the_sort_keys_of_versions_fit_and_are_told_from_those_of_files() -> None:
    long = a_file("x" * 1024)
    assert len(version_name(long, "v1").encode()) == 1024
    assert version_name(long, "v1") != version_name(long, "v2")

    row = {"date_prefix": DATE, "file_path": long.file_path, "status": "pending", "created_at": CUT, "version_id": "v1"}
    assert is_kept_apart(FileRow.from_item(row | {"file_name": version_name(long, "v1")}))
    assert not is_kept_apart(FileRow.from_item(row | {"file_name": long.base_name}))


def test_the_older_versions_of_a_file_are_found_by_its_name_alone(account: Account) -> None:
    other = a_file(f"other/{DATE}-a.ndjson", version_id="v1", sequencer="01")
    for file in (version(1), version(2), version(3), other, replace(other, version_id="v2", sequencer="02")):
        track(file)

    assert {row.version_id for row in file_rows.older_versions(DATE, version(1))} == {"v1", "v2"}
    assert {row.file_path for row in file_rows.older_versions(DATE, other)} == {other.file_path}


def test_an_entry_of_the_index_tells_its_version(account: Account) -> None:
    track(version(1))

    (entry,) = pending.pending_files(DATE)

    assert entry == PendingFile(f"{DATE}-a.ndjson", version(1).file_path, MB, CUT, "v1", "e1")
