"""The deployed stack as the tests see it."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from dev.emulator.deploy import Deployment
from dev.emulator.emulator import Emulator
from dev.emulator.facts import read_facts, read_table
from toolkit.facts import Facts, FileRow

WAIT_SECONDS = 60
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stack:
    emulator: Emulator
    deployment: Deployment

    def uri(self, key: str) -> str:
        return f"s3://{self.deployment.input_bucket}/{key}"

    def files(self, date: str) -> dict[str, FileRow]:
        """The rows of a date by their URI."""
        return {row.uri: row for row in read_table(self.emulator, self.deployment).files if row.date == date}

    def facts(self) -> Facts:
        return read_facts(self.emulator, self.deployment, [], [])

    def event(self, key: str, size_bytes: int, sequencer: str = "01", **changes: str) -> str:
        """The S3 notification of an object. Only QuarantineFile and the job read the object itself."""
        facts = {"key": key, "size": size_bytes, "eTag": f"{len(key):032x}", "sequencer": sequencer}
        record = {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "eventTime": "2025-12-23T00:00:00.000Z",
            "s3": {
                "bucket": {"name": self.deployment.input_bucket},
                "object": facts | changes,
            },
        }
        return json.dumps({"Records": [record]})

    def log_lines(self, box: str) -> Iterator[dict[str, Any]]:
        """The log lines of a function, without its metrics."""
        logs = self.emulator.logs
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{self.deployment.stack_name}"
        )
        for page in pages:
            for event in page["events"]:
                for text in event["message"].splitlines():
                    line = json.loads(text) if text.startswith('{"level"') else {}
                    if line.get("box") == box:
                        yield line


def eventually(read: Callable[[], T], is_met: Callable[[T], bool]) -> T:
    """The value of `read` as soon as it meets the condition. Fails after WAIT_SECONDS."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        value = read()
        if is_met(value):
            return value
        assert time.monotonic() < deadline, f"not within {WAIT_SECONDS} s; last seen: {value}"
        time.sleep(0.2)
