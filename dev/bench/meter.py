"""A simulated account with a meter: it counts the calls to AWS, and DynamoDB's units."""

import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self
from unittest import mock

from botocore.awsrequest import AWSResponse
from moto.core.botocore_stubber import BotocoreStubber
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
from moto.stepfunctions.parser.models import stepfunctions_parser_backends

import start_workflow
from dev.bench import units
from dev.bench.counts import Counts
from dev.simulator import wire
from dev.simulator.context import AT_ITS_BEGINNING
from dev.simulator.world import ACCOUNT, BEGINNING, REGION, TRACKING_TABLE, Execution, World
from manifest_builder import telemetry

WRITES = {"PutItem", "UpdateItem", "DeleteItem"}
READS = {"Query", "Scan", "GetItem"}
DEPLOYED_MANIFEST_BUCKET = f"manifest-builder-prod-manifests-{ACCOUNT}-{REGION}"
LIKE_DEPLOYED = {
    "MANIFEST_BUCKET": DEPLOYED_MANIFEST_BUCKET,
    # In every log line if tracing is on.
    "_X_AMZN_TRACE_ID": "Root=1-692f1a2b-4c5d6e7f8091a2b3c4d5e6f7;Parent=53995c3f42cd8ad8;Sampled=1",
}
# What an invocation takes of the world's clock, which every look at it moves on by a millisecond. A mark looks twice: a
# date's rows take 500 marks a second (marking.mark_manifested).
INVOCATION = timedelta(milliseconds=250)
EXECUTION_ARN = (
    f"arn:aws:states:{REGION}:{ACCOUNT}:express:manifest-builder-prod:"
    "b7e151628aed2a6abf7158809cf4f3c7:1f3d5b79-2c4e-4a6b-8c0d-e1f203142536"
)


