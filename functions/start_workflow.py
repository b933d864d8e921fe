"""StartWorkflow: starts a synchronous execution for a batch and reports failed messages as batch item failures."""

import json
from collections import deque
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from manifest_builder import clock, queues
from manifest_builder.redelivery import (
    LOCK_NOT_RELEASED,
    MAX_INPUT_BYTES,
    TOO_MUCH_DATA,
    Failure,
    Message,
    Refusal,
    divide,
    execution_input,
    failures_of_execution,
    given_up,
    group,
    halves,
    is_large,
    is_of_the_messages,
)
from manifest_builder.settings import start_settings
from manifest_builder.telemetry import box, count, logger, outcome

if TYPE_CHECKING:
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
THROTTLES = {"ThrottlingException", "Lambda.TooManyRequestsException"}
EXECUTION_MILLISECONDS = 127_000
"""An execution takes at most 120 s; with less time left none is started."""

start_settings()  # a missing variable stops the function at its start


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
            results += queues.put_back_in_parts(message, parts)
        elif message.fits:
            fitting.append(message)
        else:
            results.append(Refusal(message, too_large(message)))
    executions, of_executions = run_all(fitting, context)
    failures = dead_letter(results + of_executions)
    if failures:
        queues.postpone(failures)
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
            waiting += halves(together)
        elif error == TOO_MUCH_DATA:
            (message,) = together
            parts = divide(message.body)
            results += queues.put_back_in_parts(message, parts) if parts else [Refusal(message, too_large(message))]
        else:
            results += not_done
    return executions, results


def run(messages: list[Message]) -> tuple[Sequence[Result], str]:
    """Runs the state machine on these messages. Returns those that are not done, and the error of an execution that has
    failed, if it has one."""
    ids = [message.message_id for message in messages]
    try:
        answer = stepfunctions().start_sync_execution(
            stateMachineArn=start_settings().state_machine_arn, input=execution_input(messages)
        )
    except ClientError as refused:
        code = refused.response["Error"]["Code"]
        logger.exception("StartSyncExecution returned an error", extra={"message_ids": ids})
        if code == INVALID_INPUT:
            return failures_of_execution(messages, code, after_lease=False), code
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
    return failures_of_execution(messages, error, after_lease=lock_left), error


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


def dead_letter(results: list[Result]) -> list[Failure]:
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
    unsent = [failure for failure in map(queues.send_to_dead_letters, refusals) if failure]
    throttled = sum(isinstance(result, Failure) and result.error in THROTTLES for result in results)
    if throttled:
        count("MessagesThrottled", throttled)
    if len(unsent) < len(refusals):
        count("MessagesDeadLettered", len(refusals) - len(unsent))
    return failures + unsent


@cache
def stepfunctions() -> "SFNClient":
    """No retry: a synchronous start is not idempotent. The read timeout is above the state machine's 120 s."""
    config = Config(connect_timeout=5, read_timeout=130, retries={"total_max_attempts": 1})
    return boto3.client("stepfunctions", config=config)
