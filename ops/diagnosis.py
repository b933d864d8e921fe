"""Why a step of the workflow does not come: what a person would look at, in that order."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import boto3

from ops import shell
from ops.stack import Stack
from ops.wiring import Finding, findings

MISSING_RIGHT = ("AccessDenied", "not authorized")
LOGGED_ERRORS = '{ $.level = "ERROR" }'
MOST_ERRORS = 3
MOST_CHARACTERS = 500
REPORTER = "ReportResult"


def likely_causes(stack: Stack, since: datetime, folder: str) -> list[Finding]:
    """What is wrong in the account, or with the files of this folder, since then.

    At least one finding: if there is nothing else, that nothing was found, and where to look further.
    """
    key_prefix = folder.removeprefix(f"s3://{stack.input_bucket}/")
    found = [*findings(stack), *_logged(stack, since), *_dead_letters(stack, key_prefix), *_alarms(stack)]
    return found or [
        Finding(
            "nothing in the account explains it",
            f"{shell.command(stack, 'status')} shows unfinished work; docs/troubleshooting.md goes on from there",
        )
    ]


def _logged(stack: Stack, since: datetime) -> Iterator[Finding]:
    """Errors that the functions have logged since then, the last first; each once."""
    pages = (
        boto3.client("logs")
        .get_paginator("filter_log_events")
        .paginate(
            logGroupName=stack.function_log_group,
            startTime=int(since.timestamp() * 1000),
            filterPattern=LOGGED_ERRORS,
        )
    )
    errors = [error for page in pages for event in page["events"] if (error := _error(event["message"]))]
    # ReportResult repeats that another box has failed.
    own = [error for error in errors if error[0] != REPORTER] or errors
    for box, text in list(dict.fromkeys(reversed(own)))[:MOST_ERRORS]:
        lacks_right = any(sign in text for sign in MISSING_RIGHT)
        yield Finding(
            f"{box}: {text}",
            f"its role lacks this right: compare {box}Role with template.yaml, or deploy the stack anew"
            if lacks_right
            else f"aws logs filter-log-events --log-group-name {stack.function_log_group} shows all errors",
        )


def _error(message: str) -> tuple[str, str] | None:
    """Box and text of a logged error; None for another line."""
    try:
        line: Any = json.loads(message)
    except ValueError:
        return None
    if not isinstance(line, dict) or line.get("level") != "ERROR":
        return None
    # Of a traceback, the last line says what happened.
    traceback = str(line.get("exception") or "").strip().rpartition("\n")[2]
    text = traceback or line.get("reason") or line.get("error") or line.get("message") or ""
    return str(line.get("box", "a function")), " ".join(str(text).split())[:MOST_CHARACTERS]


def _dead_letters(stack: Stack, key_prefix: str) -> Iterator[Finding]:
    """The first message about these files; they stay in the queue."""
    messages = boto3.client("sqs").receive_message(
        QueueUrl=stack.dead_letter_queue_url,
        MaxNumberOfMessages=10,
        VisibilityTimeout=0,
        MessageAttributeNames=["reason"],
    )
    for message in messages.get("Messages", []):
        if key_prefix in message["Body"]:
            attributes = message.get("MessageAttributes", {})
            reason = attributes["reason"]["StringValue"] if "reason" in attributes else "no reason given"
            yield Finding(
                f"the dead-letter queue holds a message about these files: {reason}",
                "docs/operations.md, runbook of the alarm dead-letters",
            )
            return


def _alarms(stack: Stack) -> Iterator[Finding]:
    pages = (
        boto3.client("cloudwatch")
        .get_paginator("describe_alarms")
        .paginate(AlarmNamePrefix=stack.name_prefix, StateValue="ALARM")
    )
    for page in pages:
        for alarm in page["MetricAlarms"]:
            name = alarm["AlarmName"]
            yield Finding(
                f"the alarm {name} is on: {alarm.get('AlarmDescription', '')}",
                f"docs/operations.md, runbook of {name.removeprefix(stack.name_prefix + '-')}",
            )
