"""The queue between S3 and the trigger: redelivery, visibility, retention, dead letters, by the world's time."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dev.simulator.world import DEAD_LETTER_QUEUE_URL

VISIBILITY_SECONDS = 900
MAX_RECEIVES = 1000
RETENTION = timedelta(days=14)
BATCH = 10


@dataclass
class Message:
    message_id: str
    body: str
    sent_at: datetime
    visible_at: datetime
    receives: int = 0


class Queue:
    """At-least-once delivery as the template configures it."""

    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}
        self.dead: dict[str, str] = {}
        """Why a message is in the dead-letter queue, by its id in this queue."""
        self.lost: list[str] = []
        """Messages that were deleted at the end of the retention."""
        self.sent = 0

    def send(self, message: dict[str, str], at: datetime) -> None:
        self.messages[message["messageId"]] = Message(message["messageId"], message["body"], at, at)

    def receive(self, at: datetime) -> list[dict[str, Any]]:
        """Up to ten visible messages, as records of an Amazon SQS event; they become invisible."""
        for message in [message for message in self.messages.values() if message.sent_at + RETENTION <= at]:
            self.lost.append(self.messages.pop(message.message_id).message_id)
        records = []
        for message in [message for message in self.messages.values() if message.visible_at <= at][:BATCH]:
            if message.receives == MAX_RECEIVES:
                self.dead[self.messages.pop(message.message_id).message_id] = "too many receives"
                continue
            message.receives += 1
            message.visible_at = at + timedelta(seconds=VISIBILITY_SECONDS)
            records.append(
                {
                    "messageId": message.message_id,
                    "receiptHandle": message.message_id,
                    "attributes": {
                        "ApproximateReceiveCount": str(message.receives),
                        "SentTimestamp": str(int(message.sent_at.timestamp() * 1000)),
                    },
                    "body": message.body,
                }
            )
        return records

    def acknowledge(self, message_id: str) -> None:
        self.messages.pop(message_id, None)

    def send_message(self, request_body: bytes, at: datetime) -> dict[str, Any]:
        """SendMessage, to this queue or to the dead-letter queue."""
        request = json.loads(request_body)
        self.sent += 1
        if request["QueueUrl"] == DEAD_LETTER_QUEUE_URL:
            attributes = request["MessageAttributes"]
            self.dead[attributes["message_id"]["StringValue"]] = attributes["reason"]["StringValue"]
        else:
            self.send({"messageId": f"sent {self.sent}", "body": request["MessageBody"]}, at)
        return {"MessageId": f"sent {self.sent}"}

    def send_message_batch(self, request_body: bytes, at: datetime) -> dict[str, Any]:
        """SendMessageBatch to this queue."""
        entries = json.loads(request_body)["Entries"]
        for entry in entries:
            self.sent += 1
            self.send({"messageId": f"sent {self.sent}", "body": entry["MessageBody"]}, at)
        return {"Successful": [{"Id": entry["Id"]} for entry in entries], "Failed": []}

    def change_visibility(self, request_body: bytes, at: datetime) -> dict[str, Any]:
        """ChangeMessageVisibilityBatch."""
        entries = json.loads(request_body)["Entries"]
        for entry in entries:
            if message := self.messages.get(entry["ReceiptHandle"]):
                message.visible_at = at + timedelta(seconds=entry["VisibilityTimeout"])
        return {"Successful": [{"Id": entry["Id"]} for entry in entries], "Failed": []}

    def next_visible(self) -> datetime | None:
        return min((message.visible_at for message in self.messages.values()), default=None)
