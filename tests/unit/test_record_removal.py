"""RecordRemoval: how a deletion changes a row, with events in any order and delivered more than once."""

from typing import Any

import pytest

import record_removal
from dev.simulator.world import INPUT_BUCKET
from manifest_builder import aws
from manifest_builder.errors import RowContended
from manifest_builder.files import FileVersion, Removal
from manifest_builder.tracking import file_rows, pending
from tests.unit.support import DATE, Account, a_file, answer_lost, intercepted, is_current
from tests.unit.test_tracking_files import NEW, NEWER, OLD, OLDER, mark, outcome_of

KEY = a_file().key


def a_removal(key: str = KEY, **changes: Any) -> Removal:
    facts: dict[str, Any] = {"version_id": None, "sequencer": NEW}
    return Removal("message-2", INPUT_BUCKET, key, **(facts | changes))


def remove(removal: Removal) -> str:
    event = {"run_id": "run-1", "date_prefix": DATE, "file": removal.to_state()}
    answer = record_removal.handler(event, None)
    assert answer == {
        "message_id": "message-2",
        "file_path": removal.file_path,
        "size_bytes": 0,
        "outcome": answer["outcome"],
    }
    return str(answer["outcome"])


def manifested(account: Account, file: FileVersion) -> None:
    outcome_of(file)
    mark(account, file, account.moment())


# How a removal changes a row


def test_a_pending_file_is_deleted_and_leaves_the_index(account: Account) -> None:
    outcome_of(a_file(sequencer=OLD))
    before = account.row(a_file())
    account.wait(seconds=5)

    assert remove(a_removal()) == "deleted"

    gone = {"status": "deleted", "sequencer": NEW, "deleted_at": account.moment(), "updated_at": account.moment()}
    del before["pending_since"]
    assert account.row(a_file()) == before | gone
    assert list(pending.pending_files(DATE)) == []


def test_the_removal_of_a_manifested_file_is_only_recorded(account: Account) -> None:
    manifested(account, a_file(sequencer=OLD))
    before = account.row(a_file())

    assert remove(a_removal()) == "deleted"

    assert account.row(a_file()) == before | {"sequencer": NEW, "deleted_at": account.moment()}
    assert before["status"] == "manifested"


def test_the_removal_of_a_quarantined_file_is_only_recorded(account: Account) -> None:
    file_rows.record_quarantine(DATE, a_file(sequencer=OLD), "Size 0.00MB out of range", "s3://q/a")

    assert remove(a_removal()) == "deleted"

    row = account.row(a_file())
    assert (row["status"], row["copied_to"], row["deleted_at"]) == ("quarantined", "s3://q/a", account.moment())


def test_the_removal_of_an_unknown_file_writes_a_row_that_supersedes_an_older_creation(account: Account) -> None:
    assert remove(a_removal()) == "deleted"

    assert account.rows() == [
        {
            "date_prefix": DATE,
            "file_name": a_file().base_name,
            "file_path": a_file().file_path,
            "status": "deleted",
            "sequencer": NEW,
            "older_versions": 0,
            "removed_before": NEW,
            "created_at": account.moment(),
            "deleted_at": account.moment(),
            "updated_at": account.moment(),
        }
    ]
    assert outcome_of(a_file(sequencer=OLD)) == "superseded"
    assert outcome_of(a_file(sequencer=NEWER)) == "tracked"


@pytest.mark.parametrize(
    "removal",
    [
        a_removal(f"in/{DATE}.csv"),
        a_removal(f"in/{DATE}/"),
        a_removal("in/a.ndjson"),
        a_removal(sequencer=None),
        a_removal(version_id="null"),
    ],
    ids=["extension", "folder", "no date in the key", "no sequencer", "no version that a late event would name"],
)
def test_the_removal_of_an_unknown_file_writes_no_row_if_no_later_event_needs_it(
    account: Account, removal: Removal
) -> None:
    assert remove(removal) == "untracked"
    assert account.rows() == []


