"""Which rows expire, and when: rows of files that need no further work."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from unittest import mock

import pytest

from dev.simulator.world import INPUT_BUCKET, TRACKING_TABLE
from manifest_builder.files import FileVersion, Removal
from manifest_builder.tracking import file_rows, retention, table
from manifest_builder.tracking.pending import pending_files
from tests.unit.support import DATE, NOON, Account, a_file
from tests.unit.test_tracking_files import NEW, NEWER, OLD, mark

IN_30_DAYS = int((NOON + timedelta(days=30)).timestamp())


@pytest.fixture(autouse=True)
def thirty_days(environment: Callable[..., None]) -> None:
    environment(RETENTION_DAYS="30")


def removed(sequencer: str = NEW) -> str:
    return file_rows.record_removal(DATE, Removal("m", INPUT_BUCKET, a_file().key, None, sequencer)).outcome


def pending(account: Account) -> None:
    file_rows.track_file(DATE, a_file(sequencer=OLD))


def manifested(account: Account) -> None:
    pending(account)
    mark(account, a_file(), account.moment())


def quarantined(account: Account) -> None:
    file_rows.record_quarantine(DATE, a_file(sequencer=OLD), "reason", None)


def deleted(account: Account) -> None:
    pending(account)
    removed()


def deleted_before_it_was_heard_of(account: Account) -> None:
    removed()


DONE = [manifested, quarantined, deleted, deleted_before_it_was_heard_of]


@pytest.mark.parametrize("done", DONE)
def test_the_row_of_a_finished_file_expires(account: Account, done: Callable[[Account], None]) -> None:
    done(account)

    assert account.row(a_file())["ttl"] == IN_30_DAYS


@pytest.mark.parametrize("done", DONE)
def test_without_a_retention_nothing_expires(
    account: Account, environment: Callable[..., None], done: Callable[[Account], None]
) -> None:
    environment(RETENTION_DAYS="0")
    done(account)

    assert "ttl" not in account.row(a_file())


def test_a_pending_file_does_not_expire(account: Account) -> None:
    pending(account)

    assert "ttl" not in account.row(a_file())


@pytest.mark.parametrize("done", DONE)
def test_the_row_of_a_file_that_is_pending_again_does_not_expire(
    account: Account, done: Callable[[Account], None]
) -> None:
    done(account)

    assert file_rows.track_file(DATE, a_file(sequencer=NEWER)).outcome == "tracked"
    assert "ttl" not in account.row(a_file())


def test_a_removal_does_not_postpone_the_expiry_of_a_manifested_file(account: Account) -> None:
    manifested(account)
    account.wait(days=10)

    assert removed() == "deleted"
    assert account.row(a_file())["ttl"] == IN_30_DAYS


def test_an_expired_row_is_valid_until_dynamodb_deletes_it(account: Account) -> None:
    manifested(account)
    account.wait(days=31)

    assert file_rows.track_file(DATE, a_file(sequencer=OLD)).outcome == "duplicate"


def test_a_file_whose_row_was_deleted_is_tracked_as_new(account: Account) -> None:
    manifested(account)
    forget(account, a_file())

    assert file_rows.track_file(DATE, a_file(sequencer=OLD)).outcome == "tracked"


def forget(account: Account, file: FileVersion) -> None:
    """Delete the row, as DynamoDB does after its ttl."""
    key = {"date_prefix": {"S": DATE}, "file_name": {"S": file.base_name}}
    account.dynamodb.delete_item(TableName=TRACKING_TABLE, Key=key)


# A sort key is free again after its row has expired


@pytest.fixture
def namesakes(account: Account) -> tuple[FileVersion, FileVersion]:
    """Two pending files of one name. The row of the first, whose sort key is the plain name, is deleted."""
    first, second = (a_file(f"{folder}/{DATE}.ndjson", sequencer=OLD) for folder in ("eu", "us"))
    for file in (first, second):
        assert file_rows.track_file(DATE, file).outcome == "tracked"
    key = {"date_prefix": {"S": DATE}, "file_name": {"S": first.base_name}}
    account.dynamodb.delete_item(TableName=TRACKING_TABLE, Key=key)
    return first, second


def test_a_file_is_found_after_its_namesake_has_expired(
    account: Account, namesakes: tuple[FileVersion, FileVersion]
) -> None:
    _, second = namesakes
    assert file_rows.is_known(DATE, second) == "duplicate"
    assert file_rows.track_file(DATE, second).outcome == "duplicate"
    assert file_rows.track_file(DATE, replace(second, sequencer=NEW)).outcome == "tracked"
    assert [file.file_path for file in pending_files(DATE)] == [second.file_path]

    removal = Removal("m", INPUT_BUCKET, second.key, None, NEWER)
    assert file_rows.record_removal(DATE, removal).outcome == "deleted"
    assert list(pending_files(DATE)) == []


def test_a_file_whose_row_was_deleted_gets_its_sort_key_again(
    account: Account, namesakes: tuple[FileVersion, FileVersion]
) -> None:
    first, second = namesakes
    assert file_rows.track_file(DATE, first).outcome == "tracked"
    assert {file.file_path for file in pending_files(DATE)} == {first.file_path, second.file_path}


@pytest.mark.parametrize("days", ["0", "365"])
def test_a_file_is_found_after_its_namesake_has_expired_under_an_earlier_setting(
    account: Account, environment: Callable[..., None], days: str
) -> None:
    quarantined(account)  # the first row that can expire
    first, second = (a_file(f"{folder}/{DATE}-b.ndjson", sequencer=OLD) for folder in ("eu", "us"))
    for file in (first, second):
        file_rows.track_file(DATE, file)
    environment(RETENTION_DAYS=days)
    key = {"date_prefix": {"S": DATE}, "file_name": {"S": first.base_name}}
    account.dynamodb.delete_item(TableName=TRACKING_TABLE, Key=key)

    assert file_rows.track_file(DATE, second).outcome == "duplicate"
    assert second.file_path in {found for _, found in file_rows.read_rows([(DATE, second)])}


def test_the_shortest_retention_is_remembered_before_the_first_row_that_it_is_of(
    account: Account, environment: Callable[..., None]
) -> None:
    assert retention.shortest_days() is None
    for days, shortest in (("30", 30), ("90", 30), ("7", 7), ("0", 7)):
        environment(RETENTION_DAYS=days)
        retention.expiry()
        retention.remember.cache_clear()
        retention.read.cache_clear()
        assert retention.shortest_days() == shortest


def test_a_process_that_lives_long_learns_of_a_retention_within_an_hour(
    account: Account, environment: Callable[..., None]
) -> None:
    environment(RETENTION_DAYS="0")
    assert retention.may_have_forgotten() is False
    item = {"date_prefix": {"S": "RETENTION"}, "file_name": {"S": "RETENTION"}, "shortest_days": {"N": "1"}}
    account.dynamodb.put_item(TableName=TRACKING_TABLE, Item=item)
    assert retention.may_have_forgotten() is False
    account.wait(hours=1)
    assert retention.may_have_forgotten() is True


def test_a_table_that_never_forgot_is_asked_once_an_hour(account: Account, environment: Callable[..., None]) -> None:
    environment(RETENTION_DAYS="0")
    with mock.patch.object(table, "get", wraps=table.get) as reads:
        for number in range(5):
            file_rows.track_file(DATE, a_file(f"{DATE}-{number}.ndjson"))
    assert reads.call_count == 1
