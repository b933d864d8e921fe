"""The trigger's calls on its queues: messages that come back later or in parts, and dead letters."""

from functools import cache
from typing import TYPE_CHECKING

import boto3

from manifest_builder.redelivery import Failure, Message, Refusal, delay_seconds
from manifest_builder.settings import settings, start_settings
from manifest_builder.telemetry import count, logger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_BATCH_ENTRIES = 10
"""Messages in one request (SQS, ChangeMessageVisibilityBatch)."""
REASON_CHARACTERS = 500


def postpone(failures: list[Failure]) -> None:
    """Shortens the visibility timeout of these messages. If that fails, they come back after the queue's own."""
    count("MessagesReturned", len(failures))
    entries = [
        {
            "Id": str(number),
            "ReceiptHandle": failure.message.receipt_handle,
            "VisibilityTimeout": delay_seconds(
                failure, start_settings().retry_delay_seconds, settings().lock_ttl_seconds
            ),
        }
        for number, failure in enumerate(failures)
    ]
    try:
        for start in range(0, len(entries), MAX_BATCH_ENTRIES):
            answer = sqs().change_message_visibility_batch(
                QueueUrl=start_settings().queue_url,
                Entries=entries[start : start + MAX_BATCH_ENTRIES],  # type: ignore[arg-type]
            )
            if answer.get("Failed"):
                logger.warning("visibility not changed", extra={"failed": answer["Failed"]})
    except Exception:
        logger.warning("visibility not changed", exc_info=True)


def put_back_in_parts(message: Message, parts: list[str]) -> list[Failure]:
    """Sends a message to the queue in parts. A part that exists twice, after an error, changes nothing."""
    ids = [message.message_id]
    try:
        for part in parts:
            sqs().send_message(QueueUrl=start_settings().queue_url, MessageBody=part)
    except Exception as error:
        logger.exception("a large message was not divided", extra={"message_ids": ids})
        return [Failure(message, type(error).__name__)]
    logger.info("a large message was divided", extra={"message_ids": ids, "parts": len(parts)})
    return []


def send_to_dead_letters(refusal: Refusal) -> Failure | None:
    message, ids = refusal.message, [refusal.message.message_id]
    # Attributes take the characters of XML only, and count towards the size of the message (SQS, SendMessage).
    reason = "".join(character if character.isprintable() else "?" for character in refusal.reason)
    attributes = {"reason": reason[:REASON_CHARACTERS] or "?", "message_id": message.message_id}
    try:
        sqs().send_message(
            QueueUrl=start_settings().dead_letter_queue_url,
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


@cache
def sqs() -> "SQSClient":
    return boto3.client("sqs")
