"""Planning of executions and redelivery: which messages share an execution, and where a failed one goes. Pure.

A failed message comes back to the queue with a growing delay. It moves to the dead-letter queue at once if it is no S3
event, after OWN_FAILURE if it fails by itself, and shortly before the queue would delete it if services fail.
"""

import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

# Step Functions takes 256 KiB of UTF-8; 1 KiB is left for the rest of the input.
MAX_INPUT_BYTES = 256 * 1024 - 1024
MAX_RECORDS = 400
"""S3 records in one execution. ParseEvent's output has the same limit as its input, and takes about 500 bytes of it for
a file with a long key. An execution whose output is larger all the same is divided."""
LONGEST_DELAY_SECONDS = 1800
"""A message that failed during an outage comes back at most this long after its end."""
OWN_FAILURE = timedelta(hours=20)
"""A message that fails by itself is tried for so long: longer than an outage of half a day, and less than a day."""
OWN_RECEIVES = 20
"""A message counts as failing by itself only after so many receives: one that was merely late is tried again. In 20
hours a message is received about 45 times."""
QUEUE_RETENTION = timedelta(days=14)
"""MessageRetentionPeriod of the input queue. SQS deletes an older message without a word."""
ANY_FAILURE = QUEUE_RETENTION - timedelta(days=1)
"""A message that fails for whatever reason is tried for so long."""
MAX_VISIBILITY_SECONDS = 43200
"""The longest visibility timeout (Amazon SQS quotas)."""
LOCK_NOT_RELEASED = "LockNotReleased"
"""The error of the Fail state for a lock that is held until its lease ends."""
DATES_FAILED = {LOCK_NOT_RELEASED, "ManifestFailed"}
"""The errors of the Fail states: all files were processed, and dates could not go on."""
NO_ANSWER = ("Runtime.", "Sandbox.", "States.Timeout", "Lambda.Unknown")
"""The beginnings of the errors of a function that ended without an answer: its time or memory was used up."""
TOO_MUCH_DATA = "States.DataLimitExceeded"
MAX_MESSAGE_BYTES = 1024 * 1024
"""A message of SQS with its attributes."""
ATTRIBUTE_BYTES = 4096
_KEY = re.compile(r'key\\*"')
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the input queue. `receives` counts its deliveries, this one included; `sent_at` is SQS's clock."""

    message_id: str
    receipt_handle: str
    receives: int
    sent_at: datetime
    body: str

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Of a record in an Amazon SQS event."""
        attributes = record["attributes"]
        return cls(
            record["messageId"],
            record["receiptHandle"],
            int(attributes["ApproximateReceiveCount"]),
            datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
            record["body"],
        )

    def to_state(self) -> dict[str, str]:
        """The fields that ParseEvent needs; nothing else is sent."""
        return {"messageId": self.message_id, "body": self.body}

    @property
    def input_bytes(self) -> int:
        """Bytes that the message takes in the input of an execution."""
        return len(json.dumps(self.to_state(), ensure_ascii=False).encode(errors="surrogatepass")) + 2

    @property
    def fits(self) -> bool:
        """Whether an execution can take the message."""
        return self.input_bytes <= MAX_INPUT_BYTES

    @property
    def records(self) -> int:
        """At least as many as the S3 records in the message, whatever it is wrapped in."""
        return len(_KEY.findall(self.body))

    @property
    def has_room_for_attributes(self) -> bool:
        return len(self.body.encode(errors="surrogatepass")) + ATTRIBUTE_BYTES <= MAX_MESSAGE_BYTES


@dataclass(frozen=True, slots=True)
class Failure:
    """A message that was not processed, and why."""

    message: Message
    error: str
    by_itself: bool = False
    """The execution went on without it, or failed because of its messages; no service was out."""
    after_lease: bool = False
    """Its execution may have left a lock, so it must not come back before the lease has ended."""
    untried: bool = False
    """No time was left for it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message for the dead-letter queue."""

    message: Message
    reason: str


def group(messages: list[Message]) -> Iterator[list[Message]]:
    """The messages of each execution: as many as fit its payload. Each message must fit by itself."""
    together: list[Message] = []
    size = records = 0
    for message in messages:
        if together and (size + message.input_bytes > MAX_INPUT_BYTES or records + message.records > MAX_RECORDS):
            yield together
            together, size, records = [], 0, 0
        together.append(message)
        size += message.input_bytes
        records += message.records
    if together:
        yield together


def is_large(message: Message) -> bool:
    """Whether one execution may not be able to work off the message."""
    return not message.fits or message.records > MAX_RECORDS


def divide(body: str) -> list[str]:
    """The bodies of messages that hold the records of this one, in at least two parts; empty if it has no two records.

    A part that is still too large holds one record.
    """
    try:
        document = json.loads(body)
        if isinstance(document, dict) and document.get("Type") == "Notification":
            document = json.loads(document["Message"])
        records = document["Records"]
        if not isinstance(records, list) or len(records) < 2:
            return []
        return [part for half in halves(records) for part in _parts(half)]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []


def halves(items: list[Item]) -> tuple[list[Item], list[Item]]:
    middle = len(items) // 2
    return items[:middle], items[middle:]


def _parts(records: list[Any]) -> list[str]:
    # In ASCII: a lone surrogate, which JSON may hold as an escape, cannot be sent otherwise.
    body = json.dumps({"Records": records})
    part = Message(" " * 36, "", 1, datetime.fromtimestamp(0, UTC), body)
    if len(records) == 1 or not is_large(part):
        return [body]
    return [part for half in halves(records) for part in _parts(half)]


def execution_input(messages: list[Message]) -> str:
    """The input of the state machine for these messages."""
    return json.dumps({"sweep": False, "messages": [message.to_state() for message in messages]}, ensure_ascii=False)


def is_of_the_messages(error: str) -> bool:
    """Whether an execution failed with this error because of its messages: neither a service nor a date failed."""
    return not error.startswith(("Lambda.", *NO_ANSWER)) and error not in DATES_FAILED


def failures_of_execution(messages: list[Message], error: str, *, after_lease: bool) -> list[Failure]:
    """All messages fail with their execution. `error` is empty if it timed out, was stopped, or did not answer."""
    # A function without an answer: a service that is out, or a message that uses up its time or memory.
    by_itself = bool(error) and (is_of_the_messages(error) or error.startswith(NO_ANSWER))
    return [
        Failure(message, error or "the execution did not end", by_itself=by_itself, after_lease=after_lease)
        for message in messages
    ]


def given_up(failure: Failure, now: datetime) -> Refusal | None:
    """The refusal of a message that has been tried long enough, or else None."""
    age = now - failure.message.sent_at
    is_its_own = failure.by_itself and failure.message.receives >= OWN_RECEIVES
    if age < (OWN_FAILURE if is_its_own else ANY_FAILURE):
        return None
    hours = age.total_seconds() / 3600
    return Refusal(failure.message, f"failed for {hours:.0f} hours, the last time with {failure.error}")


def delay_seconds(failure: Failure, retry_delay_seconds: int, lock_ttl_seconds: int) -> int:
    """Seconds until the message is visible again: twice as long after each receive, up to LONGEST_DELAY_SECONDS, and
    not before the end of a lease that its execution may have left.

    A quarter of it is drawn at random, so that messages that failed together come back apart.
    """
    longest = max(LONGEST_DELAY_SECONDS, retry_delay_seconds)
    doublings = 0 if failure.untried else min(failure.message.receives - 1, 20)
    delay = int(min(retry_delay_seconds * 2**doublings, longest) * random.uniform(0.75, 1))
    if failure.after_lease:
        delay = max(delay, lock_ttl_seconds + 1)
    return min(delay, MAX_VISIBILITY_SECONDS)
