"""Feeding the deployed workflow: uploads as a user makes them, and the messages that a queue sees on a bad day."""

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

from local.deploy import Deployment
from local.emulator import REGION, Emulator
from local.facts import FileRow, Upload
from local.files import InputFile

UPLOAD_THREADS = 4


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
                bucket, key, size_bytes=row.size_bytes, etag=row.etag, at=datetime.now(UTC), sequencer=row.sequencer
            )
        ]
    )


def notification(records: Sequence[dict[str, Any]]) -> str:
    """The body of a message from S3."""
    return json.dumps({"Records": records})


def object_created(
    bucket: str,
    key: str,
    *,
    size_bytes: int,
    etag: str,
    at: datetime,
    version_id: str | None = None,
    sequencer: str | None = None,
    region: str = REGION,
) -> dict[str, Any]:
    """The record of a new object in an S3 notification (S3 user guide, "Event message structure")."""
    optional = {"versionId": version_id, "sequencer": sequencer}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
            "object": {
                "key": quote_plus(key, safe="/"),
                "size": size_bytes,
                "eTag": etag,
                **{name: value for name, value in optional.items() if value},
            },
        },
    }
