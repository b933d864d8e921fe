"""The scheduled audit: it goes on where it stopped, repairs, and tells what it found."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import boto3
import pytest

import audit_files
from dev.simulator.context import Context
from dev.simulator.telemetry import Telemetry
from dev.simulator.world import INPUT_BUCKET
from manifest_builder import announcements, clock, inputs
from manifest_builder.auditing import dates
from manifest_builder.auditing.spool import Spool
from manifest_builder.errors import EventsRefused
from manifest_builder.files import FileVersion
from manifest_builder.tracking import audits, file_rows, table
from tests.unit.support import NOON, Account, aws_error

IN_TIME = Context(900_000)
TODAY = f"{datetime.now(UTC):%Y-%m-%d}"
YESTERDAY = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"


@pytest.fixture
def bucket(account: Account) -> Iterator[Account]:
    """An account with a queue, an hour after the files of the test are written."""
    boto3.client("sqs").create_queue(QueueName="input-queue")
    account.later = datetime.now(UTC) + timedelta(hours=1) - NOON
    yield account
    announcements.sqs.cache_clear()


def key(name: str, date: str = TODAY) -> str:
    return f"in/{date}/{name}.ndjson"


def put(account: Account, *keys: str) -> None:
    for each in keys:
        account.s3.put_object(Bucket=INPUT_BUCKET, Key=each, Body=b"{}\n")


def put_and_track(account: Account, *keys: str) -> None:
    put(account, *keys)
    for each in keys:
        current = inputs.current_object(FileVersion("", INPUT_BUCKET, each, 0, "", None, None))
        assert current
        assert file_rows.track_file(current.dates[0], current.file).outcome == "tracked"


def sent() -> list[str]:
    """The keys in the messages of the queue, which are taken out."""
    found = []
    queue = boto3.client("sqs")
    url = queue.get_queue_url(QueueName="input-queue")["QueueUrl"]
    while messages := queue.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for each in messages:
            found += [record["s3"]["object"]["key"] for record in json.loads(each["Body"])["Records"]]
            queue.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
    return sorted(found)


def run(context: Context = IN_TIME) -> dict[str, Any]:
    return audit_files.handler({}, context)


def position() -> audits.Position:
    found = audits.read()
    assert found
    return found


def pages_of(number: int) -> Any:
    """The list of versions, with so many versions per page."""
    pages = inputs.pages

    def in_parts(bucket: str, prefix: str = "", start_after: str = "") -> Iterator[Any]:
        versions = [version for page in pages(bucket) for version in page.get("Versions", [])]
        versions = [version for version in versions if version["Key"] > start_after]
        for first in range(0, len(versions), number):
            part = versions[first : first + number]
            yield {"Versions": part, "IsTruncated": first + number < len(versions)}

    return mock.patch.object(inputs, "pages", in_parts)


def test_events_of_missing_files_are_sent_and_counted(bucket: Account, log: Telemetry) -> None:
    put_and_track(bucket, key("known"))
    put(bucket, key("lost"), key("lost too", YESTERDAY))
    assert run() == {"complete": True, "files": 3, "missing": 2, "problems": 0}
    assert sent() == [key("lost too", YESTERDAY).replace(" ", "+"), key("lost")]
    assert log.metrics["FilesAudited"] == 3
    assert log.metrics["FilesMissing"] == 2
    lines = [line for line in log.lines if line["level"] == "ERROR"]
    assert [line["files"] for line in lines] == [
        [f"s3://{INPUT_BUCKET}/{key('lost too', YESTERDAY)}"],
        [f"s3://{INPUT_BUCKET}/{key('lost')}"],
    ]


def test_nothing_is_sent_if_nothing_is_missing_and_the_metrics_say_so(bucket: Account, log: Telemetry) -> None:
    put_and_track(bucket, key("known"))
    run()
    assert sent() == []
    assert (log.metrics["FilesAudited"], log.metrics["FilesMissing"]) == (1, 0)


def test_contradictions_count_as_missing_because_they_cannot_be_repaired(bucket: Account, log: Telemetry) -> None:
    put_and_track(bucket, key("known"))
    (row,) = bucket.files().values()
    row = {name: value for name, value in row.items() if name != "pending_since"}
    item = table.to_dynamodb(row | {"status": "manifested", "manifest_path": "s3://a/b.json"})
    bucket.dynamodb.put_item(TableName="tracking-table", Item=item)
    assert run()["problems"] == 1
    assert log.metrics["FilesMissing"] == 1
    assert sent() == []


def test_dates_that_cannot_change_any_more_are_left_out(bucket: Account) -> None:
    put(bucket, key("old", "2020-01-01"), key("new"))
    bucket.wait(days=20)
    assert run()["missing"] == 0
    bucket.wait(days=-19)
    assert run()["missing"] == 2, "written lately, whatever its date"


def test_a_run_without_time_left_stops_between_two_dates_and_the_next_goes_on(bucket: Account) -> None:
    put(bucket, key("first", YESTERDAY), key("second"))
    audit_date = dates.audit_date

    def slow(*arguments: Any, **options: Any) -> Any:
        result = audit_date(*arguments, **options)
        bucket.wait(minutes=15)
        return result

    with mock.patch.object(audit_files, "audit_date", slow):
        assert run() == {"complete": False, "files": 1, "missing": 1, "problems": 0}
        assert sent() == [key("first", YESTERDAY)]
        assert position().after_date == YESTERDAY
        assert run() == {"complete": True, "files": 1, "missing": 1, "problems": 0}
    assert sent() == [key("second")]
    assert position().began_at is None


def test_a_run_without_time_to_list_everything_ends_its_segment_and_the_next_goes_on(bucket: Account) -> None:
    keys = [key(name) for name in "abcde"]
    put(bucket, *keys)
    latest = inputs.latest

    def slow(*arguments: Any) -> Any:
        bucket.wait(minutes=5)
        return latest(*arguments)

    with pages_of(2), mock.patch.object(inputs, "latest", slow):
        assert run() == {"complete": False, "files": 4, "missing": 4, "problems": 0}
        assert position().after_key == keys[3]
        assert run() == {"complete": True, "files": 1, "missing": 1, "problems": 0}
    assert sent() == keys


def test_a_segment_ends_with_the_objects_that_fit_the_storage(bucket: Account) -> None:
    keys = [key(name) for name in "abcde"]
    put(bucket, *keys)
    with (
        pages_of(1),
        mock.patch.object(audit_files, "MOST_OBJECTS", 2),
        mock.patch.object(audit_files, "Spool", wraps=Spool) as segments,
    ):
        assert run() == {"complete": True, "files": 5, "missing": 5, "problems": 0}
    assert segments.call_count == 3
    assert sent() == keys


@pytest.mark.parametrize("versions_of_a_page", [1, 3, 10])
def test_a_segment_that_was_left_is_listed_to_its_end_again_and_not_beyond(
    bucket: Account, versions_of_a_page: int
) -> None:
    put(bucket, *(key(name, YESTERDAY) for name in "ab"), *(key(name) for name in "ab"))
    now = clock.to_text(clock.now())
    left = audits.Position(now, now, after_key=None, until_key=key("a"), after_date=YESTERDAY)
    assert audits.write(left)
    with pages_of(versions_of_a_page), mock.patch.object(audit_files, "Spool", wraps=Spool) as segments:
        assert run() == {"complete": True, "files": 2, "missing": 2, "problems": 0}
    assert segments.call_count == 2
    assert sent() == [key("a"), key("b")], "the dates up to after_date are done in the segment"


def test_a_run_that_fails_has_written_its_metrics_and_the_next_one_repeats_the_date(
    bucket: Account, log: Telemetry
) -> None:
    put(bucket, key("lost"))
    refused = mock.patch.object(announcements, "send", side_effect=EventsRefused("try later"))
    with refused, pytest.raises(EventsRefused):
        run()
    assert log.metrics["FilesMissing"] == 1
    assert run()["missing"] == 1
    assert sent() == [key("lost")]


def test_of_two_runs_at_a_time_one_leaves(bucket: Account) -> None:
    put(bucket, key("a", YESTERDAY), key("b"))
    audit_date = dates.audit_date
    others: list[dict[str, Any]] = []

    def with_another_run(*arguments: Any, **options: Any) -> Any:
        if not others:
            others.append({})
            others.append(run())
        return audit_date(*arguments, **options)

    with mock.patch.object(audit_files, "audit_date", with_another_run):
        assert run()["complete"] is False
    assert others[1] == {"complete": True, "files": 2, "missing": 2, "problems": 0}
    assert set(sent()) == {key("a", YESTERDAY), key("b")}


def test_the_age_of_what_is_unaudited_grows_until_a_pass_is_complete(bucket: Account, log: Telemetry) -> None:
    put(bucket, key("a"))
    run()
    bucket.wait(hours=2)
    with mock.patch.object(audit_files, "audit_date", side_effect=aws_error("ThrottlingException")):
        with pytest.raises(Exception, match="Throttling"):
            run()
        bucket.wait(hours=1)
        with pytest.raises(Exception, match="Throttling"):
            run()
    run()
    (values,) = (values for (_, name, _), values in log.metric_values.items() if name == "OldestUnauditedSeconds")
    ages = [round(age / 3600) for age in values]
    assert ages == [0, 2, 3, 1], "the last pass began with its first run, an hour ago"


def test_a_date_that_is_too_large_for_a_run_is_told_and_the_others_have_their_turn(
    bucket: Account, log: Telemetry
) -> None:
    put_and_track(bucket, key("a", YESTERDAY))
    put(bucket, key("b"))

    def of_date(*arguments: Any) -> Any:
        bucket.wait(minutes=15)
        return iter(found)

    found = list(file_rows.of_date(YESTERDAY, dates.ROW_ATTRIBUTES))
    with mock.patch.object(file_rows, "of_date", of_date):
        assert run() == {"complete": False, "files": 0, "missing": 0, "problems": 1}
    (line,) = (line for line in log.lines if line["message"] == "a date is too large for a run: it is not compared")
    assert line["date_prefix"] == YESTERDAY
    assert position().after_date == YESTERDAY
    assert run() == {"complete": True, "files": 1, "missing": 1, "problems": 0}


def test_a_date_that_others_have_taken_the_time_from_is_compared_by_the_next_run(bucket: Account) -> None:
    put_and_track(bucket, key("a", YESTERDAY))
    put_and_track(bucket, key("b"))
    of_date = file_rows.of_date

    def slow(date: str, *arguments: Any) -> Any:
        bucket.wait(minutes=13 if date == YESTERDAY else 5)
        return of_date(date, *arguments)

    with mock.patch.object(file_rows, "of_date", slow):
        assert run() == {"complete": False, "files": 1, "missing": 0, "problems": 0}
        assert run() == {"complete": True, "files": 1, "missing": 0, "problems": 0}


def test_a_position_is_written_only_over_the_one_before_it(bucket: Account) -> None:
    first = audits.write(audits.Position("2025-12-23T10:00:00.000000Z"))
    assert first
    assert audits.write(audits.Position("2025-12-23T11:00:00.000000Z")) is None
    assert audits.write(first)
    assert audits.write(first) is None
