"""Helpers of the unit tests: events from tests/events, files, rows, and AWS calls that fail on demand."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
from botocore.exceptions import ClientError, ReadTimeoutError

from dev.simulator.world import (
    INPUT_BUCKET,
    MANIFEST_BUCKET,
    QUARANTINE_BUCKET,
    TRACKING_TABLE,
    World,
)
from dev.template import table_schema
from manifest_builder import aws, clock, inputs
from manifest_builder.documents import NamedFile, to_document
from manifest_builder.files import FileVersion, ObjectVersion
from manifest_builder.manifests import ManifestRecord
from manifest_builder.rows import FileRow
from manifest_builder.tracking import file_rows, locks, manifest_records

EVENTS = Path(__file__).parents[1] / "events"
NOON = datetime(2025, 12, 23, 12, 0, 0, tzinfo=UTC)
DATE = "2025-12-23"
MB = 1024**2


def body(name: str) -> str:
    """The body of a queue message, from tests/events."""
    return (EVENTS / name).read_text(encoding="utf-8")


def event(name: str) -> Any:
    """An event from tests/events, decoded."""
    return json.loads(body(name))


class Account(World):
    """A simulated account for single functions. Its clock stands still until `wait`. It has no state machine."""

    tick = timedelta(0)
    """Each reading of the clock advances it by this much."""

    def now(self) -> datetime:
        self.later += self.tick
        return NOON + self.later

    def _create(self) -> None:
        # DynamoDB and Glue: the functions' own clients. S3: a second client, because tests call S3 while they intercept
        # a call of the functions' client.
        self.dynamodb, self.glue = aws.dynamodb(), aws.glue()
        self.s3 = boto3.client("s3")
        self.dynamodb.create_table(TableName=TRACKING_TABLE, **table_schema())
        for bucket in (INPUT_BUCKET, MANIFEST_BUCKET, QUARANTINE_BUCKET):
            self.s3.create_bucket(Bucket=bucket)
        self.create_job()

    def moment(self, **ahead: float) -> str:
        """The clock's time plus `ahead` (arguments of timedelta), in the table's format."""
        return clock.to_text(NOON + self.later + timedelta(**ahead))

    def row(self, file: FileVersion) -> dict[str, Any]:
        return self.files()[file.file_path]

    def lock(self) -> dict[str, Any]:
        (lock,) = self.locks()
        return lock

    def record(self) -> dict[str, Any]:
        (record,) = self.manifest_records()
        return record


def is_current(file: FileVersion | None) -> "mock._patch[mock.Mock]":
    """Make `current_version` return this file's version; with None, the bucket has no such object."""
    version = ObjectVersion(file.version_id, file.etag) if file else None
    return mock.patch.object(inputs, "current_version", mock.Mock(return_value=version))


def a_file(key: str = f"in/{DATE}-a.ndjson", size_bytes: int = MB, **changes: Any) -> FileVersion:
    facts: dict[str, Any] = {
        "message_id": "message-1",
        "bucket": INPUT_BUCKET,
        "key": key,
        "size_bytes": size_bytes,
        "etag": "d41d8cd98f00b204e9800998ecf8427e",
        "version_id": None,
        "sequencer": "0055AED6DCD90281E5",
    }
    return FileVersion(**(facts | changes))


def a_row(**attributes: Any) -> FileRow:
    """The row of a file with these attributes."""
    file = a_file()
    key = {"date_prefix": DATE, "file_name": file.base_name, "file_path": file.file_path}
    return FileRow.from_item(key | {"status": "pending", "created_at": clock.to_text(NOON)} | attributes)


def track(*sizes: int, date_prefix: str = DATE) -> list[str]:
    """Track pending files of these sizes, one after the other. Returns their paths."""
    files = [a_file(f"in/{date_prefix}-{number:03d}.ndjson", size) for number, size in enumerate(sizes)]
    for file in files:
        assert file_rows.track_file(date_prefix, file).outcome == "tracked"
    return [file.file_path for file in files]


def a_manifest(token: str = "token-1", **changes: Any) -> ManifestRecord:
    facts: dict[str, Any] = {
        "date_prefix": DATE,
        "record_name": f"batch-0001-{token}",
        "file_path": f"s3://{MANIFEST_BUCKET}/manifests/{DATE}/batch-0001-{token}.json",
        "file_count": 2,
        "file_size_bytes": 2 * MB,
        "cut": clock.to_text(NOON),
        "created_at": clock.to_text(NOON),
    }
    return ManifestRecord(**(facts | changes))


def a_document(*paths: str) -> str:
    """A manifest that names these files, in the version of `a_file()`."""
    file = a_file()
    return to_document(NamedFile(path, file.version_id, file.etag, file.size_bytes) for path in paths)


def manifest_state(**changes: Any) -> dict[str, Any]:
    """What CreateManifest says of `a_manifest()`, as far as UpdateStatus needs it."""
    manifest = a_manifest()
    state: dict[str, Any] = {
        "record": {"date_prefix": f"MANIFEST#{DATE}", "file_name": manifest.record_name},
        "manifest_path": manifest.file_path,
        "cut": manifest.cut,
        "marked": False,
        "stale_starter": None,
        "stale_attempted_at": None,
    }
    return state | changes


def commit(manifest: ManifestRecord, run_id: str = "run-1") -> None:
    """Acquire the lock, commit the manifest, release the lock."""
    token = manifest.record_name.removeprefix("batch-0001-")
    assert locks.acquire(manifest.date_prefix, run_id, token, clock.now())
    manifest_records.commit(manifest, token, clock.now())
    assert locks.release(manifest.date_prefix, run_id, token)


def aws_error(code: str, operation: str = "Operation", **response: Any) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": code}, **response}
    return ClientError(answer, operation)


def cancelled(*reasons: str) -> ClientError:
    """The error of a cancelled transaction, with one reason for each of its actions."""
    codes = [{"Code": reason} for reason in reasons]
    return aws_error("TransactionCanceledException", "TransactWriteItems", CancellationReasons=codes)


ANSWER_LOST = ReadTimeoutError(endpoint_url="https://aws.example")


@contextmanager
def intercepted(client: Any, method: str, around: Callable[..., Any]) -> Iterator[mock.Mock]:
    """Replace the method by `around(proceed, number, arguments)`; `number` counts the calls from 1."""
    original = getattr(client, method)
    calls = mock.Mock()

    def replacement(**arguments: Any) -> Any:
        calls(**arguments)
        return around(lambda: original(**arguments), calls.call_count, arguments)

    with mock.patch.object(client, method, replacement):
        yield calls


@contextmanager
def failing(client: Any, method: str, *errors: Exception) -> Iterator[mock.Mock]:
    """The next calls raise these errors and have no effect; later calls go through."""

    def around(proceed: Callable[[], Any], number: int, _: Any) -> Any:
        if number <= len(errors):
            raise errors[number - 1]
        return proceed()

    with intercepted(client, method, around) as calls:
        yield calls


@contextmanager
def answer_lost(client: Any, method: str) -> Iterator[mock.Mock]:
    """The first call takes effect, but its response is lost."""

    def around(proceed: Callable[[], Any], number: int, _: Any) -> Any:
        answer = proceed()
        if number == 1:
            raise ANSWER_LOST
        return answer

    with intercepted(client, method, around) as calls:
        yield calls
