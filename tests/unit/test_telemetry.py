"""Fields of log lines, the last line of an invocation, log levels, and metrics of failed invocations."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest

import parse_event
import track_file
import validate_file
from dev.simulator.telemetry import Telemetry
from manifest_builder import aws, clock
from manifest_builder.telemetry import box, count, file_box, logger, outcome
from tests.unit.support import DATE, Account, a_file, aws_error, body, failing

FILE_EVENT = {
    "run_id": "run-1",
    "execution": "execution-1",
    "date_prefix": DATE,
    "file": a_file("in/ü.ndjson").to_state(),
}
PATH = "s3://input-bucket/in/ü.ndjson"


@box
def chatty(event: dict[str, Any], context: object) -> dict[str, Any]:
    logger.info("one")
    logger.append_keys(extra="two")
    logger.warning("two")
    count("Things")
    outcome("spoken", words=2)
    return {}


@box
def broken(event: dict[str, Any], context: object) -> dict[str, Any]:
    count("Things")
    outcome("nearly done")
    raise KeyError("gone")


@file_box
def quiet(event: dict[str, Any], context: object) -> dict[str, Any]:
    return {}


def test_every_line_has_its_run_execution_date_and_file(log: Telemetry) -> None:
    chatty(FILE_EVENT, None)

    assert [line["message"] for line in log.lines[:2]] == ["one", "two"]
    said = [(line["run_id"], line["execution"], line["date_prefix"], line["file_path"]) for line in log.lines]
    assert said == [("run-1", "execution-1", DATE, PATH)] * 3
    assert {line["service"] for line in log.lines} == {"manifest-builder-test"}


def test_every_line_has_the_name_of_its_box(account: Account, log: Telemetry) -> None:
    a_file_goes_through(FILE_EVENT)

    assert [line["box"] for line in log.lines] == ["ParseEvent", "ValidateFile", "TrackFile"]


def test_the_last_line_of_an_invocation_has_its_outcome_and_duration(log: Telemetry) -> None:
    with mock.patch("time.perf_counter", iter([10.0, 10.0123]).__next__):
        chatty(FILE_EVENT, None)

    (end,) = [line for line in log.lines if "duration_ms" in line]
    assert (end["level"], end["outcome"], end["words"], end["duration_ms"]) == ("INFO", "spoken", 2, 12.3)
    assert end == log.lines[-1]


def test_the_timestamp_of_a_line_is_the_current_time_in_rfc_3339_format(log: Telemetry) -> None:
    """Lambda reads the level and the time of a line only if its timestamp has the format of RFC 3339."""
    before = datetime.now(UTC)
    chatty({}, None)

    moments = [datetime.fromisoformat(line["timestamp"]) for line in log.lines]
    assert all("T" in line["timestamp"] for line in log.lines)
    assert all(abs(moment - before) < timedelta(minutes=1) for moment in moments)


def test_a_line_has_no_fields_of_an_earlier_invocation(log: Telemetry) -> None:
    chatty(FILE_EVENT, None)
    chatty({"run_id": "run-2"}, None)

    first_of_the_next = log.lines[3]
    assert first_of_the_next["run_id"] == "run-2"
    assert not {"execution", "date_prefix", "file_path", "extra", "outcome", "duration_ms"} & first_of_the_next.keys()


def test_a_failure_is_logged_once_with_its_traceback_run_and_file(log: Telemetry) -> None:
    with pytest.raises(KeyError):
        broken(FILE_EVENT, None)

    (line,) = log.lines
    assert (line["level"], line["run_id"], line["file_path"]) == ("ERROR", "run-1", PATH)
    assert (line["outcome"], line["error"]) == ("failed", "KeyError")
    assert line["duration_ms"] >= 0
    assert line["exception_name"] == "KeyError"
    assert "Traceback" in line["exception"]


def test_metrics_are_written_even_if_the_function_fails(log: Telemetry) -> None:
    with pytest.raises(KeyError):
        broken(FILE_EVENT, None)

    assert log.metrics == {"Things": 1}


def test_metrics_of_one_invocation_are_not_in_the_next(log: Telemetry) -> None:
    chatty({}, None)
    chatty({}, None)

    assert log.metrics == {"Things": 2}


def test_a_failure_of_a_box_names_the_file(account: Account, log: Telemetry) -> None:
    with (
        failing(aws.dynamodb(), "put_item", aws_error("AccessDeniedException")),
        pytest.raises(Exception, match="AccessDenied"),
    ):
        track_file.handler(FILE_EVENT, None)

    (line,) = log.at_least("WARNING")
    assert (line["level"], line["file_path"]) == ("ERROR", PATH)
    assert line["message"] == "TrackFile failed"


def a_file_goes_through(file_event: dict[str, Any]) -> None:
    message = {"messageId": "m", "body": body("s3_put.json")}
    parse_event.handler({"messages": [message]}, None)
    validate_file.handler(file_event, None)
    track_file.handler(file_event, None)


def test_the_outcomes_of_a_valid_file_are_logged_at_level_debug(account: Account, log: Telemetry) -> None:
    a_file_goes_through(FILE_EVENT)

    of_the_file = [line for line in log.lines if line.get("file_path") == PATH]
    assert [(line["level"], line["outcome"]) for line in of_the_file] == [("DEBUG", "valid"), ("DEBUG", "tracked")]


def test_at_level_info_a_valid_file_has_no_line_of_its_own(account: Account, log: Telemetry) -> None:
    logger.setLevel("INFO")

    a_file_goes_through(FILE_EVENT)

    (line,) = log.lines
    assert (line["box"], line["files"]) == ("ParseEvent", 1)


@pytest.mark.parametrize(
    "library", ["botocore.endpoint", "boto3.resources", "s3transfer.tasks", "urllib3.connectionpool"]
)
def test_the_sdk_does_not_log_its_requests_and_credentials(library: str) -> None:
    root = logging.getLogger()
    level = root.level
    root.setLevel("DEBUG")  # Lambda's runtime does this for a function whose log level is DEBUG
    try:
        assert not logging.getLogger(library).isEnabledFor(logging.DEBUG)
    finally:
        root.setLevel(level)


def test_a_failure_is_logged_at_level_info_too(log: Telemetry) -> None:
    logger.setLevel("INFO")

    quiet(FILE_EVENT, None)
    with pytest.raises(KeyError):
        broken(FILE_EVENT, None)

    assert [line["level"] for line in log.lines] == ["ERROR"]


def test_a_box_without_a_run_in_its_event_can_be_called(log: Telemetry) -> None:
    chatty({}, None)

    assert not {"run_id", "execution"} & log.lines[0].keys()


@pytest.mark.parametrize(("seconds", "noticed"), [(-301, True), (-300, False), (0, False), (420, False), (421, True)])
def test_a_clock_that_is_off_by_more_than_the_protocol_allows_for_is_an_error_and_a_metric(
    log: Telemetry, seconds: int, noticed: bool
) -> None:
    """Up to 120 s may have passed since the state was entered: its Retry calls the box again."""
    now = clock.now()
    with mock.patch.object(clock, "now", return_value=now + timedelta(seconds=seconds)):
        chatty({"entered_at": clock.to_text(now)}, None)

    assert ("ClocksApart" in log.metrics) is noticed
    assert [line["seconds"] for line in log.at_least("ERROR")] == ([seconds] if noticed else [])


def test_a_box_that_is_not_told_when_its_state_was_entered_compares_no_clocks(log: Telemetry) -> None:
    chatty({}, None)

    assert log.at_least("ERROR") == []