@dataclass
class MeteredWorld(World):
    """Counts the calls, state entries, writes and log bytes of a `metering` block into `counts`."""

    environment: dict[str, str] = field(default_factory=lambda: dict(LIKE_DEPLOYED))

    def __enter__(self) -> Self:
        super().__enter__()
        self.s3.create_bucket(Bucket=DEPLOYED_MANIFEST_BUCKET)
        self.table = dynamodb_backends[ACCOUNT][REGION].tables[TRACKING_TABLE]
        keys = {key["AttributeName"] for key in self.table.schema}
        self._indexes = [
            units.LocalIndex(
                sort_key=index.schema[1]["AttributeName"],
                projected=frozenset(keys | {index.schema[1]["AttributeName"], *index.projection["NonKeyAttributes"]}),
            )
            for index in self.table.indexes
        ]
        self._counts = Counts()
        self._metering = False
        self._function = ""
        self._emulator_ns = 0
        self._lock = threading.RLock()
        self._tap = _Tap(self._count_log_line)
        world, send = self, BotocoreStubber.__call__

        def metered_send(stubber: BotocoreStubber, event_name: str, request: Any, **_: Any) -> AWSResponse | None:
            return world._send(event_name, request, lambda: send(stubber, event_name, request))

        def metered_event(events: EventManager, **event: Any) -> None:
            world._count_event(**event)

        enter = self._exit.enter_context
        enter(mock.patch.object(BotocoreStubber, "__call__", metered_send))
        enter(mock.patch.object(EventManager, "_publish_history_event", metered_event))
        for handler in telemetry.logger.handlers:
            enter(mock.patch.object(handler, "stream", self._tap))
        self._exit.callback(telemetry.logger.setLevel, telemetry.logger.log_level)
        telemetry.logger.setLevel("DEBUG")
        return self

    @staticmethod
    def _forget_caches() -> None:
        World._forget_caches()
        start_workflow.stepfunctions.cache_clear()

    @contextmanager
    def metering(self) -> Iterator[Counts]:
        """Yields the counts of the block, complete at its end."""
        self._counts = Counts()
        self._metering = True
        stored = self._stored_bytes()
        started = time.perf_counter()
        try:
            with redirect_stdout(self._tap):
                yield self._counts
        finally:
            self._counts.seconds = time.perf_counter() - started
            self._counts.stored_bytes = self._stored_bytes() - stored
            self._metering = False

    # The work

    def trigger(self, messages: Sequence[dict[str, str]]) -> None:
        """Delivers one batch of messages, as the event source mapping does."""
        event = {"Records": [_queue_record(message) for message in messages]}
        with self._inside("StartWorkflow"):
            self._count_invocation("StartWorkflow")
            answer = start_workflow.handler(event, AT_ITS_BEGINNING)
        assert answer == {"batchItemFailures": []}, answer
        self._counts.files += len(messages)

    def run_alone(
        self, name: str, handler: Callable[[dict[str, Any], Any], Any], messages: Sequence[dict[str, str]]
    ) -> None:
        """Give one batch of messages to a function that does all of the work itself."""
        event = {"Records": [_queue_record(message) for message in messages]}
        with self._inside(name):
            self._count_invocation(name)
            handler(event, None)
        self._counts.files += len(messages)

    def seed(self, items: Iterable[units.Item]) -> None:
        """Puts items into the table without counting them."""
        for item in items:
            self.table.put_item(dict(item))

    def _stored_bytes(self) -> int:
        return sum(map(units.stored_bytes, self.items()))

    def items(self) -> list[units.Item]:
        return [_attributes(item) for item in self.table.all_items()]

    def execute(self, execution_input: dict[str, Any]) -> Execution:
        self._counts.executions += 1
        with self._inside("StateMachine"):
            execution = super().execute(execution_input)
        # A day has more executions than this process has room for.
        backend = stepfunctions_parser_backends[ACCOUNT][REGION]
        backend.describe_state_machine(self.machine).executions.clear()
        return execution

    def _read_path(self, execution_arn: str) -> Counter[str]:
        """The history is counted as it is written, and not kept."""
        return Counter()

    def call(self, state: str, event: dict[str, Any]) -> Any:
        self._count_invocation(state)
        self.later += INVOCATION
        started, in_emulator = time.process_time_ns(), self._emulator_ns
        with self._inside(state):
            try:
                return super().call(state, event)
            finally:
                elsewhere = self._emulator_ns - in_emulator
                self._counts.cpu_ns[state] += time.process_time_ns() - started - elsewhere

    @contextmanager
    def _inside(self, function: str) -> Iterator[None]:
        """Whose calls are counted. One function runs at a time."""
        outer, self._function = self._function, function
        try:
            yield
        finally:
            self._function = outer

    # Counting

    def _send(self, event_name: str, request: Any, send: Callable[[], AWSResponse | None]) -> AWSResponse | None:
        _, service, operation = event_name.split(".")
        if operation == "StartSyncExecution":
            self._count_call(service, operation)
            return self.start_sync_execution(request)
        if service == "sfn" or not self._metering:
            return send()
        with self._lock:
            started = time.thread_time_ns()
            body = json.loads(wire.body_of(request)) if service == "dynamodb" else {}
            before = self._items_written(operation, body)
            response = send()
            assert response is not None, f"moto does not know {service} {operation}"
            self._count_call(service, operation)
            if operation in READS:
                self._count_read(body, json.loads(response.content))
            elif before:
                self._count_writes(operation, body, before, went_through=response.status_code < 300)
            self._emulator_ns += time.thread_time_ns() - started
            return response

    def _items_written(self, operation: str, body: dict[str, Any]) -> list[units.Item | None]:
        """The items that a request writes or checks, as they are now."""
        return [self._item(key) for key in _keys_written(operation, body)]

    def _item(self, key: dict[str, Any]) -> units.Item | None:
        found = self.table.get_item(DynamoType(key["date_prefix"]), DynamoType(key["file_name"]))
        return _attributes(found) if found else None

    def _count_writes(
        self, operation: str, body: dict[str, Any], before: list[units.Item | None], *, went_through: bool
    ) -> None:
        cost = units.transaction_write_units if operation == "TransactWriteItems" else units.write_units
        after = self._items_written(operation, body)
        if went_through:
            self._counts.write_units += sum(
                cost(old, new, self._indexes) for old, new in zip(before, after, strict=True)
            )
        else:
            factor = 2 if operation == "TransactWriteItems" else 1
            self._counts.write_units += factor * sum(units.failed_write_units(old, body.get("Item")) for old in before)

    def _count_read(self, body: dict[str, Any], answer: dict[str, Any]) -> None:
        returned = [answer["Item"]] if "Item" in answer else answer.get("Items", [])
        if "FilterExpression" in body:
            size = self._bytes_of_rows(body, answer["ScannedCount"])
        elif "ProjectionExpression" in body:
            size = self._bytes_of_entries(answer["ScannedCount"])
        else:
            size = sum(map(units.item_bytes, returned))
        self._counts.read_units += units.read_units(size, consistent=body.get("ConsistentRead", False))
        self._counts.items_read += answer.get("ScannedCount", len(returned))
        self._counts.items_returned_in[self._function] += len(returned)
        self._counts.bytes_read_in[self._function] += size

    def _bytes_of_rows(self, body: dict[str, Any], number: int) -> int:
        """The rows of a partition that a filtered page has looked at: they are paid for, returned or not."""
        placeholder = body["KeyConditionExpression"].split("=")[1].strip()
        partition = self.table.items[DynamoType(body["ExpressionAttributeValues"][placeholder])]
        start = body.get("ExclusiveStartKey", {}).get("file_name", {}).get("S", "")
        names = sorted(key.value for key in partition if key.value > start)[:number]
        return sum(units.item_bytes(_attributes(partition[DynamoType({"S": name})])) for name in names)

    def _bytes_of_entries(self, number: int) -> int:
        """A page of the index of which only some attributes were asked for: whole entries are paid for."""
        (index,) = self._indexes
        entries = [entry for item in self.items() if (entry := index.entry(item))]
        return sum(map(units.item_bytes, entries)) * number // max(1, len(entries))

    def _count_call(self, service: str, operation: str) -> None:
        self._counts.calls[f"{service} {operation}"] += 1
        self._counts.calls_in[f"{self._function} {operation}"] += 1

    def _count_invocation(self, function: str) -> None:
        self._counts.invocations[function] += 1

    def _count_event(self, **event: Any) -> None:
        counts = self._counts
        details: dict[str, Any] = next(iter((event["event_details"] or {}).values()), {})
        with self._lock:
            if event["event_type"].endswith("StateEntered"):
                counts.transitions[details["name"]] += 1
            for data in (details.get("input"), details.get("output")):
                counts.largest_state_bytes = max(counts.largest_state_bytes, len((data or "").encode()))
            line = EventManager._create_history_log(**event, execution_arn=EXECUTION_ARN, include_execution_data=True)
            counts.execution_log_events += 1
            counts.execution_log_bytes += len(json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode())

    def _count_log_line(self, line: str) -> None:
        document = json.loads(line)
        level = document.get("level", "METRICS")
        self._counts.log_lines[level] += 1
        self._counts.log_bytes[level] += len(line.encode())
        for directive in document.get("_aws", {}).get("CloudWatchMetrics", []):
            self._counts.metrics.update(metric["Name"] for metric in directive["Metrics"])


class _Tap(io.TextIOBase):
    """A stream that hands on whole lines."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take, self._rest = take, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._take(line)
        return len(text)


def _queue_record(message: dict[str, str]) -> dict[str, Any]:
    return {
        "messageId": message["messageId"],
        "receiptHandle": message["messageId"],
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": str(int(BEGINNING.timestamp() * 1000))},
        "body": message["body"],
    }


def _keys_written(operation: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    if operation == "TransactWriteItems":
        actions = [action for item in body["TransactItems"] for action in item.values()]
        return [action.get("Key") or action["Item"] for action in actions]
    return [body.get("Key") or body["Item"]] if operation in WRITES else []


def _attributes(item: Any) -> units.Item:
    attributes: units.Item = item.to_json()["Attributes"]
    return attributes
