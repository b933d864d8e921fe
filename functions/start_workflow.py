"""StartWorkflow: starts one synchronous execution per batch and reports failed messages as batch item failures."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from manifest_builder.redelivery import Message, Retry, delay_seconds, execution_input, group, is_too_large
from manifest_builder.settings import read_start_settings, settings
from manifest_builder.telemetry import box, count, logger, outcome

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.type_defs import StartSyncExecutionOutputTypeDef

NOT_STARTED = {
    "AccessDeniedException",
    "InvalidArn",
    "InvalidExecutionInput",
    "StateMachineDoesNotExist",
    "StateMachineDeleting",
    "ThrottlingException",
}
"""StartSyncExecution's errors after which no execution is running for certain."""
LOCK_NOT_RELEASED = "LockNotReleased"
"""The error of the Fail state for a lock that is held until its lease ends."""
MAX_BATCH_ENTRIES = 10
"""Messages in one request (SQS, ChangeMessageVisibilityBatch)."""

START = read_start_settings(os.environ)


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """If an execution fails, all its messages fail; if it succeeds, those that its output names.

    in:  an Amazon SQS event of the event source mapping
    out: {"batchItemFailures": [{"itemIdentifier": messageId}]}
    """
    groups = list(group([Message.from_record(record) for record in event["Records"]]))
    with ThreadPoolExecutor(max_workers=max(1, len(groups))) as pool:
        retries = [retry for of_group in pool.map(run, groups) for retry in of_group]
    if retries:
        postpone(retries)
    outcome("ran", messages=len(event["Records"]), executions=len(groups), returned=len(retries))
    return {"batchItemFailures": [{"itemIdentifier": retry.message.message_id} for retry in retries]}


def run(messages: list[Message]) -> list[Retry]:
    """Runs the state machine on these messages. Returns the messages that go back to the queue."""
    ids = [message.message_id for message in messages]
    if is_too_large(messages):
        logger.error("the message exceeds the input of a state machine", extra={"message_ids": ids})
        return [Retry(message, after_lease=False) for message in messages]
    try:
        answer = stepfunctions().start_sync_execution(
            stateMachineArn=START.state_machine_arn, input=execution_input(messages)
        )
    except ClientError as error:
        may_run = error.response["Error"]["Code"] not in NOT_STARTED
        logger.exception("StartSyncExecution returned an error", extra={"message_ids": ids})
        return [Retry(message, after_lease=may_run) for message in messages]
    except Exception:
        # The execution may be running, and hold a lock until its lease ends.
        logger.exception("the response of StartSyncExecution was lost", extra={"message_ids": ids})
        return [Retry(message, after_lease=True) for message in messages]
    if answer["status"] == "SUCCEEDED":
        failures = {failure["itemIdentifier"] for failure in json.loads(answer["output"])["batchItemFailures"]}
        return [Retry(message, after_lease=False) for message in messages if message.message_id in failures]
    log_failure(answer, ids)
    # A timeout or an abort runs no Catch, so a lock may still be held.
    lock_left = answer["status"] != "FAILED" or answer.get("error") == LOCK_NOT_RELEASED
    return [Retry(message, after_lease=lock_left) for message in messages]


def log_failure(answer: "StartSyncExecutionOutputTypeDef", message_ids: list[str]) -> None:
    logger.error(
        "the execution failed",
        extra={
            "execution_arn": answer["executionArn"],
            "status": answer["status"],
            "error": answer.get("error"),
            "cause": answer.get("cause"),
            "message_ids": message_ids,
        },
    )


def postpone(retries: list[Retry]) -> None:
    """Shortens the visibility timeout of these messages. If that fails, they come back after the queue's own."""
    count("MessagesReturned", len(retries))
    entries = [
        {
            "Id": str(number),
            "ReceiptHandle": retry.message.receipt_handle,
            "VisibilityTimeout": delay_seconds(retry, START.retry_delay_seconds, settings().lock_ttl_seconds),
        }
        for number, retry in enumerate(retries)
    ]
    try:
        for start in range(0, len(entries), MAX_BATCH_ENTRIES):
            answer = sqs().change_message_visibility_batch(
                QueueUrl=START.queue_url,
                Entries=entries[start : start + MAX_BATCH_ENTRIES],  # type: ignore[arg-type]
            )
            if answer.get("Failed"):
                logger.warning("visibility not changed", extra={"failed": answer["Failed"]})
    except Exception:
        logger.warning("visibility not changed", exc_info=True)


@cache
def stepfunctions() -> "SFNClient":
    """No retry: a synchronous start is not idempotent. The read timeout is above the state machine's 120 s."""
    config = Config(connect_timeout=5, read_timeout=130, retries={"total_max_attempts": 1}, max_pool_connections=10)
    return boto3.client("stepfunctions", config=config)


@cache
def sqs() -> "SQSClient":
    return boto3.client("sqs")
