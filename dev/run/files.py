"""The files of a run: the generated sample, or the files of a folder."""

import json
import os
import random
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from dev.emulator.feed import InputFile
from toolkit.errors import UsageError

MAX_PUT_BYTES = 5 * 1024**3
MAX_KEY_BYTES = 1024
KB = 1024

# Limits under which the sample makes several manifests: files of 20 to 82 KB, manifests of up to 420 KB.
SAMPLE_PARAMETERS = {
    "ExpectedFileSizeMb": "0.05",
    "SizeTolerancePercent": "60",
    "MaxBatchSizeGb": "0.0004",
    # So that a message that fails on a busy machine comes back within the run.
    "RetryDelaySeconds": "1",
}
FIRST_DAY = datetime(2025, 12, 23, tzinfo=UTC)
SECOND_DAY = FIRST_DAY + timedelta(days=1)
DELETED = "returns/2025-12-25-returns.ndjson"
UPLOADED_AGAIN = "orders/2025-12-23/orders-2025-12-23T00.ndjson"
DELIVERED_TWICE = "orders/2025-12-23/orders-2025-12-23T01.ndjson"
POISON = '{"greeting": "I am JSON, but no S3 event"}'


@dataclass(frozen=True, slots=True)
class Feed:
    """When the workflow is done with `first`, `deleted` goes and `later` comes; then `delivered_twice` has its event
    sent again.
    """

    first: list[InputFile]
    later: list[InputFile] = field(default_factory=list)
    deleted: str | None = None
    delivered_twice: str | None = None
    poison: str | None = None

    @property
    def files(self) -> list[InputFile]:
        return self.first + self.later


def folder_feed(folder: Path, date: str | None) -> Feed:
    """Every file below a folder; keys are relative paths, below `date` if one is given. Raises UsageError.

    Links to folders are not followed.
    """
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        message = f"there is no folder {folder} ({error.strerror}): name one that holds NDJSON files"
        raise UsageError(message) from None
    if not stat.S_ISDIR(mode):
        raise UsageError(f"{folder} is not a folder: name the folder that holds the file")
    files = []
    paths = (Path(parent, name) for parent, _, names in os.walk(folder, onerror=_refuse_folder) for name in names)
    for path in sorted(path for path in paths if path.is_file()):
        relative = path.relative_to(folder).as_posix()
        key = f"{date}/{relative}" if date else relative
        files.append(InputFile(key, path))
        _check_file(path, key)
    if not files:
        raise UsageError(f"{folder} holds no files: put NDJSON files into it, or leave INPUT out for the sample")
    return Feed(files)


def _refuse_folder(error: OSError) -> NoReturn:
    raise UsageError(f"the folder {error.filename} is not readable: change its permissions, or take it out")


def _check_file(path: Path, key: str) -> None:
    try:
        key_bytes = len(key.encode())
    except UnicodeEncodeError:
        raise UsageError(f"the name of {os.fsencode(path)!r} is not UTF-8, as S3 keys are: rename it") from None
    if key_bytes > MAX_KEY_BYTES:
        raise UsageError(f"the key {key[:60]}... has {key_bytes} bytes, S3 takes {MAX_KEY_BYTES}: shorten it")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{path} is not readable: change its permissions, or take it out of the folder")
    if path.stat().st_size > MAX_PUT_BYTES:
        raise UsageError(f"{path} is larger than the 5 GB of one S3 upload: take it out of the folder")


def sample_feed() -> Feed:
    """About 60 files with everything that happens to files; the same at every run."""
    rows = RowWriter(random.Random(20251223))

    def orders(day: datetime, hours: range) -> list[InputFile]:
        return [
            InputFile(
                f"orders/{day:%Y-%m-%d}/orders-{day:%Y-%m-%d}T{hour:02}.ndjson",
                rows.file(rows.random.randint(44, 60) * KB, day + timedelta(hours=hour)),
                refused=False,
            )
            for hour in hours
        ]

    def valid(key: str, note: str) -> InputFile:
        return InputFile(key, rows.file(48 * KB, FIRST_DAY), note, refused=False)

    def refused(key: str, size_bytes: int, note: str) -> InputFile:
        return InputFile(key, rows.file(size_bytes, FIRST_DAY), note, refused=True)

    first = [
        *orders(FIRST_DAY, range(12)),
        valid("returns/eu/2025-12-23-returns.ndjson", "same name in two folders"),
        valid("returns/us/2025-12-23-returns.ndjson", "same name in two folders"),
        *orders(SECOND_DAY, range(24)),
        valid("exports/2025-12-24 Aufträge + Rückläufer №7.ndjson", "spaces, + and unicode in the key"),
        valid("customers/customers.ndjson", "no date in the key: the day of its event"),
        valid("orders/2025-99-99-orders.ndjson", "no such day: the day of its event"),
        valid(DELETED, "deleted while it waits"),
        refused("orders/2025-12-23-orders.csv", 48 * KB, "not .ndjson"),
        refused("orders/2025-12-23-ORDERS.NDJSON", 48 * KB, "not .ndjson: case matters"),
        refused("orders/2025-12-23-partial.ndjson", 3 * KB, "too small"),
        refused("orders/2025-12-24-backfill.ndjson", 160 * KB, "too large"),
        refused("orders/2025-12-24-empty.ndjson", 0, "empty"),
    ]
    later = [
        InputFile(UPLOADED_AGAIN, rows.file(51 * KB, FIRST_DAY), "uploaded twice, with other content", refused=False),
        *orders(FIRST_DAY, range(12, 24)),
    ]
    return Feed(first, later, DELETED, DELIVERED_TWICE, POISON)


class RowWriter:
    """Rows that look like an order log."""

    def __init__(self, generator: random.Random) -> None:
        self.random = generator

    def file(self, size_bytes: int, since: datetime) -> bytes:
        """As many whole rows as fit."""
        content = bytearray()
        while len(row := self._row(since)) + len(content) <= size_bytes:
            content += row
        return bytes(content)

    def _row(self, since: datetime) -> bytes:
        choose = self.random
        order = {
            "order_id": f"{choose.getrandbits(64):016x}",
            "ordered_at": (since + timedelta(milliseconds=choose.randrange(3_600_000))).isoformat(
                timespec="milliseconds"
            ),
            "customer": {
                "id": choose.randrange(10_000, 99_999),
                "city": choose.choice(["Köln", "Lyon", "Porto", "Gdańsk"]),
            },
            "items": [
                {"sku": f"SKU-{choose.randrange(1000, 9999)}", "quantity": choose.randint(1, 5)}
                for _ in range(choose.randint(1, 3))
            ],
            "total": choose.randrange(499, 49_999) / 100,
            "currency": choose.choice(["EUR", "PLN", "USD"]),
        }
        return json.dumps(order, ensure_ascii=False).encode() + b"\n"
