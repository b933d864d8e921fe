"""StartWorkflow: starts a synchronous execution for a batch and reports failed messages as batch item failures."""

import json
import os
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from manifest_builder import clock
from manifest_builder.redelivery import (
    MAX_INPUT_BYTES,
    TOO_MUCH_DATA,
    Failure,
    Message,
    Refusal,
    delay_seconds,
    divide,
    execution_input,
    failures_of_execution,
    given_up,
    group,
    is_large,
    is_of_the_messages,
)
from manifest_builder.settings import read_start_settings, settings
from manifest_builder.telemetry import box, count, logger, outcome

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.type_defs import StartSyncExecutionOutputTypeDef

Result = Failure | Refusal

INVALID_INPUT = "InvalidExecutionInput"
NOT_STARTED = {
    "AccessDeniedException",
    "InvalidArn",
    "StateMachineDoesNotExist",
    "StateMachineDeleting",
    "ThrottlingException",
}
"""StartSyncExecution's errors of the service after which no execution is running for certain."""
LOCK_NOT_RELEASED = "LockNotReleased"
"""The error of the Fail state for a lock that is held until its lease ends."""
THROTTLES = {"ThrottlingException", "Lambda.TooManyRequestsException"}
MAX_BATCH_ENTRIES = 10
"""Messages in one request (SQS, ChangeMessageVisibilityBatch)."""
EXECUTION_MILLISECONDS = 127_000
"""An execution takes at most 120 s; with less time left none is started."""
REASON_CHARACTERS = 500

START = read_start_settings(os.environ)


