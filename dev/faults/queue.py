"""The queue between S3 and the trigger: redelivery, visibility timeout, dead letters. Time is the world's."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

VISIBILITY_SECONDS = 900
MAX_RECEIVES = 5
BATCH = 10


@dataclass
class Message:
    message_id: str
    body: str
    visible_at: datetime
    receives: int = 0


class Queue:
    """At-least-once delivery as the template configures it."""

    def __init__(self) -> None:
        self.messages: dict[str, Message] = {}
        self.dead: dict[str, Message] = {}

    def send(self, message: dict[str, str], at: datetime) -> None:
        self.messages[message["messageId"]] = Message(message["messageId"], message["body"], at)

    def receive(self, at: datetime) -> list[dict[str, Any]]:
        """Up to ten visible messages, as records of an Amazon SQS event; they become invisible."""
        records = []
        for message in [message for message in self.messages.values() if message.visible_at <= at][:BATCH]:
            if message.receives == MAX_RECEIVES:
                self.dead[message.message_id] = self.messages.pop(message.message_id)
                continue
            message.receives += 1
            message.visible_at = at + timedelta(seconds=VISIBILITY_SECONDS)
            records.append(
                {
                    "messageId": message.message_id,
                    "receiptHandle": message.message_id,
                    "attributes": {"ApproximateReceiveCount": str(message.receives)},
                    "body": message.body,
                }
            )
        return records

    def acknowledge(self, message_id: str) -> None:
        self.messages.pop(message_id, None)

    def change_visibility(self, request_body: bytes, at: datetime) -> dict[str, Any]:
        """ChangeMessageVisibilityBatch."""
        entries = json.loads(request_body)["Entries"]
        for entry in entries:
            if message := self.messages.get(entry["ReceiptHandle"]):
                message.visible_at = at + timedelta(seconds=entry["VisibilityTimeout"])
        return {"Successful": [{"Id": entry["Id"]} for entry in entries], "Failed": []}

    def next_visible(self) -> datetime | None:
        return min((message.visible_at for message in self.messages.values()), default=None)
