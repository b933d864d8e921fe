"""Files that nobody was told of reach the table once, whoever tells of them how often."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest

from local.feed import object_created
from ops import backfill, events
from tests.ops.operator import DATE, MB, Operator
from tests.simulator.world import INPUT_BUCKET, REGION, message

KEY = f"orders/{DATE}/a file+é.ndjson"


def count(operator: Operator, *arguments: str) -> tuple[int, int, int]:
    document = operator.ops("backfill", *arguments, "--json").document
    return document["listed"], document["known"], document["unknown"]


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
    send, pages = events.send, backfill.pages
    sent: list[int] = []

    def interrupted(queue_url: str, records: list[Any]) -> None:
        sent.append(len(records))
        if len(sent) == 2:
            raise KeyboardInterrupt
        send(queue_url, records)

    def one_by_one(*arguments: str) -> Any:
        return ({"Versions": [version]} for page in pages(*arguments) for version in page["Versions"])

    with mock.patch.object(events, "send", interrupted), mock.patch.object(backfill, "pages", one_by_one):
        said = operator.ops("backfill", "a/", "--yes", "--json")
    assert said.code == 130
    assert (said.document["complete"], said.document["last_key"]) == (False, f"a/{DATE}-0.ndjson")
    assert f"python -m ops backfill 'a/' --start-after 'a/{DATE}-0.ndjson'" in said.err
    assert len(operator.queued()) == 1
    assert count(operator, "a/", "--start-after", f"a/{DATE}-0.ndjson", "--yes") == (2, 0, 2)


def test_a_message_that_the_queue_refuses_is_no_success(operator: Operator) -> None:
    operator.put(KEY)
    refused = {"Failed": [{"Id": "0", "Code": "InternalError", "Message": "try later", "SenderFault": False}]}
    with mock.patch.object(events.sqs(), "send_message_batch", return_value=refused):
        said = operator.ops("backfill", "--yes")
    assert said.code == 2
    assert "the queue refused 1 messages: try later" in said.err
    assert "to go on" in said.err


def test_each_date_is_read_once_however_many_files_it_has(operator: Operator) -> None:
    for number in range(5):
        operator.put(f"a/{DATE}-{number}.ndjson")
    assert operator.ops("backfill", "--dry-run").calls.count("Query") == 1


def test_messages_stay_within_the_limits_and_hold_every_record_once() -> None:
    records = [
        object_created(INPUT_BUCKET, key, size_bytes=1, etag="e", at=datetime.now(UTC), region=REGION)
        for key in [*(f"{number}.ndjson" for number in range(25)), *("ü" * 500 + str(number) for number in range(12))]
    ]
    bodies = list(events.message_bodies(records))
    found = [json.loads(body)["Records"] for body in bodies]
    assert [record for each in found for record in each] == records
    assert max(len(each) for each in found) == events.RECORDS_PER_MESSAGE
    assert max(len(body) for body in bodies) <= events.MESSAGE_BYTES + 100
    assert list(events.message_bodies([])) == []
