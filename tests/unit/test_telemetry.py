"""What every line of the log says, what the levels hide, and metrics that survive a failure."""

import logging
from typing import Any

import pytest

import parse_event
import track_file
import validate_file
from manifest_builder import aws
from manifest_builder.telemetry import box, count, logger
from tests.unit.support import DATE, Account, LogLines, a_file, aws_error, body, failing

FILE_EVENT = {"run_id": "run-1", "date_prefix": DATE, "file": a_file("in/ü.ndjson").to_state()}
PATH = "s3://input-bucket/in/ü.ndjson"


@box
def chatty(event: dict[str, Any], context: object) -> dict[str, Any]:
    logger.info("one")
    logger.append_keys(extra="two")
    logger.warning("two")
    count("Things")
    return {}


@box
def broken(event: dict[str, Any], context: object) -> dict[str, Any]:
    count("Things")
    raise KeyError("gone")


def test_every_line_says_which_run_date_and_file_it_is_about(log: LogLines) -> None:
    chatty(FILE_EVENT, None)

    assert [(line["run_id"], line["date_prefix"], line["file_path"]) for line in log.lines] == [
        ("run-1", DATE, PATH)
    ] * 2
    assert {line["service"] for line in log.lines} == {"manifest-builder-test"}


def test_nothing_of_one_invocation_is_said_in_the_next(log: LogLines) -> None:
    chatty(FILE_EVENT, None)
    chatty({"run_id": "run-2"}, None)

    last = log.lines[-2]
    assert last["run_id"] == "run-2"
    assert not {"date_prefix", "file_path", "extra"} & last.keys()


def test_a_failure_is_logged_once_with_its_trace_and_what_it_is_about(log: LogLines) -> None:
    with pytest.raises(KeyError):
        broken(FILE_EVENT, None)

    (line,) = log.lines
    assert (line["level"], line["run_id"], line["file_path"]) == ("ERROR", "run-1", PATH)
    assert line["exception_name"] == "KeyError"
    assert "Traceback" in line["exception"]


def test_metrics_are_written_though_the_function_fails(log: LogLines) -> None:
    with pytest.raises(KeyError):
        broken(FILE_EVENT, None)

    assert log.metrics == {"Things": 1}


def test_metrics_of_one_invocation_are_not_in_the_next(log: LogLines) -> None:
    chatty({}, None)
    chatty({}, None)

    assert log.metrics == {"Things": 2}


def test_a_failure_of_a_box_names_the_file(account: Account, log: LogLines) -> None:
    with (
        failing(aws.dynamodb(), "put_item", aws_error("AccessDeniedException")),
        pytest.raises(Exception, match="AccessDenied"),
    ):
        track_file.handler(FILE_EVENT, None)

    (line,) = log.at_least("WARNING")
    assert (line["level"], line["file_path"]) == ("ERROR", PATH)
    assert line["message"] == "track_file failed"


def a_file_goes_through(file_event: dict[str, Any]) -> None:
    message = {"messageId": "m", "body": body("s3_put.json")}
    parse_event.handler({"messages": [message]}, None)
    validate_file.handler(file_event, None)
    track_file.handler(file_event, None)


def test_a_file_on_its_way_is_seen_at_debug_only(account: Account, log: LogLines) -> None:
    a_file_goes_through(FILE_EVENT)

    assert {line["level"] for line in log.lines} == {"DEBUG"}
    assert [line["file_path"] for line in log.lines] == [PATH, PATH]
    assert {line["run_id"] for line in log.lines} == {"run-1"}


def test_at_the_level_of_production_a_file_on_its_way_is_silent(account: Account, log: LogLines) -> None:
    logger.setLevel("INFO")

    a_file_goes_through(FILE_EVENT)

    assert log.lines == []


@pytest.mark.parametrize(
    "library", ["botocore.endpoint", "boto3.resources", "s3transfer.tasks", "urllib3.connectionpool"]
)
def test_the_sdk_does_not_log_its_requests_and_credentials(library: str) -> None:
    root = logging.getLogger()
    level = root.level
    root.setLevel("DEBUG")  # as Lambda's runtime does for a function whose level is DEBUG
    try:
        assert not logging.getLogger(library).isEnabledFor(logging.DEBUG)
    finally:
        root.setLevel(level)


def test_a_box_without_a_run_in_its_event_can_be_called(log: LogLines) -> None:
    chatty({}, None)

    assert "run_id" not in log.lines[0]