def test_a_removal_does_not_change_a_file_of_the_same_name_in_another_folder(account: Account) -> None:
    here, there = a_file("x/2025-12-23.ndjson", sequencer=OLD), a_file("y/2025-12-23.ndjson", sequencer=OLD)
    for file in (here, there):
        outcome_of(file)

    assert remove(a_removal(there.key)) == "deleted"
    assert remove(a_removal("z/2025-12-23.ndjson")) == "deleted"

    assert [row["file_path"] for row in account.rows() if row["status"] == "pending"] == [here.file_path]
    assert len(account.rows()) == 3


# Order and repetition


@pytest.mark.parametrize("state", ["pending", "manifested"])
def test_the_second_delivery_of_a_removal_changes_nothing(account: Account, state: str) -> None:
    outcome_of(a_file(sequencer=OLD))
    if state == "manifested":
        mark(account, a_file(), account.moment())
    remove(a_removal())
    before = account.rows()
    account.wait(minutes=1)

    assert remove(a_removal()) == "duplicate"
    assert account.rows() == before


def test_a_removal_that_is_older_than_the_row_changes_nothing(account: Account) -> None:
    outcome_of(a_file(sequencer=NEWER))
    before = account.rows()

    assert remove(a_removal()) == "superseded"
    assert account.rows() == before


@pytest.mark.parametrize("state", ["pending", "manifested", "quarantined"])
def test_a_late_event_of_a_creation_before_the_removal_is_superseded(account: Account, state: str) -> None:
    match state:
        case "pending":
            outcome_of(a_file(sequencer=OLDER))
        case "manifested":
            manifested(account, a_file(sequencer=OLDER))
        case "quarantined":
            file_rows.record_quarantine(DATE, a_file(sequencer=OLDER), "reason", None)
    remove(a_removal())

    assert outcome_of(a_file(sequencer=OLD, etag="other")) == "superseded"


def test_a_creation_after_the_removal_is_pending_and_no_longer_deleted(account: Account) -> None:
    outcome_of(a_file(sequencer=OLD))
    remove(a_removal())

    assert outcome_of(a_file(sequencer=NEWER)) == "tracked"

    row = account.row(a_file())
    assert row["status"] == "pending"
    assert "deleted_at" not in row


@pytest.mark.parametrize("deleted_last", [False, True])
def test_s3_is_asked_whether_a_removal_precedes_a_version_without_a_sequencer(
    account: Account, deleted_last: bool
) -> None:
    version = a_file(sequencer=None, version_id="v2")
    outcome_of(version)
    with is_current(None if deleted_last else version) as asked:
        assert remove(a_removal()) == ("deleted" if deleted_last else "superseded")
    assert asked.call_count == 1


@pytest.mark.parametrize("is_back", [False, True])
def test_a_deleted_version_that_an_operator_sends_is_pending_again_if_s3_has_it(
    account: Account, is_back: bool
) -> None:
    outcome_of(a_file(sequencer=OLD, version_id="v2"))
    remove(a_removal())
    again = a_file(sequencer=None, version_id="v2")
    with is_current(again if is_back else None):
        assert outcome_of(again) == ("tracked" if is_back else "duplicate")


@pytest.mark.parametrize(("known", "outcome"), [({"sequencer": None}, "deleted"), ({"sequencer": OLD}, "superseded")])
def test_a_removal_without_a_sequencer_deletes_only_a_row_without_a_sequencer(
    account: Account, known: dict[str, Any], outcome: str
) -> None:
    outcome_of(a_file(**known))

    assert remove(a_removal(sequencer=None)) == outcome
    assert remove(a_removal(sequencer=None)) == ("duplicate" if outcome == "deleted" else outcome)


# Permanent deletion of one version