@box
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A failed message comes back later; one that is refused, or was tried long enough, becomes a dead letter.

    in:  an Amazon SQS event of the event source mapping
    out: {"batchItemFailures": [{"itemIdentifier": messageId}]}
    """
    results: list[Result] = []
    fitting: list[Message] = []
    for message in map(Message.from_record, event["Records"]):
        parts = divide(message.body) if is_large(message) else []
        if parts:
            results += put_back_in_parts(message, parts)
        elif message.fits:
            fitting.append(message)
        else:
            results.append(Refusal(message, too_large(message)))
    executions, of_executions = run_all(fitting, context)
    failures = bury(results + of_executions)
    if failures:
        postpone(failures)
    outcome("ran", messages=len(event["Records"]), executions=executions, returned=len(failures))
    return {"batchItemFailures": [{"itemIdentifier": failure.message.message_id} for failure in failures]}


def run_all(messages: list[Message], context: Any) -> tuple[int, list[Result]]:
    """Runs one execution after the other, so that a service that is short of capacity is asked for no more than before.
    Returns their number and the messages that are not done.

    If an execution fails because of its messages, each half of them has an execution of its own, down to the message
    that makes it fail: its neighbours are done.
    """
    executions = 0
    results: list[Result] = []
    waiting = deque(group(messages))
    while waiting:
        together = waiting.popleft()
        if executions and context.get_remaining_time_in_millis() < EXECUTION_MILLISECONDS:
            results += [Failure(message, "no time was left", untried=True) for message in together]
            continue
        executions += 1
        not_done, error = run(together)
        if error and is_of_the_messages(error) and len(together) > 1:
            middle = len(together) // 2
            waiting += [together[:middle], together[middle:]]
        elif error == TOO_MUCH_DATA:
            (message,) = together
            parts = divide(message.body)
            results += put_back_in_parts(message, parts) if parts else [Refusal(message, too_large(message))]
        else:
            results += not_done
    return executions, results


def run(messages: list[Message]) -> tuple[list[Result], str]:
    """Runs the state machine on these messages. Returns those that are not done, and the error of an execution that has
    failed, if it has one."""
    ids = [message.message_id for message in messages]
    try:
        answer = stepfunctions().start_sync_execution(
            stateMachineArn=START.state_machine_arn, input=execution_input(messages)
        )
    except ClientError as refused:
        code = refused.response["Error"]["Code"]
        logger.exception("StartSyncExecution returned an error", extra={"message_ids": ids})
        if code == INVALID_INPUT:
            return [*failures_of_execution(messages, code, after_lease=False)], code
        return [Failure(message, code, after_lease=code not in NOT_STARTED) for message in messages], ""
    except Exception as lost:
        # The execution may be running, and hold a lock until its lease ends.
        logger.exception("the response of StartSyncExecution was lost", extra={"message_ids": ids})
        return [Failure(message, type(lost).__name__, after_lease=True) for message in messages], ""
    if answer["status"] == "SUCCEEDED":
        return results_of(messages, json.loads(answer["output"])), ""
    log_failure(answer, ids)
    error = answer.get("error", "") if answer["status"] == "FAILED" else ""
    # A timeout or an abort runs no Catch, so a lock may still be held.
    lock_left = answer["status"] != "FAILED" or error == LOCK_NOT_RELEASED
    return [*failures_of_execution(messages, error, after_lease=lock_left)], error


def results_of(messages: list[Message], output: dict[str, Any]) -> list[Result]:
    """The messages that a finished execution refused, or of which a file failed."""
    reasons = {refused["messageId"]: refused["reason"] for refused in output.get("refused", [])}
    errors = {failed["itemIdentifier"]: failed.get("error", "") for failed in output["batchItemFailures"]}
    return [
        Refusal(message, reasons[message.message_id])
        if message.message_id in reasons
        else Failure(message, errors[message.message_id], by_itself=True)
        for message in messages
        if message.message_id in errors
    ]


def too_large(message: Message) -> str:
    return (
        f"an execution takes {MAX_INPUT_BYTES:,} bytes of messages, and as much of data; this message has "
        f"{message.input_bytes:,} bytes, and no records to divide"
    )


def put_back_in_parts(message: Message, parts: list[str]) -> list[Result]:
    """Sends a message to the queue in parts. A part that exists twice, after an error, changes nothing."""
    ids = [message.message_id]
    try:
        for part in parts:
            sqs().send_message(QueueUrl=START.queue_url, MessageBody=part)
    except Exception as error:
        logger.exception("a large message was not divided", extra={"message_ids": ids})
        return [Failure(message, type(error).__name__)]
    logger.info("a large message was divided", extra={"message_ids": ids, "parts": len(parts)})
    return []


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


def bury(results: list[Result]) -> list[Failure]:
    """Sends the refused messages to the dead-letter queue. Returns the messages that come back to the input queue.

    A message that is sent there and not acknowledged is in both queues, which is harmless.
    """
    now = clock.now()
    refusals = [result for result in results if isinstance(result, Refusal)]
    failures: list[Failure] = []
    for failure in [result for result in results if isinstance(result, Failure)]:
        refusal = given_up(failure, now)
        if refusal:
            refusals.append(refusal)
        else:
            failures.append(failure)
    unsent = [failure for failure in map(send_to_dead_letters, refusals) if failure]
    throttled = sum(isinstance(result, Failure) and result.error in THROTTLES for result in results)
    if throttled:
        count("MessagesThrottled", throttled)
    if len(unsent) < len(refusals):
        count("MessagesBuried", len(refusals) - len(unsent))
    return failures + unsent


def send_to_dead_letters(refusal: Refusal) -> Failure | None:
    message, ids = refusal.message, [refusal.message.message_id]
    # Attributes take the characters of XML only, and count towards the size of the message (SQS, SendMessage).
    reason = "".join(character if character.isprintable() else "?" for character in refusal.reason)
    attributes = {"reason": reason[:REASON_CHARACTERS] or "?", "message_id": message.message_id}
    try:
        sqs().send_message(
            QueueUrl=START.dead_letter_queue_url,
            MessageBody=message.body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": text}
                for name, text in attributes.items()
                if message.has_room_for_attributes
            },
        )
    except Exception as error:
        logger.exception("not sent to the dead-letter queue", extra={"message_ids": ids})
        return Failure(message, type(error).__name__)
    logger.error("message sent to the dead-letter queue", extra={"message_ids": ids, "reason": reason})
    return None


def postpone(failures: list[Failure]) -> None:
    """Shortens the visibility timeout of these messages. If that fails, they come back after the queue's own."""
    count("MessagesReturned", len(failures))
    entries = [
        {
            "Id": str(number),
            "ReceiptHandle": failure.message.receipt_handle,
            "VisibilityTimeout": delay_seconds(failure, START.retry_delay_seconds, settings().lock_ttl_seconds),
        }
        for number, failure in enumerate(failures)
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
    config = Config(connect_timeout=5, read_timeout=130, retries={"total_max_attempts": 1})
    return boto3.client("stepfunctions", config=config)


@cache
def sqs() -> "SQSClient":
    return boto3.client("sqs")
