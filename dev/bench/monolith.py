"""The monolith of the specification: one function does everything, in the order of the flow chart.

For every tracked file it reads the whole partition of the file's date to check the threshold. Where the specification
leaves a choice, the cheap way is taken:
DynamoDB filters by status, reads are eventually consistent, nothing is logged.
"""

import json
import os
import re
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import boto3
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_s3 import S3Client

MB = 1024**2
GB = 1024**3


@dataclass(frozen=True, slots=True)
class TrackedFile:
    name: str
    path: str
    size_bytes: float


def handler(event: dict[str, Any], context: object) -> None:
    """An SQS event of up to ten messages, each of them an S3 notification."""
    for message in event["Records"]:
        for record in json.loads(message["body"])["Records"]:
            s3_object = record["s3"]["object"]
            process_file(record["s3"]["bucket"]["name"], unquote_plus(s3_object["key"]), s3_object["size"])


def process_file(bucket: str, key: str, size_bytes: int) -> None:
    reason = reason_to_refuse(key, size_bytes)
    if reason:
        quarantine(bucket, key)
        return
    date, name = date_and_name(key)
    track(date, name, f"s3://{bucket}/{key}", size_bytes)
    if sum(file.size_bytes for file in pending_files(date)) >= max_batch_bytes():
        build_manifests(date)


def reason_to_refuse(key: str, size_bytes: int) -> str | None:
    expected_mb = float(os.environ.get("EXPECTED_FILE_SIZE_MB", "10"))
    tolerance = float(os.environ.get("SIZE_TOLERANCE_PERCENT", "99")) / 100
    if not key.endswith(".ndjson"):
        return "Invalid extension"
    if not expected_mb * (1 - tolerance) <= size_bytes / MB <= expected_mb * (1 + tolerance):
        return f"Size {size_bytes / MB:.2f}MB out of range"
    return None


def quarantine(bucket: str, key: str) -> None:
    target = os.environ.get("QUARANTINE_BUCKET")
    if target:
        s3().copy_object(CopySource={"Bucket": bucket, "Key": key}, Bucket=target, Key=key)


def date_and_name(key: str) -> tuple[str, str]:
    found = re.search(r"\d{4}-\d{2}-\d{2}", key)
    return found.group() if found else datetime.now(UTC).strftime("%Y-%m-%d"), key.rsplit("/", maxsplit=1)[-1]


def track(date: str, name: str, path: str, size_bytes: int) -> None:
    dynamodb().put_item(
        TableName=table(),
        Item={
            "date_prefix": {"S": date},
            "file_name": {"S": name},
            "file_path": {"S": path},
            "file_size_mb": {"N": str(size_bytes / MB)},
            "status": {"S": "pending"},
            "created_at": {"S": timestamp()},
        },
    )


def pending_files(date: str) -> list[TrackedFile]:
    """Reads every row of the date, of any status: there is no index."""
    pages = (
        dynamodb()
        .get_paginator("query")
        .paginate(
            TableName=table(),
            KeyConditionExpression="date_prefix = :date",
            FilterExpression="#status = :pending",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":date": {"S": date}, ":pending": {"S": "pending"}},
        )
    )
    return [
        TrackedFile(row["file_name"]["S"], row["file_path"]["S"], float(row["file_size_mb"]["N"]) * MB)
        for page in pages
        for row in page["Items"]
    ]


def build_manifests(date: str) -> None:
    lock_id = f"lambda_{uuid.uuid4().hex}_{time.time_ns() // 10**6}"
    if not acquire_lock(date, lock_id):
        return
    try:
        for index, batch in enumerate(create_batches(pending_files(date)), start=1):
            path = write_manifest(date, index, batch)
            mark_manifested(date, batch)
            glue().start_job_run(JobName=os.environ["GLUE_JOB_NAME"], Arguments={"--MANIFEST_PATH": path})
    finally:
        release_lock(date, lock_id)


def create_batches(files: list[TrackedFile]) -> list[list[TrackedFile]]:
    """Greedy; a rest of at least half a batch is kept, and so is the only batch."""
    batches: list[list[TrackedFile]] = []
    batch: list[TrackedFile] = []
    size = 0.0
    for file in files:
        if batch and size + file.size_bytes > max_batch_bytes():
            batches.append(batch)
            batch, size = [], 0.0
        batch.append(file)
        size += file.size_bytes
    if batch and (size >= max_batch_bytes() / 2 or not batches):
        batches.append(batch)
    return batches


def write_manifest(date: str, index: int, batch: list[TrackedFile]) -> str:
    bucket = os.environ["MANIFEST_BUCKET"]
    key = f"manifests/{date}/batch-{index}-{datetime.now(UTC):%Y%m%d%H%M%S%f}.json"
    document = {"fileLocations": [{"URIPrefixes": [file.path for file in batch]}]}
    s3().put_object(Bucket=bucket, Key=key, Body=json.dumps(document).encode())
    return f"s3://{bucket}/{key}"


def mark_manifested(date: str, batch: list[TrackedFile]) -> None:
    for file in batch:
        dynamodb().update_item(
            TableName=table(),
            Key={"date_prefix": {"S": date}, "file_name": {"S": file.name}},
            UpdateExpression="SET #status = :manifested",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":manifested": {"S": "manifested"}},
        )


def acquire_lock(date: str, lock_id: str) -> bool:
    now = int(time.time())
    try:
        dynamodb().put_item(
            TableName=table(),
            Item={
                **lock_key(date),
                "lock_id": {"S": lock_id},
                "ttl": {"N": str(now + int(os.environ.get("LOCK_TTL_SECONDS", "300")))},
                "created_at": {"S": timestamp()},
            },
            ConditionExpression="attribute_not_exists(date_prefix) OR #ttl < :now",
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues={":now": {"N": str(now)}},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return False
    return True


def release_lock(date: str, lock_id: str) -> None:
    dynamodb().delete_item(
        TableName=table(),
        Key=lock_key(date),
        ConditionExpression="lock_id = :lock_id",
        ExpressionAttributeValues={":lock_id": {"S": lock_id}},
    )


def lock_key(date: str) -> dict[str, Any]:
    return {"date_prefix": {"S": f"LOCK#manifest-{date}"}, "file_name": {"S": "LOCK"}}


def max_batch_bytes() -> int:
    return int(float(os.environ.get("MAX_BATCH_SIZE_GB", "0.7")) * GB)


def table() -> str:
    return os.environ["TRACKING_TABLE"]


def timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@cache
def dynamodb() -> "DynamoDBClient":
    return boto3.client("dynamodb")


@cache
def s3() -> "S3Client":
    return boto3.client("s3")


@cache
def glue() -> "GlueClient":
    return boto3.client("glue")
