"""TrackFile and the rows of files: identity, redelivery, newer and older versions, concurrent changes of a row."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest

import track_file
from dev.simulator.world import TRACKING_TABLE
from manifest_builder import aws, files, versions
from manifest_builder.errors import RowContended
from manifest_builder.files import FileVersion, disambiguated_name
from manifest_builder.tracking import file_rows, marking, pending, table
from tests.unit.support import (
    DATE,
    MB,
    NOON,
    Account,
    a_file,
    a_row,
    answer_lost,
    aws_error,
    failing,
    intercepted,
    is_current,
)

OLDER, OLD, NEW, NEWER = "0055AED6D0", "0055AED6DC", "0055AED6DD", "0055AED7"


def outcome_of(file: FileVersion) -> str:
    return file_rows.track_file(DATE, file).outcome


def mark(account: Account, file: FileVersion, cut: str) -> None:
    """Mark the file as UpdateStatus does for a committed manifest."""
    rows = [row for row in pending.pending_files(DATE) if row.file_path == file.file_path]
    until = NOON + timedelta(days=365)
    assert marking.mark_manifested(DATE, rows, "s3://manifest-bucket/m.json", cut, until).marked == rows


# What is stored


def test_a_valid_file_becomes_pending_with_the_attributes_of_the_specification(account: Account) -> None:
    file = a_file("folder1/2025-12-23-file001.ndjson", 3_670_016, version_id="v1")

    answer = track_file.handler({"run_id": "run-1", "date_prefix": DATE, "file": file.to_state()}, None)

    assert answer == {
        "message_id": "message-1",
        "file_path": "s3://input-bucket/folder1/2025-12-23-file001.ndjson",
        "size_bytes": 3_670_016,
        "outcome": "tracked",
    }
    assert account.rows() == [
        {
            "date_prefix": "2025-12-23",
            "file_name": "2025-12-23-file001.ndjson",
            "file_path": "s3://input-bucket/folder1/2025-12-23-file001.ndjson",
            "file_size_mb": Decimal("3.5"),
            "file_size_bytes": 3_670_016,
            "status": "pending",
            "created_at": "2025-12-23T12:00:00.000000Z",
            "pending_since": "2025-12-23T12:00:00.000000Z",
            "etag": "d41d8cd98f00b204e9800998ecf8427e",
            "version_id": "v1",
            "sequencer": "0055AED6DCD90281E5",
            "older_versions": 0,
        }
    ]


def test_the_size_in_mb_is_rounded_to_six_places(account: Account) -> None:
    file_rows.track_file(DATE, a_file(size_bytes=104_858))

    assert account.row(a_file())["file_size_mb"] == Decimal("0.1")
    file_rows.track_file(DATE, a_file("b", size_bytes=MB + 1))
    assert account.row(a_file("b"))["file_size_mb"] == Decimal("1.000001")


# Identity


def test_the_same_basename_in_two_folders_is_two_files(account: Account) -> None:
    first, second = a_file("x/a.ndjson"), a_file("y/a.ndjson")

    assert [outcome_of(first), outcome_of(second)] == ["tracked", "tracked"]

    assert account.row(first)["file_name"] == "a.ndjson"
    assert account.row(second)["file_name"] == disambiguated_name(second)
    assert [outcome_of(first), outcome_of(second)] == ["duplicate", "duplicate"]
    assert len(account.rows()) == 2


def test_the_same_key_in_two_buckets_is_two_files(account: Account) -> None:
    assert outcome_of(a_file()) == "tracked"
    assert outcome_of(a_file(bucket="other-bucket")) == "tracked"
    assert len(account.rows()) == 2


def test_one_file_name_on_two_dates_is_two_rows(account: Account) -> None:
    assert file_rows.track_file("2025-12-23", a_file("data/a.ndjson")).outcome == "tracked"
    assert file_rows.track_file("2025-12-24", a_file("data/a.ndjson")).outcome == "tracked"


@pytest.mark.parametrize("character", ["a", "é", "東", "🦆"])
def test_the_longest_base_names_fit_the_sort_key_in_one_folder_and_in_two(account: Account, character: str) -> None:
    long = character * ((1024 - 2) // len(character.encode()))
    first, second = a_file(f"x/{long}"), a_file(f"y/{long}")

    assert [outcome_of(file) for file in (first, second, first, second)] == [
        "tracked", "tracked", "duplicate", "duplicate",
    ]  # fmt: skip
    assert max(len(row["file_name"].encode()) for row in account.rows()) <= 1024


def test_long_base_names_that_are_equal_after_cutting_stay_separate_files(account: Account) -> None:
    files = [a_file(f"{folder}/{'a' * 1020}{end}") for folder in "xy" for end in "12"]

    assert [outcome_of(file) for file in files] == ["tracked"] * 4
    assert len(account.files()) == 4


def test_a_file_whose_key_ends_in_a_slash_has_a_sort_key(account: Account) -> None:
    file = a_file("x/2025-12-23/", size_bytes=10)

    assert [outcome_of(file), outcome_of(file)] == ["tracked", "duplicate"]
    assert account.row(file)["file_name"] == disambiguated_name(file)


def test_a_file_is_tracked_although_another_file_has_the_name_of_its_second_sort_key(account: Account) -> None:
    file = a_file("y/a.ndjson")
    for taken in ("a.ndjson", disambiguated_name(file)):
        outcome_of(a_file(f"x/{taken}"))

    assert outcome_of(file) == "tracked"
    assert len(account.files()) == 3


def test_a_file_whose_two_sort_keys_belong_to_other_files_raises_an_error(account: Account) -> None:
    with mock.patch.object(files, "disambiguated_name", return_value="the same hash"):
        for key in ("x/a.ndjson", "y/a.ndjson"):
            outcome_of(a_file(key))

        with pytest.raises(RowContended, match="both of its sort keys belong to other files"):
            outcome_of(a_file("z/a.ndjson"))


# Redelivery, newer and older versions


def test_a_redelivery_changes_nothing(account: Account) -> None:
    outcome_of(a_file())
    before = account.rows()
    account.wait(hours=1)

    assert outcome_of(a_file(message_id="message-2")) == "duplicate"
    assert account.rows() == before


def test_a_redelivery_of_a_manifested_file_changes_nothing(account: Account) -> None:
    outcome_of(a_file())
    mark(account, a_file(), account.moment())
    before = account.rows()

    assert outcome_of(a_file()) == "duplicate"
    assert account.rows() == before


def test_a_reupload_is_pending_again_with_its_new_size_and_time(account: Account) -> None:
    outcome_of(a_file(size_bytes=10, sequencer=OLD))
    account.wait(minutes=1)

    assert outcome_of(a_file(size_bytes=20, sequencer=NEW, etag="other")) == "tracked"

    row = account.row(a_file())
    assert (row["file_size_bytes"], row["sequencer"], row["etag"]) == (20, NEW, "other")
    assert row["pending_since"] == "2025-12-23T12:01:00.000000Z"
    assert len(account.rows()) == 1


@pytest.mark.parametrize(
    ("known", "arriving", "outcome"),
    [
        (OLD, NEW, "tracked"),
        (NEW, OLD, "superseded"),
        (OLD, OLD, "duplicate"),
        ("0055AED6", "0055AED600", "duplicate"),
        ("0055AED600", "0055AED6", "duplicate"),
        ("0055AED6", "0055AED6DCD9", "tracked"),
        ("0055AED6DCD9", "0055AED6", "superseded"),
        ("0055AED6DCD90281E5", "0055AED7", "tracked"),
        ("0055AED7", "0055AED6DCD90281E5", "superseded"),
        ("0055AED6", "0055aed7", "tracked"),
    ],
)
def test_sequencers_decide_which_version_is_newer(account: Account, known: str, arriving: str, outcome: str) -> None:
    outcome_of(a_file(sequencer=known, size_bytes=10))

    assert outcome_of(a_file(sequencer=arriving, size_bytes=20)) == outcome
    assert account.row(a_file())["file_size_bytes"] == (20 if outcome == "tracked" else 10)


def test_the_newest_version_stays_in_any_order_of_delivery(account: Account) -> None:
    for number, order in enumerate(itertools.permutations([OLDER, OLD, NEW, NEWER])):
        files = [a_file(f"in/{number}.ndjson", sequencer=sequencer, etag=sequencer) for sequencer in order]
        for file in files:
            outcome_of(file)

        assert account.row(files[0])["etag"] == NEWER


@pytest.mark.parametrize(
    ("known", "arriving", "outcome"),
    [
        # Unversioned: the same etag and size are the same version.
        ({"sequencer": None}, {"sequencer": None}, "duplicate"),
        ({"sequencer": None}, {"sequencer": NEW}, "duplicate"),
        ({"sequencer": NEW}, {"sequencer": None}, "duplicate"),
        ({"sequencer": None}, {"sequencer": None, "etag": "other"}, "asks S3"),
        ({"sequencer": None}, {"sequencer": NEW, "etag": "other"}, "asks S3"),
        ({"sequencer": NEW}, {"sequencer": None, "etag": "other"}, "asks S3"),
        # Versioned: the version id decides.
        ({"sequencer": None, "version_id": "v1"}, {"sequencer": None, "version_id": "v1"}, "duplicate"),
        ({"sequencer": None, "version_id": "v1"}, {"sequencer": NEW, "version_id": "v1"}, "duplicate"),
        ({"sequencer": None, "version_id": "v1"}, {"sequencer": None, "version_id": "v2"}, "asks S3"),
        ({"sequencer": None, "version_id": "v1"}, {"sequencer": NEW, "version_id": "v2"}, "tracked, but asks S3"),
        ({"sequencer": NEW, "version_id": "v1"}, {"sequencer": None, "version_id": "v2"}, "asks S3"),
        ({"sequencer": None, "version_id": "v1"}, {"sequencer": None}, "asks S3"),
        ({"sequencer": None}, {"sequencer": None, "version_id": "v1"}, "asks S3"),
        ({"version_id": "v1", "sequencer": OLD}, {"version_id": "v1", "sequencer": NEW}, "duplicate"),
        ({"version_id": "v1", "sequencer": OLD}, {"version_id": "v2", "sequencer": NEW}, "tracked"),
        ({"version_id": "v2", "sequencer": NEW}, {"version_id": "v1", "sequencer": OLD}, "tracked"),
    ],
)
@pytest.mark.parametrize("current", ["known", "arriving", None])
def test_without_two_sequencers_the_version_or_s3_decides(
    account: Account, known: dict[str, Any], arriving: dict[str, Any], outcome: str, current: str | None
) -> None:
    assert outcome_of(a_file(**known)) == "tracked"
    expected = {
        "asks S3": "tracked" if current == "arriving" else "superseded",
        # Which of the two is the newest one is all that there is to ask.
        "tracked, but asks S3": "tracked",
    }.get(outcome, outcome)
    with is_current({"known": a_file(**known), "arriving": a_file(**arriving), None: None}[current]) as asked:
        assert outcome_of(a_file(**arriving)) == expected
    assert asked.call_count == ("asks S3" in outcome)


def test_a_manifested_file_that_is_uploaded_again_is_pending_again(account: Account) -> None:
    outcome_of(a_file(sequencer=OLD))
    cut = account.moment()
    mark(account, a_file(), cut)
    account.wait(minutes=5)

    assert outcome_of(a_file(sequencer=NEW)) == "tracked"

    row = account.row(a_file())
    assert (row["status"], row["pending_since"]) == ("pending", "2025-12-23T12:05:00.000000Z")
    assert row["cut"] == cut
    assert "manifest_path" not in row


def test_a_lagging_clock_does_not_put_a_reupload_before_the_cut(account: Account) -> None:
    outcome_of(a_file(sequencer=OLD))
    mark(account, a_file(), "2025-12-23T12:00:00.000000Z")
    account.wait(seconds=-90)

    assert outcome_of(a_file(sequencer=NEW)) == "tracked"

    assert account.row(a_file())["pending_since"] == "2025-12-23T12:00:00.000001Z"
    assert list(pending.pending_files(DATE, until="2025-12-23T12:00:00.000000Z")) == []


def test_further_versions_keep_the_cut(account: Account) -> None:
    outcome_of(a_file(sequencer=OLDER))
    mark(account, a_file(), "2025-12-23T12:00:00.000000Z")
    account.wait(hours=-1)
    file_rows.record_quarantine(DATE, a_file(sequencer=OLD), "Size 0.00MB out of range", None)

    outcome_of(a_file(sequencer=NEW))

    assert account.row(a_file())["pending_since"] == "2025-12-23T12:00:00.000001Z"


def test_a_quarantined_file_is_pending_after_a_valid_version(account: Account) -> None:
    file_rows.record_quarantine(DATE, a_file(sequencer=OLD, size_bytes=0), "Size 0.00MB out of range", "s3://q/a")

    assert outcome_of(a_file(sequencer=NEW)) == "tracked"

    row = account.row(a_file())
    assert row["status"] == "pending"
    assert not {"reason", "copied_to"} & row.keys()


def test_a_pending_file_is_quarantined_after_an_invalid_version(account: Account) -> None:
    outcome_of(a_file(sequencer=OLD))

    stored = file_rows.record_quarantine(DATE, a_file(sequencer=NEW, size_bytes=0), "Size 0.00MB out of range", None)

    assert stored.outcome == "quarantined"
    assert list(pending.pending_files(DATE)) == []
    assert account.row(a_file())["reason"] == "Size 0.00MB out of range"


def test_an_older_invalid_version_does_not_change_a_newer_valid_version(account: Account) -> None:
    outcome_of(a_file(sequencer=NEW))

    assert file_rows.record_quarantine(DATE, a_file(sequencer=OLD), "reason", None).outcome == "superseded"
    assert account.row(a_file())["status"] == "pending"


# Reading the rows of known files


def test_known_versions_are_known_and_newer_ones_are_not(account: Account) -> None:
    assert file_rows.is_known(DATE, a_file(sequencer=OLD)) is None
    outcome_of(a_file(sequencer=OLD))

    assert file_rows.is_known(DATE, a_file(sequencer=OLD)) == "duplicate"
    assert file_rows.is_known(DATE, a_file(sequencer=OLDER)) == "superseded"
    assert file_rows.is_known(DATE, a_file(sequencer=NEW)) is None


def test_a_file_is_known_under_its_second_sort_key_and_a_file_of_the_same_name_is_not(account: Account) -> None:
    outcome_of(a_file("x/a.ndjson"))
    assert file_rows.is_known(DATE, a_file("y/a.ndjson")) is None
    outcome_of(a_file("y/a.ndjson"))

    assert file_rows.is_known(DATE, a_file("y/a.ndjson")) == "duplicate"
    assert file_rows.is_known(DATE, a_file("z/a.ndjson")) is None


def test_rows_are_read_a_hundred_at_a_time_under_both_sort_keys(account: Account) -> None:
    for folder in "xy":
        outcome_of(a_file(f"{folder}/a.ndjson"))
    others = [a_file(f"x/{number}.ndjson") for number in range(150)]
    outcome_of(others[149])
    with intercepted(aws.dynamodb(), "batch_get_item", lambda proceed, *_: proceed()) as call:
        rows = file_rows.read_rows((DATE, file) for file in [*map(a_file, ("x/a.ndjson", "y/a.ndjson")), *others])

    paths = {f"s3://input-bucket/{key}" for key in ("x/a.ndjson", "y/a.ndjson", "x/149.ndjson")}
    assert set(rows) == {(DATE, path) for path in paths}
    assert all(row.file_path == path for (_, path), row in rows.items())
    assert call.call_count == 3  # two calls for 151 sort keys, one for the second sort key of y/a.ndjson


def test_a_row_is_found_under_its_second_sort_key_after_the_first_has_expired(
    account: Account, environment: Callable[..., None]
) -> None:
    environment(RETENTION_DAYS="30")
    for folder in "xy":
        outcome_of(a_file(f"{folder}/a.ndjson"))
    account.dynamodb.delete_item(TableName=TRACKING_TABLE, Key=table.key(DATE, a_file("x/a.ndjson").base_name))

    assert len(file_rows.read_rows([(DATE, a_file("x/a.ndjson")), (DATE, a_file("y/a.ndjson"))])) == 1


def test_unprocessed_keys_are_requested_again(account: Account, sleeps: list[float]) -> None:
    outcome_of(a_file())
    read = aws.dynamodb().batch_get_item
    asked: list[Any] = []

    def busy(**request: Any) -> Any:
        asked.append(request)
        if len(asked) > 2:
            return read(**request)
        return {"Responses": {}, "UnprocessedKeys": request["RequestItems"]}

    with mock.patch.object(aws.dynamodb(), "batch_get_item", busy):
        rows = file_rows.read_rows([(DATE, a_file())])
    assert list(rows) == [(DATE, a_file().file_path)]
    assert len(sleeps) == 2
    assert all(request["RequestItems"][TRACKING_TABLE]["ConsistentRead"] for request in asked)


@pytest.mark.parametrize(
    ("row", "is_same"),
    [
        ({"version_id": "v1"}, True),
        ({"version_id": "v2", "etag": "e", "file_size_bytes": 1}, False),
        ({"etag": "e", "file_size_bytes": 1}, False),
    ],
)
def test_the_row_of_a_version_is_recognized_by_its_version_id(row: dict[str, Any], is_same: bool) -> None:
    assert versions.is_version_of(a_file(version_id="v1", etag="e", size_bytes=1), a_row(**row)) is is_same


@pytest.mark.parametrize(
    ("row", "is_same"),
    [
        ({"etag": "e", "file_size_bytes": Decimal(1)}, True),
        ({"etag": "e", "file_size_bytes": Decimal(2)}, False),
        ({"etag": "", "file_size_bytes": Decimal(1)}, False),
        ({"version_id": "v1", "etag": "e", "file_size_bytes": Decimal(1)}, False),
        ({"status": "deleted"}, False),
    ],
)
def test_the_row_of_a_version_without_an_id_is_recognized_by_etag_and_size(row: dict[str, Any], is_same: bool) -> None:
    assert versions.is_version_of(a_file(etag="e", size_bytes=1), a_row(**row)) is is_same


# Rows that change during the write


def test_a_retry_after_a_lost_response_is_a_duplicate(account: Account) -> None:
    with answer_lost(aws.dynamodb(), "put_item"), pytest.raises(Exception, match="Read timeout"):
        outcome_of(a_file())

    assert outcome_of(a_file()) == "duplicate"
    assert account.statuses() == {"pending": 1}


def test_a_version_is_superseded_if_another_run_writes_a_newer_one_during_the_write(account: Account) -> None:
    outcome_of(a_file(sequencer=OLD))

    def overtaken(proceed: Any, number: int, arguments: Any) -> Any:
        if number == 2:  # this run has read the row; another run changes it before the write
            outcome_of(a_file(sequencer=NEWER, etag="newer"))
        return proceed()

    with intercepted(aws.dynamodb(), "put_item", overtaken):
        assert outcome_of(a_file(sequencer=NEW)) == "superseded"
    assert account.row(a_file())["etag"] == "newer"


def test_a_row_that_is_marked_during_the_write_keeps_its_cut(account: Account) -> None:
    outcome_of(a_file(sequencer=OLD))
    cut = account.moment()
    account.wait(seconds=-30)

    def marked_meanwhile(proceed: Any, number: int, arguments: Any) -> Any:
        if number == 2:
            mark(account, a_file(), cut)
        return proceed()

    with intercepted(aws.dynamodb(), "put_item", marked_meanwhile):
        assert outcome_of(a_file(sequencer=NEW)) == "tracked"
    row = account.row(a_file())
    assert (row["status"], row["cut"]) == ("pending", cut)
    assert row["pending_since"] > cut


def test_a_row_that_is_marked_and_uploaded_again_during_the_write_keeps_its_cut(account: Account) -> None:
    a, b, c = (a_file(etag=etag, sequencer=None) for etag in ("a", "b", "c"))
    outcome_of(a)
    cut = account.moment(hours=1)

    def marked_and_back(proceed: Any, number: int, arguments: Any) -> Any:
        if number == 2:  # the condition of this write expects the row of `a` as it was before marking
            mark(account, a, cut)
            for version in (b, a):
                with is_current(version):
                    assert outcome_of(version) == "tracked"
        return proceed()

    with is_current(c), intercepted(aws.dynamodb(), "put_item", marked_and_back):
        assert outcome_of(c) == "tracked"
    row = account.row(c)
    assert (row["etag"], row["cut"]) == ("c", cut)
    assert row["pending_since"] > cut


def test_a_row_that_changes_during_every_write_raises_an_error_and_is_not_overwritten(account: Account) -> None:
    outcome_of(a_file(sequencer=OLD))

    def changed_every_time(proceed: Any, number: int, arguments: Any) -> Any:
        if number > 1:
            account.dynamodb.update_item(
                TableName=TRACKING_TABLE,
                Key={"date_prefix": {"S": DATE}, "file_name": {"S": a_file().base_name}},
                UpdateExpression="SET etag = :etag",
                ExpressionAttributeValues={":etag": {"S": f"etag-{number}"}},
            )
        return proceed()

    with (
        intercepted(aws.dynamodb(), "put_item", changed_every_time) as calls,
        pytest.raises(RowContended, match=f"{DATE}/{a_file().base_name} changed 5 times during the write"),
    ):
        outcome_of(a_file(sequencer=NEW))
    assert calls.call_count == 5
    assert account.row(a_file())["sequencer"] == OLD


def test_a_row_that_is_deleted_during_the_write_raises_an_error(account: Account) -> None:
    outcome_of(a_file(sequencer=OLD))

    def deleted_meanwhile(proceed: Any, number: int, arguments: Any) -> Any:
        if number == 2:
            key = {"date_prefix": {"S": DATE}, "file_name": {"S": a_file().base_name}}
            account.dynamodb.delete_item(TableName=TRACKING_TABLE, Key=key)
        return proceed()

    with (
        intercepted(aws.dynamodb(), "put_item", deleted_meanwhile),
        pytest.raises(RowContended, match="was deleted during the write"),
    ):
        outcome_of(a_file(sequencer=NEW))


def test_any_other_error_of_the_table_is_raised(account: Account) -> None:
    with (
        failing(aws.dynamodb(), "put_item", aws_error("AccessDeniedException")),
        pytest.raises(Exception, match="AccessDenied"),
    ):
        outcome_of(a_file())
    assert account.rows() == []


# The pending files of a date


def test_pending_files_come_in_order_of_arrival(account: Account) -> None:
    for name in ("c", "a", "b"):
        outcome_of(a_file(f"in/{name}.ndjson"))
        account.wait(seconds=1)

    assert [row.file_name for row in pending.pending_files(DATE)] == ["c.ndjson", "a.ndjson", "b.ndjson"]


def test_pending_files_are_read_consistently_and_page_by_page(account: Account) -> None:
    for number in range(table.PAGE_ITEMS + 1):
        outcome_of(a_file(f"in/{number:04d}.ndjson"))
    pages: list[dict[str, Any]] = []
    aws.dynamodb().meta.events.register(
        "provide-client-params.dynamodb.Query", lambda params, **_: pages.append(dict(params))
    )

    rows = pending.pending_files(DATE)
    first = next(rows)

    assert first.file_name == "0000.ndjson"
    assert len(pages) == 1, "the second page is read only when it is needed"
    assert 1 + len(list(rows)) == table.PAGE_ITEMS + 1
    assert {page["ConsistentRead"] for page in pages} == {True}
    assert {page["IndexName"] for page in pages} == {"pending-index"}


def test_versions_of_equal_size_without_etag_version_and_sequencer_are_no_duplicates(account: Account) -> None:
    """Powertools returns '' for a missing etag. Two empty etags and equal sizes do not make the versions equal."""
    with is_current(a_file()):
        file_rows.track_file(DATE, a_file(etag="", sequencer=None))
        assert file_rows.track_file(DATE, a_file(etag="", sequencer=None)).outcome == "tracked"
