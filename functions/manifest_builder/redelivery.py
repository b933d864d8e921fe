"""Planning of executions and redelivery: which messages share an execution, and when a failed one comes back. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

# Step Functions takes 256 KiB of UTF-8; 1 KiB is left for the rest of the input.
MAX_INPUT_BYTES = 256 * 1024 - 1024
# From this receive on a message runs alone, so that garbage does not take its neighbours to the dead-letter queue.
ALONE_FROM_RECEIVE = 3
MAX_VISIBILITY_SECONDS = 43200
"""The longest visibility timeout (Amazon SQS quotas)."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the input queue. `receives` counts its deliveries, this one included."""

    message_id: str
    receipt_handle: str
    receives: int
    body: str

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Of a record in an Amazon SQS event."""
        return cls(
            record["messageId"],
            record["receiptHandle"],
            int(record["attributes"]["ApproximateReceiveCount"]),
            record["body"],
        )

    def to_state(self) -> dict[str, str]:
        """The fields that ParseEvent needs; nothing else is sent."""
        return {"messageId": self.message_id, "body": self.body}

    @property
    def input_bytes(self) -> int:
        """Bytes that the message takes in the input of an execution."""
        return len(json.dumps(self.to_state(), ensure_ascii=False).encode(errors="surrogatepass")) + 2


@dataclass(frozen=True, slots=True)
class Retry:
    """A message that goes back to the queue, and whether it must not come back before a lease has ended."""

    message: Message
    after_lease: bool


def group(messages: list[Message]) -> Iterator[list[Message]]:
    """The messages of each execution: together what fits the payload; alone what came too often, or is too large."""
    together: list[Message] = []
    size = 0
    for message in messages:
        if message.receives >= ALONE_FROM_RECEIVE or is_too_large([message]):
            yield [message]
            continue
        if size + message.input_bytes > MAX_INPUT_BYTES:
            yield together
            together, size = [], 0
        together.append(message)
        size += message.input_bytes
    if together:
        yield together


def is_too_large(messages: list[Message]) -> bool:
    """Whether the messages exceed the input of one execution."""
    return sum(message.input_bytes for message in messages) > MAX_INPUT_BYTES


def execution_input(messages: list[Message]) -> str:
    """The input of the state machine for these messages."""
    return json.dumps({"sweep": False, "messages": [message.to_state() for message in messages]}, ensure_ascii=False)


def delay_seconds(retry: Retry, retry_delay_seconds: int, lock_ttl_seconds: int) -> int:
    """Seconds until the message is visible again: `retry_delay_seconds` times its receives, and not before the end of
    a lease that its execution may have left."""
    delay = retry_delay_seconds * retry.message.receives
    if retry.after_lease:
        delay = max(delay, lock_ttl_seconds + 1)
    return min(delay, MAX_VISIBILITY_SECONDS)
