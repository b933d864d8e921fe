"""Files without an event reach the table exactly once, however many events and backfills follow."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from dev.simulator.world import BEGINNING, INPUT_BUCKET, REGION, TRACKING_TABLE, message
from manifest_builder import announcements, inputs
from manifest_builder.announcements import object_created
from manifest_builder.tracking import table
from tests.ops.operator import DATE, MB, Operator

KEY = f"orders/{DATE}/a file+é.ndjson"
PAGES = inputs.pages


def count(operator: Operator, *arguments: str) -> tuple[int, int, int]:
    document = operator.ops("backfill", *arguments, "--json").document
    return document["listed"], document["known"], document["unknown"]


def pages_of_one(*arguments: str) -> Iterator[Any]:
    """The list of versions, with one version per page."""
    return ({"Versions": [version]} for page in PAGES(*arguments) for version in page["Versions"])


def test_files_older_than_the_stack_are_tracked_and_then_known(operator: Operator) -> None:
    answer = operator.put(KEY)
    operator.put("plain.ndjson")
    assert count(operator, "--yes") == (2, 0, 2)
    operator.deliver_queued()
    row = operator.files()[f"s3://{INPUT_BUCKET}/{KEY}"]
    assert (row["date_prefix"], row["status"], row["file_size_bytes"]) == (DATE, "pending", MB)
    assert (row["version_id"], row["etag"]) == (answer["VersionId"], answer["ETag"].strip('"'))
    written = operator.s3.head_object(Bucket=INPUT_BUCKET, Key="plain.ndjson")["LastModified"]
    assert operator.files()[f"s3://{INPUT_BUCKET}/plain.ndjson"]["date_prefix"] == f"{written:%Y-%m-%d}"
    assert count(operator, "--yes") == (2, 2, 0)
    assert operator.queued() == []


@pytest.mark.parametrize("versioning", ["Enabled", "Suspended"])
@pytest.mark.parametrize("later", ["backfilled again", "announced by S3"])
def test_what_is_told_again_stays_in_its_one_manifest(operator: Operator, versioning: str, later: str) -> None:
    operator.s3.put_bucket_versioning(Bucket=INPUT_BUCKET, VersioningConfiguration={"Status": versioning})
    answer = operator.put(KEY)
    operator.ops("backfill", "--yes")
    operator.ops("backfill", "--yes")
    first, second = operator.queued()
    announced = message(KEY, MB, etag=answer["ETag"].strip('"'), version_id=answer.get("VersionId"))
    operator.deliver(first)
    operator.wait(days=2)
    operator.sweep()
    operator.deliver(second if later == "backfilled again" else announced)
    assert [row["status"] for row in operator.files().values()] == ["manifested"]


def test_a_file_that_s3_has_announced_is_known(operator: Operator) -> None:
    answer = operator.put(KEY)
    operator.deliver(message(KEY, MB, etag=answer["ETag"].strip('"'), version_id=answer["VersionId"]))
    assert count(operator, "--yes") == (1, 1, 0)


def test_a_version_whose_event_was_lost_is_sent_though_an_earlier_one_is_known(operator: Operator) -> None:
    earlier = operator.put(KEY)
    operator.deliver(message(KEY, MB, etag=earlier["ETag"].strip('"'), version_id=earlier["VersionId"]))
    latest = operator.put(KEY, 2 * MB)
    assert count(operator, "--yes") == (1, 0, 1)
    operator.deliver_queued()
    (row,) = operator.files().values()
    assert (row["version_id"], row["file_size_bytes"]) == (latest["VersionId"], 2 * MB)


def test_folders_deleted_objects_and_other_prefixes_are_left_out(operator: Operator) -> None:
    operator.put("orders/", 0)
    operator.put(f"orders/{DATE}-gone.ndjson")
    operator.s3.delete_object(Bucket=INPUT_BUCKET, Key=f"orders/{DATE}-gone.ndjson")
    operator.put(f"returns/{DATE}.ndjson")
    assert count(operator, "orders/", "--yes") == (0, 0, 0)
    assert operator.queued() == []


def test_a_dry_run_counts_and_sends_nothing(operator: Operator) -> None:
    operator.put(KEY)
    assert count(operator, "--dry-run") == (1, 0, 1)
    assert operator.queued() == []


def test_an_upload_in_parts_that_went_past_midnight_is_known_by_the_day_of_its_event(operator: Operator) -> None:
    answer = operator.put("plain.ndjson")
    written = operator.s3.head_object(Bucket=INPUT_BUCKET, Key="plain.ndjson")["LastModified"]
    etag, version_id = answer["ETag"].strip('"'), answer["VersionId"]
    tomorrow = f"{written.date() + timedelta(days=1)}T00:10:00.000Z"
    operator.deliver(message("plain.ndjson", MB, etag=etag, version_id=version_id, event_time=tomorrow))
    assert count(operator, "--yes") == (1, 1, 0)


def test_what_ends_half_way_says_where_to_go_on_and_going_on_sends_the_rest(operator: Operator) -> None:
    for number in range(3):
        operator.put(f"a/{DATE}-{number}.ndjson")
    send = announcements.send
    sent: list[int] = []

    def interrupted(queue_url: str, records: list[Any]) -> None:
        sent.append(len(records))
        if len(sent) == 2:
            raise KeyboardInterrupt
        send(queue_url, records)

    with mock.patch.object(announcements, "send", interrupted), mock.patch.object(inputs, "pages", pages_of_one):
        said = operator.ops("backfill", "a/", "--yes", "--json")
    assert said.code == 130
    assert (said.document["complete"], said.document["last_key"]) == (False, f"a/{DATE}-0.ndjson")
    go_on = f"python -m ops backfill a/ --start-after a/{DATE}-0.ndjson --stack the-stack"
    assert said.err.endswith(f"stopped; to go on: {go_on}\n")
    assert "nothing is left running" not in said.err
    assert len(operator.queued()) == 1
    assert count(operator, "a/", "--start-after", f"a/{DATE}-0.ndjson", "--yes") == (2, 0, 2)


def test_a_message_that_the_queue_refuses_is_no_success(operator: Operator) -> None:
    operator.put("a.ndjson")
    operator.put(KEY)
    refused = {"Failed": [{"Id": "0", "Code": "InternalError", "Message": "try later", "SenderFault": False}]}
    answers = [{}, refused]
    with (
        mock.patch.object(announcements.sqs(), "send_message_batch", side_effect=answers),
        mock.patch.object(inputs, "pages", pages_of_one),
    ):
        said = operator.ops("backfill", "--yes")
    assert said.code == 2
    assert "the queue refused 1 messages: try later" in said.err
    assert "to go on: python -m ops backfill --start-after a.ndjson --stack the-stack\n" in said.err


@pytest.mark.parametrize("dates", [1, 20])
def test_the_table_is_asked_once_a_page_however_many_dates_that_has(operator: Operator, dates: int) -> None:
    for number in range(20):
        operator.put(f"device{number}/2025-11-{number % dates + 1:02}.ndjson", 1)
    calls = operator.ops("backfill", "--dry-run").calls
    assert (calls.count("BatchGetItem"), calls.count("Query")) == (1, 0)
    with mock.patch.object(inputs, "pages", pages_of_one):
        assert operator.ops("backfill", "--dry-run").calls.count("BatchGetItem") == 20


def test_files_of_one_name_are_told_apart_by_their_paths(operator: Operator) -> None:
    keys = [f"{folder}/{DATE}.ndjson" for folder in "abc"]
    answers = {key: operator.put(key) for key in keys}
    for key in keys[:2]:
        etag, version_id = answers[key]["ETag"].strip('"'), answers[key]["VersionId"]
        operator.deliver(message(key, MB, etag=etag, version_id=version_id))
    assert count(operator, "--yes") == (3, 2, 1)
    (sent,) = operator.queued()
    assert f'"c/{DATE}.ndjson"' in sent["body"]


def test_the_current_version_of_a_row_that_says_deleted_is_sent(operator: Operator) -> None:
    answer = operator.put(KEY)
    etag, version_id = answer["ETag"].strip('"'), answer["VersionId"]
    operator.deliver(message(KEY, MB, etag=etag, version_id=version_id))
    (row,) = operator.files().values()
    operator.change(row, status="deleted", pending_since=None)
    assert count(operator, "--yes") == (1, 0, 1)
    assert len(operator.queued()) == 1


def test_what_may_have_been_forgotten_is_sent_by_forgotten_alone(operator: Operator) -> None:
    operator.settings(RETENTION_DAYS="30")
    operator.put(KEY)
    written = operator.s3.head_object(Bucket=INPUT_BUCKET, Key=KEY)["LastModified"]
    operator.later = written + timedelta(days=29) - BEGINNING
    assert operator.ops("backfill", "--dry-run", "--json").document["unknown"] == 1
    operator.later = written + timedelta(days=30, seconds=1) - BEGINNING
    document = operator.ops("backfill", "--yes", "--json").document
    assert (document["unknown"], document["forgotten"], document["listed"]) == (0, 1, 1)
    said = operator.ops("backfill", "--yes")
    assert "1 older than RetentionDays (30 days, the least so far) and unknown: not sent; --forgotten" in said.out
    assert operator.queued() == []
    document = operator.ops("backfill", "--yes", "--forgotten", "--json").document
    assert (document["unknown"], document["forgotten"]) == (1, 0)
    assert len(operator.queued()) == 1


@pytest.mark.parametrize("days", ["30", "0"])
def test_what_was_forgotten_under_an_earlier_setting_is_sent_by_forgotten_alone(operator: Operator, days: str) -> None:
    operator.settings(RETENTION_DAYS="1")
    operator.a_manifest(KEY)
    (row,) = operator.files().values()
    assert row["status"] == "manifested"
    operator.dynamodb.delete_item(TableName=TRACKING_TABLE, Key=table.key(row["date_prefix"], row["file_name"]))
    written = operator.s3.head_object(Bucket=INPUT_BUCKET, Key=KEY)["LastModified"]
    operator.later = written + timedelta(days=2) - BEGINNING
    operator.settings(RETENTION_DAYS=days)

    document = operator.ops("backfill", "--yes", "--json").document

    assert (document["unknown"], document["forgotten"]) == (0, 1)
    assert operator.queued() == []


def test_a_prefix_may_be_a_uri_of_the_input_bucket_and_of_no_other(operator: Operator) -> None:
    for number in range(2):
        operator.put(f"a/{DATE}-{number}.ndjson")
    operator.put(f"b/{DATE}.ndjson")
    assert count(operator, f"s3://{INPUT_BUCKET}", "--dry-run") == (3, 0, 3)
    assert count(operator, f"s3://{INPUT_BUCKET}/a/", "--dry-run") == (2, 0, 2)
    after = f"s3://{INPUT_BUCKET}/a/{DATE}-0.ndjson"
    assert count(operator, "a/", "--start-after", after, "--dry-run") == (1, 0, 1)
    for arguments in (["s3://other/a/"], ["a/", "--start-after", "s3://other/a/x"]):
        said = operator.ops("backfill", *arguments, "--dry-run")
        assert said.code == 2
        assert said.err.startswith("error: ")
        assert f"other is not the input bucket, which is {INPUT_BUCKET}" in said.err


def test_a_prefix_that_no_key_has_is_no_success(operator: Operator) -> None:
    said = operator.ops("backfill", "oders/", "--yes")
    assert (said.code, said.out) == (1, f"no key of s3://{INPUT_BUCKET}/ starts with oders/\n")
    said = operator.ops("backfill", "oders/", "--yes", "--json")
    assert (said.code, said.document["listed"], said.document["complete"]) == (1, 0, True)


def test_where_nothing_is_unknown_there_is_nothing_to_send(operator: Operator) -> None:
    answer = operator.put(KEY)
    operator.deliver(message(KEY, MB, etag=answer["ETag"].strip('"'), version_id=answer["VersionId"]))
    assert operator.ops("backfill", "--yes").out == "1 file listed, 1 known to the table, 0 unknown: nothing to send\n"


def test_a_backfill_that_cannot_begin_says_why_and_nothing_else(operator: Operator) -> None:
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectVersions")
    with mock.patch.object(inputs, "pages", side_effect=denied):
        said = operator.ops("backfill", "--dry-run")
    assert (said.code, said.out, said.err) == (2, "", "error: ListObjectVersions: AccessDenied: no\n")


def test_messages_stay_within_the_limits_and_hold_every_record_once() -> None:
    records = [
        object_created(INPUT_BUCKET, key, size_bytes=1, etag="e", at=datetime.now(UTC), region=REGION)
        for key in [*(f"{number}.ndjson" for number in range(25)), *("ü" * 500 + str(number) for number in range(12))]
    ]
    bodies = list(announcements.message_bodies(records))
    found = [json.loads(body)["Records"] for body in bodies]
    assert [record for each in found for record in each] == records
    assert max(len(each) for each in found) == announcements.RECORDS_PER_MESSAGE
    assert max(len(body) for body in bodies) <= announcements.MESSAGE_BYTES + 100
    assert list(announcements.message_bodies([])) == []
