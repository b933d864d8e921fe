"""Reads the facts after a run from S3, DynamoDB, Glue and SQS. Report and verdict use nothing else."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from dev.emulator.deploy import Deployment
from dev.emulator.emulator import Emulator
from toolkit.facts import (
    LOCK_PREFIX,
    MANIFEST_PREFIX,
    Facts,
    FileRow,
    JobResult,
    JobRun,
    Upload,
    Version,
    file_row,
    manifest_of,
    versions_in,
)
from toolkit.objects import keys_and_etags

FINISHED_STATES = ("SUCCEEDED", "FAILED", "TIMEOUT", "STOPPED", "ERROR")

deserialize = TypeDeserializer().deserialize


@dataclass(frozen=True, slots=True)
class Tracked:
    """The tracking table."""

    files: list[FileRow]
    manifests: list[dict[str, Any]]
    locks: list[str]


def read_facts(
    emulator: Emulator, deployment: Deployment, uploads: list[Upload], poison: list[str], deleted: Sequence[str] = ()
) -> Facts:
    tracked = read_table(emulator, deployment)
    manifests = [manifest_of(row, _read_versions(emulator, row["file_path"])) for row in tracked.manifests]
    return Facts(
        uploads=uploads,
        deleted=deleted,
        poison=poison,
        objects={
            f"s3://{deployment.input_bucket}/{key}": etag
            for key, etag in keys_and_etags(emulator.s3, deployment.input_bucket)
        },
        files=tracked.files,
        manifests=sorted(manifests, key=lambda manifest: (manifest.date, manifest.created_at)),
        locks=tracked.locks,
        runs=read_runs(emulator, deployment),
        results=dict(_results(emulator, deployment)),
        copies=dict(keys_and_etags(emulator.s3, deployment.quarantine_bucket)),
        messages_left=count_messages(emulator, deployment.input_queue_url),
        dead_letters=read_messages(emulator, deployment.dead_letter_queue_url),
        events=[json.loads(body)["detail"] for body in read_messages(emulator, deployment.events_queue_url)],
    )


def read_table(emulator: Emulator, deployment: Deployment) -> Tracked:
    tracked = Tracked([], [], [])
    pages = emulator.dynamodb.get_paginator("scan").paginate(TableName=deployment.tracking_table, ConsistentRead=True)
    for page in pages:
        for item in page["Items"]:
            row = {name: deserialize(value) for name, value in item.items()}
            if row["date_prefix"].startswith(LOCK_PREFIX):
                tracked.locks.append(row["date_prefix"].removeprefix(LOCK_PREFIX))
            elif row["date_prefix"].startswith(MANIFEST_PREFIX):
                tracked.manifests.append(row)
            elif "file_path" in row:
                tracked.files.append(file_row(row))
    return tracked


def _read_versions(emulator: Emulator, manifest_path: str) -> list[Version] | None:
    """The versions that a manifest's object names; None if there is no such object."""
    bucket, _, key = manifest_path.removeprefix("s3://").partition("/")
    try:
        document = json.loads(emulator.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except emulator.s3.exceptions.NoSuchKey:
        return None
    return list(versions_in(document))


def read_runs(emulator: Emulator, deployment: Deployment) -> list[JobRun]:
    pages = emulator.glue.get_paginator("get_job_runs").paginate(JobName=deployment.job_name)
    return [
        JobRun(run["Id"], run["Arguments"].get("--MANIFEST_PATH", ""), run["JobRunState"], run.get("ErrorMessage", ""))
        for page in pages
        for run in page["JobRuns"]
    ]


def _results(emulator: Emulator, deployment: Deployment) -> Iterator[tuple[str, JobResult]]:
    for key, _ in keys_and_etags(emulator.s3, deployment.result_bucket, "results/"):
        result = json.loads(emulator.s3.get_object(Bucket=deployment.result_bucket, Key=key)["Body"].read())
        yield (
            result["manifest"],
            JobResult(result["files"], result["rows"], tuple((uri, version) for uri, version in result["versions"])),
        )


def count_messages(emulator: Emulator, queue_url: str) -> int:
    """Messages that wait, are being worked on, or come back later."""
    attributes = emulator.sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    return (
        int(attributes["ApproximateNumberOfMessages"])
        + int(attributes["ApproximateNumberOfMessagesNotVisible"])
        + int(attributes["ApproximateNumberOfMessagesDelayed"])
    )


def read_messages(emulator: Emulator, queue_url: str) -> list[str]:
    """The bodies of a queue's messages, which stay in it."""
    bodies: dict[str, str] = {}
    handles: list[str] = []
    while messages := emulator.sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
        bodies |= {message["MessageId"]: message["Body"] for message in messages}
        handles += [message["ReceiptHandle"] for message in messages]
    for handle in handles:
        emulator.sqs.change_message_visibility(QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=0)
    return list(bodies.values())
