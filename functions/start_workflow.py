"""StartWorkflow: the queue's consumer. Runs the state machine on a batch and gives back what has to be tried again."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from manifest_builder.settings import read_start_settings, settings
from manifest_builder.telemetry import box, count, logger, outcome

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

# The payload limit of Step Functions is 256 KiB of UTF-8; the rest is room for the envelope.
MAX_INPUT_BYTES = 256 * 1024 - 1024
# From this receive on a message runs alone: garbage must not take its neighbours to the dead-letter queue.
ALONE_FROM_RECEIVE = 3
MAX_VISIBILITY_SECONDS = 43200
"""A queue's own limit for the visibility timeout (Amazon SQS quotas)."""

# Answers that say for sure that no execution was started.
NOT_STARTED = {
    "AccessDeniedException",
    "InvalidArn",
    "InvalidExecutionInput",
    "StateMachineDoesNotExist",
    "StateMachineDeleting",
    "ThrottlingException",
}
LOCK_NOT_RELEASED = "LockNotReleased"
"""The error of the state machine's Fail state for a lock that only the end of its lease will free."""

START = read_start_settings(os.environ)


@dataclass(frozen=True, slots=True)
class Message:
    message_id: str
    receipt_handle: str
    receives: int
    body: str

    def to_state(self) -> dict[str, str]:
        """Only what ParseEvent needs travels."""
        return {"messageId": self.message_id, "body": self.body}

    @property
    def input_bytes(self) -> int:
        return len(json.dumps(self.to_state(), ensure_ascii=False).encode(errors="surrogatepass")) + 2


@dataclass(frozen=True, slots=True)
class Retry:
    """A message that goes back, and whether a lease has to end before another try can help."""

    message: Message
    after_lease: bool


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One synchronous execution for the batch, as a rule; its failure is its messages' failure.

    in:  an Amazon SQS event of the event source mapping
    out: {"batchItemFailures": [{"itemIdentifier": messageId}]}
    """
    messages = [
        Message(
            record["messageId"],
            record["receiptHandle"],
            int(record["attributes"]["ApproximateReceiveCount"]),
            record["body"],
        )
        for record in event["Records"]
    ]
    groups = list(group(messages))
    with ThreadPoolExecutor(max_workers=max(1, len(groups))) as pool:
        retries = [retry for of_group in pool.map(run, groups) for retry in of_group]
    if retries:
        postpone(retries)
    outcome("ran", messages=len(messages), executions=len(groups), returned=len(retries))
    return {"batchItemFailures": [{"itemIdentifier": retry.message.message_id} for retry in retries]}


def group(messages: list[Message]) -> Iterator[list[Message]]:
    """Executions to run: together what fits the payload, alone what was received too often or is too large."""
    together: list[Message] = []
    size = 0
    for message in messages:
        if message.receives >= ALONE_FROM_RECEIVE or message.input_bytes > MAX_INPUT_BYTES:
            yield [message]
            continue
        if size + message.input_bytes > MAX_INPUT_BYTES:
            yield together
            together, size = [], 0
        together.append(message)
        size += message.input_bytes
    if together:
        yield together


def run(messages: list[Message]) -> list[Retry]:
    """Run the state machine on these messages and say which of them go back to the queue."""
    ids = [message.message_id for message in messages]
    if sum(message.input_bytes for message in messages) > MAX_INPUT_BYTES:
        logger.error("message too large for a state machine's input", extra={"message_ids": ids})
        return [Retry(message, after_lease=False) for message in messages]
    execution_input = json.dumps(
        {"sweep": False, "messages": [message.to_state() for message in messages]}, ensure_ascii=False
    )
    try:
        answer = stepfunctions().start_sync_execution(stateMachineArn=START.state_machine_arn, input=execution_input)
    except ClientError as error:
        started = error.response["Error"]["Code"] not in NOT_STARTED
        logger.exception("the execution was refused", extra={"message_ids": ids})
        return [Retry(message, after_lease=started) for message in messages]
    except Exception:
        # It may be running: whatever it holds is free when the lease is over.
        logger.exception("the execution's answer was lost", extra={"message_ids": ids})
        return [Retry(message, after_lease=True) for message in messages]

    if answer["status"] == "SUCCEEDED":
        failures = {failure["itemIdentifier"] for failure in json.loads(answer["output"])["batchItemFailures"]}
        return [Retry(message, after_lease=False) for message in messages if message.message_id in failures]
    logger.error(
        "the execution failed",
        extra={
            "execution_arn": answer["executionArn"],
            "status": answer["status"],
            "error": answer.get("error"),
            "cause": answer.get("cause"),
            "message_ids": ids,
        },
    )
    # A timeout or an abort runs no Catch, so the lock may be left.
    lock_left = answer["status"] != "FAILED" or answer.get("error") == LOCK_NOT_RELEASED
    return [Retry(message, after_lease=lock_left) for message in messages]


def postpone(retries: list[Retry]) -> None:
    """Shorten the queue's visibility timeout for these messages; without it they come back all the same, later."""
    count("MessagesReturned", len(retries))
    entries = [
        {
            "Id": str(number),
            "ReceiptHandle": retry.message.receipt_handle,
            "VisibilityTimeout": delay_seconds(retry),
        }
        for number, retry in enumerate(retries)
    ]
    try:
        for start in range(0, len(entries), 10):
            answer = sqs().change_message_visibility_batch(
                QueueUrl=START.queue_url,
                Entries=entries[start : start + 10],  # type: ignore[arg-type]
            )
            if answer.get("Failed"):
                logger.warning("visibility not changed", extra={"failed": answer["Failed"]})
    except Exception:
        logger.warning("visibility not changed", exc_info=True)


def delay_seconds(retry: Retry) -> int:
    """Seconds until a message comes back: more with each receive, and not before a lease that was left is over."""
    delay = START.retry_delay_seconds * retry.message.receives
    if retry.after_lease:
        delay = max(delay, settings().lock_ttl_seconds + 1)
    return min(delay, MAX_VISIBILITY_SECONDS)


@cache
def stepfunctions() -> "SFNClient":
    """No retry: a synchronous start is not idempotent. The read timeout is above the state machine's 120 s."""
    config = Config(connect_timeout=5, read_timeout=130, retries={"total_max_attempts": 1}, max_pool_connections=10)
    return boto3.client("stepfunctions", config=config)


@cache
def sqs() -> "SQSClient":
    return boto3.client("sqs")
