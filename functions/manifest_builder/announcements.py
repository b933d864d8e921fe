"""S3 events that are sent in place of S3's own, as S3 itself writes them (S3 user guide, "Event message structure")."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import boto3

from manifest_builder.errors import EventsRefused

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


def send(queue_url: str, records: Sequence[dict[str, Any]]) -> None:
    """Sends notifications with these records to the queue. Raises EventsRefused if SQS refuses a message."""
    bodies = message_bodies(records)
    while chunk := list(islice(bodies, MESSAGES_PER_CALL)):
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(number), "MessageBody": body} for number, body in enumerate(chunk)
        ]
        answer = sqs().send_message_batch(QueueUrl=queue_url, Entries=entries)
        if refused := answer.get("Failed"):
            raise EventsRefused(f"the queue refused {len(refused)} messages: {refused[0].get('Message')}")


def message_bodies(records: Sequence[dict[str, Any]]) -> Iterator[str]:
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


def notification(records: Sequence[dict[str, Any]]) -> str:
    """The body of a message from S3."""
    return json.dumps({"Records": records})


def object_created(
    bucket: str,
    key: str,
    *,
    size_bytes: int,
    etag: str,
    at: datetime,
    region: str,
    version_id: str | None = None,
    sequencer: str | None = None,
) -> dict[str, Any]:
    """The record of a new object in an S3 notification."""
    optional = {"versionId": version_id, "sequencer": sequencer}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {
                "key": quote_plus(key, safe="/"),
                "size": size_bytes,
                "eTag": etag,
                **{name: value for name, value in optional.items() if value},
            },
        },
    }
