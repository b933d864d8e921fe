"""The work: a day's files as S3 announces them, and a day that has been under way for long."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from dev.bench.units import Item
from dev.paths import EVENTS
from dev.simulator.world import ACCOUNT, REGION
from manifest_builder import clock
from manifest_builder.settings import MB

DATE = "2025-12-23"
BUCKET = f"manifest-builder-prod-input-{ACCOUNT}-{REGION}"
TYPICAL_BYTES = 3_670_016
"""3.5 MB, the size of the specification's example."""
SMALL_BYTES = int(0.15 * MB)
MORNING = datetime(2025, 12, 23, 6, tzinfo=UTC)
EVENT = EVENTS / "s3_put.json"


def messages(first: int, number: int, size_bytes: int) -> list[dict[str, str]]:
    """The queue messages of the `first` and following files of the day."""
    return [_message(index, size_bytes) for index in range(first, first + number)]


def _message(index: int, size_bytes: int) -> dict[str, str]:
    event: dict[str, Any] = json.loads(EVENT.read_text())
    (record,) = event["Records"]
    record["s3"]["bucket"] |= {"name": BUCKET, "arn": f"arn:aws:s3:::{BUCKET}"}
    record["s3"]["object"] = _s3_object(index, size_bytes)
    return {"messageId": f"{index:08x}-3b1c-4f5d-9e6a-7c8d9e0f1a2b", "body": json.dumps(event, separators=(",", ":"))}


def _s3_object(index: int, size_bytes: int) -> dict[str, Any]:
    return {
        "key": f"folder1/{_name(index)}",
        "size": size_bytes,
        "eTag": f"{index:032x}",
        "sequencer": _sequencer(index),
    }


def _name(index: int) -> str:
    return f"{DATE}-file{index:06}.ndjson"


def _sequencer(index: int) -> str:
    return f"0055AED6DC{index:08X}"


def alike(row: Item, first: int, number: int) -> Iterator[Item]:
    """Rows of the `first` and following files, otherwise like `row`; each has arrived a millisecond after the last."""
    for index in range(first, first + number):
        own = {
            "file_name": _name(index),
            "file_path": f"s3://{BUCKET}/folder1/{_name(index)}",
            "etag": f"{index:032x}",
            "sequencer": _sequencer(index),
            "pending_since": clock.to_text(MORNING + index * timedelta(milliseconds=1)),
        }
        yield {name: {"S": own[name]} if name in own else value for name, value in row.items()}


def lock_of_another_run() -> Item:
    return {
        "date_prefix": {"S": f"LOCK#manifest-{DATE}"},
        "file_name": {"S": "LOCK"},
        "lock_id": {"S": "another run"},
        "token": {"S": "its token"},
        "ttl": {"N": str(2**33)},
    }
