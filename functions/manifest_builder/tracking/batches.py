"""Reads of many items by their keys, a hundred a request (BatchGetItem)."""

import random
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from manifest_builder import aws, clock
from manifest_builder.settings import settings
from manifest_builder.tracking import table

MAX_BATCH_GET = 100
"""Keys in one request (DynamoDB, BatchGetItem)."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
"""Seconds between two requests for keys that the table returned unprocessed."""


@dataclass(frozen=True, slots=True)
class BatchRead:
    """Items that exist, and how many keys were not read before the deadline."""

    items: list[table.Item]
    left: int


def read(keys: Collection[tuple[str, str]], until: datetime | None = None) -> BatchRead:
    """Reads items by their (date_prefix, file_name) consistently, a hundred keys a request.

    Keys that the table returns unprocessed are requested again after a pause. `until` is a deadline: throttled requests
    are repeated up to it, and no request begins after it. Without a deadline a throttled request raises ClientError.
    """
    name = settings().tracking_table
    items: list[table.Item] = []
    left: list[Any] = [table.key(*of_item) for of_item in keys]
    pause = FIRST_PAUSE
    while left and (until is None or clock.now() < until):
        requested, later = left[:MAX_BATCH_GET], left[MAX_BATCH_GET:]
        request: Any = {name: {"Keys": requested, "ConsistentRead": True}}
        try:
            answer: Any = aws.dynamodb().batch_get_item(RequestItems=request)
        except ClientError as error:
            if until is None or table.error_code(error) not in table.THROTTLED:
                raise
            unprocessed = requested
        else:
            items += map(table.from_dynamodb, answer["Responses"].get(name, []))
            unprocessed = answer["UnprocessedKeys"].get(name, {}).get("Keys", [])
        left = unprocessed + later
        if unprocessed:
            time.sleep(random.uniform(0.5, 1) * pause)
            pause = min(2 * pause, LONGEST_PAUSE)
    return BatchRead(items, len(left))
