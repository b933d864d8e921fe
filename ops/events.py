"""Sends S3 events to the input queue in place of S3."""

import json
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import boto3

from toolkit.errors import UsageError
from toolkit.s3_events import notification

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

# With these limits, ten messages fit the payload and the 120 s of one execution.
RECORDS_PER_MESSAGE = 10
MESSAGE_BYTES = 16 * 1024
MESSAGES_PER_CALL = 10


@cache
def sqs() -> "SQSClient":
    return boto3.client("sqs")


def send(queue_url: str, records: list[dict[str, Any]]) -> None:
    """Sends notifications with these records to the queue. Raises UsageError if SQS refuses a message."""
    bodies = message_bodies(records)
    while chunk := list(islice(bodies, MESSAGES_PER_CALL)):
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(number), "MessageBody": body} for number, body in enumerate(chunk)
        ]
        answer = sqs().send_message_batch(QueueUrl=queue_url, Entries=entries)
        if refused := answer.get("Failed"):
            raise UsageError(f"the queue refused {len(refused)} messages: {refused[0].get('Message')}")


def message_bodies(records: list[dict[str, Any]]) -> Iterator[str]:
    """The records in as few messages as the limits allow."""
    together: list[dict[str, Any]] = []
    size = 0
    for record in records:
        record_bytes = len(json.dumps(record))
        if together and (len(together) == RECORDS_PER_MESSAGE or size + record_bytes > MESSAGE_BYTES):
            yield notification(together)
            together, size = [], 0
        together.append(record)
        size += record_bytes
    if together:
        yield notification(together)
