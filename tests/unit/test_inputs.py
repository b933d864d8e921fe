"""Events that an operator sends without a sequencer, mixed with events of S3: late, twice, in any order."""

import itertools
from dataclasses import replace

import pytest

from dev.simulator.world import INPUT_BUCKET
from manifest_builder import inputs
from manifest_builder.files import FileVersion, ObjectVersion, Removal
from manifest_builder.inputs import current_version
from manifest_builder.tracking import file_rows
from tests.unit.support import DATE, Account, a_file

KEY = a_file().key


@pytest.fixture(params=[True, False], ids=["versioned", "unversioned"])
def versioned(request: pytest.FixtureRequest, account: Account) -> bool:
    if request.param:
        account.s3.put_bucket_versioning(Bucket=INPUT_BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return bool(request.param)


def put(account: Account, number: int, key: str = KEY) -> FileVersion:
    """Put an object and return the version of its S3 event. A higher number means a later version."""
    put = account.s3.put_object(Bucket=INPUT_BUCKET, Key=key, Body=b"x" * number)
    etag, version_id = put["ETag"].strip('"'), put.get("VersionId")
    return a_file(key, number, etag=etag, version_id=version_id, sequencer=f"{number:02}")


def test_the_current_version_is_the_latest_version_of_exactly_this_key(account: Account, versioned: bool) -> None:
    put(account, 1)
    for other in (KEY + "0", KEY + "/x", KEY[:-1]):
        put(account, 3, other)
    latest = put(account, 2)
    assert current_version(latest) == ObjectVersion(latest.version_id, latest.etag)
    assert (latest.version_id is not None) == versioned

    account.s3.delete_object(Bucket=INPUT_BUCKET, Key=KEY)
    assert current_version(latest) is None


@pytest.mark.parametrize("key", ["a b+é%20'&<>.ndjson", "x" * 1024])
def test_the_current_version_is_found_for_any_key(account: Account, key: str) -> None:
    file = put(account, 1, key)
    assert current_version(file) == ObjectVersion(None, file.etag)


@pytest.mark.usefixtures("versioned")
def test_in_any_order_of_events_a_backfilled_version_is_tracked_once_and_stays_pending(account: Account) -> None:
    """The events are v1, its deletion, v2, and v2 once more from an operator, without a sequencer."""
    for case, order in enumerate(itertools.permutations(range(4))):
        key = f"{case}/{DATE}-file.ndjson"
        first = put(account, 1, key)
        account.s3.delete_object(Bucket=INPUT_BUCKET, Key=key)
        removal = Removal("message-1", INPUT_BUCKET, key, None, "02")
        second = put(account, 3, key)
        events: list[FileVersion | Removal] = [first, removal, second, replace(second, sequencer=None)]
        outcomes = [deliver(events[number]) for number in order]

        row = account.row(second)
        assert (row["status"], row["etag"]) == ("pending", second.etag), order
        assert [outcomes[order.index(number)] for number in (2, 3)].count("tracked") == 1, order


@pytest.mark.usefixtures("versioned")
def test_an_operators_event_of_an_older_version_changes_nothing(account: Account) -> None:
    first, second = put(account, 1), put(account, 2)
    deliver(second)
    assert deliver(replace(first, sequencer=None)) == "superseded"


def test_s3_is_not_asked_if_the_events_give_the_order(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "current_version", lambda file: pytest.fail("asked"))
    first, second = put(account, 1), put(account, 2)
    # In a bucket with versions, the older one is still there to be read.
    late = "tracked" if first.version_id else "superseded"
    events: list[FileVersion | Removal] = [
        second,
        first,
        replace(second, sequencer=None),
        second,
        Removal("m", INPUT_BUCKET, KEY, None, "03"),
    ]
    assert [deliver(event) for event in events] == ["tracked", late, "duplicate", "duplicate", "deleted"]


def deliver(event: FileVersion | Removal) -> str:
    if isinstance(event, Removal):
        return file_rows.record_removal(DATE, event).outcome
    return file_rows.track_file(DATE, event).outcome
