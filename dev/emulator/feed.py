"""Feeding the deployed workflow: uploads as a user makes them, and the messages that a queue sees on a bad day."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dev.emulator.deploy import Deployment
from dev.emulator.emulator import REGION, Emulator
from manifest_builder.announcements import notification, object_created
from toolkit.facts import FileRow, Upload

UPLOAD_THREADS = 4


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to upload. `refused`: whether the sample expects it to be refused, or None."""

    key: str
    content: bytes | Path
    note: str = ""
    refused: bool | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


def upload(emulator: Emulator, deployment: Deployment, files: Iterable[InputFile]) -> list[Upload]:
    """Put every file into the input bucket; S3 announces each one to the queue."""

    def put(file: InputFile) -> Upload:
        with ExitStack() as stack:
            body = file.content if isinstance(file.content, bytes) else stack.enter_context(file.content.open("rb"))
            answer = emulator.s3.put_object(Bucket=deployment.input_bucket, Key=file.key, Body=body)
        return Upload(
            uri=f"s3://{deployment.input_bucket}/{file.key}",
            etag=answer["ETag"].strip('"'),
            size_bytes=file.size_bytes,
            refused=file.refused,
            version_id=answer.get("VersionId"),
        )

    with ThreadPoolExecutor(UPLOAD_THREADS) as pool:
        return list(pool.map(put, files))


def delete(emulator: Emulator, deployment: Deployment, key: str) -> str:
    """Delete a file from the input bucket; S3 announces that too. Returns its URI."""
    emulator.s3.delete_object(Bucket=deployment.input_bucket, Key=key)
    return f"s3://{deployment.input_bucket}/{key}"


def send(emulator: Emulator, deployment: Deployment, body: str) -> None:
    emulator.sqs.send_message(QueueUrl=deployment.input_queue_url, MessageBody=body)


def event_of(row: FileRow) -> str:
    """The S3 notification of a tracked version, as S3 would deliver it a second time."""
    bucket, _, key = row.uri.removeprefix("s3://").partition("/")
    return notification(
        [
            object_created(
                bucket,
                key,
                size_bytes=row.size_bytes,
                etag=row.etag,
                at=datetime.now(UTC),
                region=REGION,
                version_id=row.version_id,
                sequencer=row.sequencer,
            )
        ]
    )