def test_the_deletion_of_another_version_does_not_delete_the_file(account: Account) -> None:
    outcome_of(a_file(sequencer=OLD, version_id="v2"))

    assert remove(a_removal(version_id="v1")) == "deleted"
    assert outcome_of(a_file(sequencer="00", version_id="v1")) == "duplicate", "its event comes after its deletion"
    assert remove(a_removal(version_id="null")) == "superseded"
    assert account.statuses() == {"pending": 1}


@pytest.mark.parametrize(("known", "removed"), [("v1", "v1"), (None, "null")])
def test_after_the_deletion_of_the_rows_version_a_late_event_of_a_newer_version_is_tracked(
    account: Account, known: str | None, removed: str
) -> None:
    outcome_of(a_file(sequencer=OLDER, version_id=known))

    assert [remove(a_removal(version_id=removed)) for _ in range(2)] == ["deleted", "duplicate"]

    assert outcome_of(a_file(sequencer=OLDER, version_id=known)) == "duplicate"
    assert outcome_of(a_file(sequencer=OLD, version_id="v2")) == "tracked"


def test_after_the_deletion_of_an_unknown_version_another_version_is_tracked(account: Account) -> None:
    assert [remove(a_removal(version_id="v2")) for _ in range(2)] == ["deleted", "duplicate"]

    assert outcome_of(a_file(sequencer=OLD, version_id="v2")) == "duplicate"
    older = a_file(sequencer=OLDER, version_id="v1")
    with is_current(older):
        assert outcome_of(older) == "tracked"


def test_the_deletion_of_a_null_version_does_not_delete_the_next_null_version(account: Account) -> None:
    """While versioning is suspended, every version has the id "null"."""
    outcome_of(a_file(sequencer=OLDER))
    removal = a_removal(version_id="null", sequencer=OLD)
    assert remove(removal) == "deleted"
    assert outcome_of(a_file(sequencer=NEW)) == "tracked"
    assert remove(removal) == "superseded"
    assert account.statuses() == {"pending": 1}


# Races


def test_a_row_that_is_marked_during_the_write_stays_manifested(account: Account) -> None:
    outcome_of(a_file(sequencer=OLD))

    def mark_first(proceed: Any, number: int, _: Any) -> Any:
        if number == 1:
            mark(account, a_file(), account.moment())
        return proceed()

    with intercepted(aws.dynamodb(), "put_item", mark_first) as writes:
        assert remove(a_removal()) == "deleted"

    assert writes.call_count == 2
    row = account.row(a_file())
    assert (row["status"], row["deleted_at"]) == ("manifested", account.moment())
    assert "manifest_path" in row


def test_a_newer_version_that_is_tracked_during_the_write_stays_pending(account: Account) -> None:
    outcome_of(a_file(sequencer=OLD))

    def upload_first(proceed: Any, number: int, _: Any) -> Any:
        if number == 1:
            outcome_of(a_file(sequencer=NEWER))
        return proceed()

    with intercepted(aws.dynamodb(), "put_item", upload_first):
        assert remove(a_removal()) == "superseded"

    assert account.row(a_file())["sequencer"] == NEWER


def test_a_retry_after_a_lost_response_is_a_duplicate(account: Account) -> None:
    outcome_of(a_file(sequencer=OLD))
    with answer_lost(aws.dynamodb(), "put_item"), pytest.raises(Exception, match="Read timeout"):
        remove(a_removal())

    assert remove(a_removal()) == "duplicate"
    assert account.statuses() == {"deleted": 1}


def test_a_row_that_changes_during_every_write_raises_an_error(account: Account) -> None:
    outcome_of(a_file(sequencer="00"))

    def change_first(proceed: Any, number: int, arguments: Any) -> Any:
        if arguments["Item"]["status"]["S"] == "deleted":
            outcome_of(a_file(sequencer=f"00{number:02}"))
        return proceed()

    with (
        intercepted(aws.dynamodb(), "put_item", change_first),
        pytest.raises(RowContended, match="changed 5 times during the write"),
    ):
        remove(a_removal())
