"""Messages of S3 about new objects, as S3 itself writes them (S3 user guide, "Event message structure")."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus


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
    region: str,
    version_id: str | None = None,
    sequencer: str | None = None,
) -> dict[str, Any]:
    """The record of a new object in an S3 notification."""
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
