"""What `smoke` says of a stack that somebody has changed, and of a step that does not come."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import boto3
import pytest

from dev.simulator.world import GLUE_JOB, INPUT_BUCKET
from manifest_builder import clock
from ops import diagnosis, wiring
from ops.stack import Stack
from tests.ops.operator import Operator

ALLOWED = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}


@pytest.mark.parametrize(
    ("changes", "lets"),
    [
        ({}, True),
        ({"Action": ["sqs:GetQueueUrl", "SQS:SendMessage"]}, True),
        ({"Action": "sqs:*"}, True),
        ({"Principal": {"Service": ["s3.amazonaws.com", "events.amazonaws.com"]}}, True),
        ({"Principal": "*"}, True),
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": "arn:aws:iam::123456789012:root"}}, False),
        ({"Principal": {"Service": "s3.amazonaws.com"}}, False),
        ({"Effect": "Deny"}, False),
        ({"Action": ["sqs:ReceiveMessage"]}, False),
    ],
)
def test_a_policy_is_understood_in_whatever_form_it_is_written(changes: dict[str, Any], lets: bool) -> None:
    assert wiring.lets_send(ALLOWED | changes, "events.amazonaws.com") is lets


def test_a_statement_may_stand_alone_and_may_have_no_principal(operator: Operator) -> None:
    for statement in (ALLOWED, [ALLOWED]):
        assert wiring.is_allowed(json.dumps({"Statement": statement}), "events.amazonaws.com")
    other = {"Effect": "Deny", "NotPrincipal": {"AWS": "*"}, "NotAction": "sqs:*"}
    assert not wiring.is_allowed(json.dumps({"Statement": [other]}), "events.amazonaws.com")
    assert not wiring.is_allowed(None, "events.amazonaws.com")


@pytest.fixture
def stack(operator: Operator) -> Iterator[Stack]:
    """A stack with a bucket that was there before, to which everything has happened."""
    operator.stack = Stack(
        "the-stack",
        operator.stack.region,
        INPUT_BUCKET,
        operator.queue,
        operator.dead_letters,
        operator.machine,
        function_log_group="/aws/lambda/the-prefix",
    )
    operator.sqs.set_queue_attributes(
        QueueUrl=operator.queue, Attributes={"Policy": json.dumps({"Statement": [ALLOWED | {"Resource": "*"}]})}
    )
    boto3.client("events").put_rule(Name="input", EventPattern='{"source": ["aws.s3"]}', State="DISABLED")
    boto3.client("logs").create_log_group(logGroupName="/aws/lambda/the-prefix")
    with mock.patch.object(
        wiring, "stack_resources", return_value={"InputEventRule": "default|input", "JobRunRule": "ends"}
    ):
        yield operator.stack


def test_everything_that_is_wrong_is_named_on_the_way_of_a_file(operator: Operator, stack: Stack) -> None:
    operator.glue.delete_job(JobName=GLUE_JOB)

    found = wiring.findings(stack)

    assert [finding.cause.partition(":")[0] for finding in found] == [
        f"the bucket {INPUT_BUCKET} sends no events to EventBridge",
        "the queue starts no function",
        "the EventBridge rule input is disabled",
        "the EventBridge rule ends is gone",
        f"there is no Glue job {GLUE_JOB}",
    ]
    assert all(finding.remedy for finding in found)


LINES = [
    {"level": "ERROR", "box": "TrackFile", "exception": "Traceback ...\nClientError: not authorized to perform: x"},
    {"level": "ERROR", "box": "TrackFile", "exception": "Traceback ...\nClientError: not authorized to perform: x"},
    {"level": "INFO", "box": "ParseEvent", "message": "fine"},
    {"level": "ERROR", "box": "ReportResult", "error": "file failed"},
]


def test_what_happened_to_the_files_is_told(operator: Operator, stack: Stack) -> None:
    # moto refuses lines of another time than this machine's.
    now = datetime.now(UTC)
    logs, alarms = boto3.client("logs"), boto3.client("cloudwatch")
    logs.create_log_stream(logGroupName=stack.function_log_group, logStreamName="one")
    events: Any = [
        {"timestamp": int(now.timestamp() * 1000), "message": text} for text in ["START", *map(json.dumps, LINES)]
    ]
    logs.put_log_events(logGroupName=stack.function_log_group, logStreamName="one", logEvents=events)
    for body, reason in (("another", "not theirs"), ("smoke/1950-01-01/file", "too late")):
        operator.sqs.send_message(
            QueueUrl=operator.dead_letters,
            MessageBody=body,
            MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
        )
    for name in ("the-prefix-dead-letters", "another"):
        alarms.put_metric_alarm(
            AlarmName=name, AlarmDescription="why", EvaluationPeriods=1, ComparisonOperator="GreaterThanThreshold"
        )
        alarms.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="test")

    # moto filters no lines of JSON; AWS does.
    with (
        mock.patch.object(diagnosis, "LOGGED_ERRORS", ""),
        mock.patch.object(diagnosis, "findings", return_value=[wiring.Finding("wiring")]),
    ):
        found = diagnosis.likely_causes(stack, now - timedelta(minutes=1), f"s3://{INPUT_BUCKET}/smoke/1950-01-01/")

    assert [finding.cause for finding in found] == [
        "wiring",
        "TrackFile: ClientError: not authorized to perform: x",
        "the dead-letter queue holds a message about these files: too late",
        "the alarm the-prefix-dead-letters is on: why",
    ]
    assert "TrackFileRole" in found[1].remedy


def test_if_nothing_explains_it_the_next_command_is_named(stack: Stack) -> None:
    with (
        mock.patch.object(diagnosis, "LOGGED_ERRORS", ""),
        mock.patch.object(diagnosis, "findings", return_value=[]),
    ):
        (finding,) = diagnosis.likely_causes(stack, clock.now(), f"s3://{INPUT_BUCKET}/smoke/1950-01-01/")

    assert finding.cause == "nothing in the account explains it"
    assert "python -m ops status --stack the-stack" in finding.remedy
