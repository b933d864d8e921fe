"""The operators' commands as a shell runs them, their AWS calls, and the messages in the queue afterwards."""

import json
import os
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from types import SimpleNamespace
from typing import Any, Self
from unittest import mock

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from dev.simulator.world import (
    INPUT_BUCKET,
    REGION,
    TRACKING_TABLE,
    Execution,
    World,
    client,
    message,
)
from manifest_builder import announcements, clock
from manifest_builder.tracking import table
from ops import cli, flush
from ops.stack import Stack

MB = 1024**2
DATE = "2025-12-23"
READS = ("BatchGet", "Describe", "Get", "Head", "List", "Query", "Scan")


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str
    calls: list[str]

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def writes(self) -> list[str]:
        return [call for call in self.calls if not call.startswith(READS)]


class Operator(World):
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__()
        self._capsys = capsys

    def __enter__(self) -> Self:
        super().__enter__()
        announcements.sqs.cache_clear()
        self.s3.put_bucket_versioning(Bucket=INPUT_BUCKET, VersioningConfiguration={"Status": "Enabled"})
        self.sqs = client("sqs")
        self.started: list[str] = []
        self.dead_letters = self.sqs.create_queue(QueueName="input-dlq")["QueueUrl"]
        self.queue = self.sqs.create_queue(QueueName="input")["QueueUrl"]
        self.stack = Stack("the-stack", REGION, INPUT_BUCKET, self.queue, self.dead_letters, self.machine)
        return self

    def __exit__(self, *exception: object) -> None:
        # An execution that still runs would continue in the account of the next test.
        try:
            self.wait_for_executions()
        finally:
            super().__exit__(*exception)

    def ops(self, *arguments: str, answer: str | BaseException | None = None) -> Said:
        """Run a command. `answer`: the text typed at the terminal, or a function called instead; None: no terminal."""
        calls: list[str] = []
        operator = self
        make = BaseClient._make_api_call  # type: ignore[attr-defined]

        def recorded(self: BaseClient, operation: str, parameters: Any) -> Any:
            calls.append(operation)
            if operation == "StartMessageMoveTask":
                # moto does not support this operation; the emulator responds like this.
                raise ClientError({"Error": {"Code": "InvalidAction", "Message": "not valid"}}, operation)
            if operation == "StartExecution":
                operator._started_at = clock.to_text(operator.now())
            answer = make(self, operation, parameters)
            if operation == "StartExecution":
                operator.started.append(answer["executionArn"])
            return answer

        stdin = mock.Mock(isatty=lambda: answer is not None, readline=mock.Mock(side_effect=[answer]))
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(BaseClient, "_make_api_call", recorded))
            stack.enter_context(mock.patch.object(cli, "find_stack", return_value=self.stack))
            stack.enter_context(mock.patch("sys.stdin", stdin))
            stack.enter_context(mock.patch.object(flush, "time", SimpleNamespace(sleep=self._sleep)))
            self._capsys.readouterr()
            code = cli.main(arguments)
        printed = self._capsys.readouterr()
        return Said(code, printed.out, printed.err, calls)

    def _sleep(self, seconds: float) -> None:
        """The executions that the command has started go on while it waits."""
        with redirect_stdout(StringIO()):  # functions print their metrics
            self.wait_for_executions()
        self.wait(seconds=seconds)

    def put(self, key: str, size_bytes: int = MB) -> dict[str, str]:
        """Put an object of this size without an event. Returns the response of S3."""
        answer: dict[str, str] = self.s3.put_object(Bucket=INPUT_BUCKET, Key=key, Body=bytes(size_bytes))
        return answer

    def put_and_tell(self, key: str, **event: Any) -> None:
        """Put an object, and run the workflow on its event."""
        put = self.put(key)
        self.deliver(message(key, MB, etag=put["ETag"].strip('"'), version_id=put.get("VersionId"), **event))

    def queued(self) -> list[dict[str, str]]:
        """Take all messages out of the queue, as state."""
        found: list[dict[str, str]] = []
        while messages := self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages"):
            found += [{"messageId": sent["MessageId"], "body": sent["Body"]} for sent in messages]
            for sent in messages:
                self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=sent["ReceiptHandle"])
        return found

    def deliver_queued(self) -> Execution:
        return self.deliver(*self.queued())

    def wait_for_executions(self) -> None:
        """Waits until the executions that the commands have started have ended."""
        for execution_arn in self.started:
            self.engine.wait_for_end(self.sfn, execution_arn)

    def a_manifest(self, *keys: str, **changes: Any) -> dict[str, Any]:
        """Build a manifest of these files and change its record. None removes an attribute."""
        self.deliver(*(self.upload(key, MB) for key in keys))
        self.wait(days=2)
        self.sweep()
        (record,) = [record for record in self.manifest_records() if record["status"] == "started"]
        if changes.get("status") in ("failed", "succeeded"):
            self.end_run(record["job_run_id"], changes["status"].upper())
        if changes:
            self.change(record, **changes)
        return {**record, **changes}

    def change(self, row: dict[str, Any], **changes: Any) -> None:
        changed = {name: value for name, value in (row | changes).items() if value is not None}
        self.dynamodb.put_item(TableName=TRACKING_TABLE, Item=table.to_dynamodb(changed))

    def settings(self, **variables: str) -> None:
        """Change parameters of the stack, and the functions' environment variables with them."""
        os.environ.update(variables)
        self._forget_caches()
