"""The facts after a run, read from S3, DynamoDB, Glue and SQS. Report and verdict use nothing else."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

from boto3.dynamodb.types import TypeDeserializer

from dev.emulator.deploy import Deployment
from dev.emulator.emulator import Emulator

LOCK_PREFIX = "LOCK#"
MANIFEST_PREFIX = "MANIFEST#"
FINISHED_STATES = ("SUCCEEDED", "FAILED", "TIMEOUT", "STOPPED", "ERROR")

deserialize = TypeDeserializer().deserialize

Version: TypeAlias = tuple[str, str]
"""The URI of a file, and the version: its id, or, in a bucket without versions, its etag."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One version of one file, as it was uploaded."""

    uri: str
    etag: str
    size_bytes: int
    refused: bool | None = None
    version_id: str | None = None

    @property
    def version(self) -> Version:
        return self.uri, self.version_id or self.etag


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row: of a file's newest version, or of an older one."""

    date: str
    file_name: str
    uri: str
    etag: str
    size_bytes: int
    status: str
    sequencer: str | None = None
    reason: str | None = None
    manifest_path: str | None = None
    pending_since: str | None = None
    deleted_at: str | None = None
    version_id: str | None = None

    @property
    def version(self) -> Version:
        return self.uri, self.version_id or self.etag


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest record with what its object names; `versions` is None if the object is missing."""

    date: str
    path: str
    status: str
    file_count: int
    size_bytes: int
    created_at: str
    job_run_id: str | None
    versions: tuple[Version, ...] | None

    @property
    def uris(self) -> tuple[str, ...]:
        return tuple(uri for uri, _ in self.versions or ())


@dataclass(frozen=True, slots=True)
class JobRun:
    run_id: str
    manifest_path: str
    state: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a job run has read."""

    files: int
    rows: int
    versions: tuple[Version, ...]


@dataclass(frozen=True, slots=True)
class Tracked:
    """The tracking table."""

    files: list[FileRow]
    manifests: list[dict[str, Any]]
    locks: list[str]


@dataclass(frozen=True, slots=True)
class Facts:
    uploads: list[Upload]
    deleted: Sequence[str]
    """URIs of the uploads that were deleted again."""
    poison: list[str]
    objects: dict[str, str]
    """Etags of the objects in the input bucket, by URI."""
    files: list[FileRow]
    manifests: list[Manifest]
    locks: list[str]
    runs: list[JobRun]
    results: dict[str, JobResult]
    """By path of the manifest."""
    copies: dict[str, str]
    """Etags of the objects in the quarantine bucket, by key."""
    messages_left: int
    dead_letters: list[str]


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
            for key, etag in list_objects(emulator, deployment.input_bucket)
        },
        files=tracked.files,
        manifests=sorted(manifests, key=lambda manifest: (manifest.date, manifest.created_at)),
        locks=tracked.locks,
        runs=read_runs(emulator, deployment),
        results=dict(_results(emulator, deployment)),
        copies=dict(list_objects(emulator, deployment.quarantine_bucket)),
        messages_left=count_messages(emulator, deployment.input_queue_url),
        dead_letters=read_messages(emulator, deployment.dead_letter_queue_url),
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


def file_row(row: dict[str, Any]) -> FileRow:
    return FileRow(
        date=row["date_prefix"],
        file_name=row["file_name"],
        uri=row["file_path"],
        # Of a file that was deleted before it was heard of nothing else is known.
        etag=row.get("etag", ""),
        size_bytes=int(row.get("file_size_bytes", 0)),
        status=row["status"],
        sequencer=row.get("sequencer"),
        reason=row.get("reason"),
        manifest_path=row.get("manifest_path"),
        pending_since=row.get("pending_since"),
        deleted_at=row.get("deleted_at"),
        version_id=row.get("version_id"),
    )


def manifest_of(row: dict[str, Any], versions: Iterable[Version] | None) -> Manifest:
    return Manifest(
        date=row["date_prefix"].removeprefix(MANIFEST_PREFIX),
        path=row["file_path"],
        status=row["status"],
        file_count=int(row["file_count"]),
        size_bytes=int(row["file_size_bytes"]),
        created_at=row["created_at"],
        job_run_id=row.get("job_run_id"),
        versions=None if versions is None else tuple(versions),
    )


def short_manifest_names(manifests: list[Manifest]) -> dict[str, str]:
    """`12-23 #1`: the date less its year, and the number of the manifest of the date in order of creation."""
    names: dict[str, str] = {}
    for _, of_date in groupby(manifests, key=lambda manifest: manifest.date):
        for number, manifest in enumerate(of_date, start=1):
            names[manifest.path] = f"{manifest.date[5:]} #{number}"
    return names


def _read_versions(emulator: Emulator, manifest_path: str) -> list[Version] | None:
    """The versions that a manifest's object names; None if there is no such object."""
    bucket, _, key = manifest_path.removeprefix("s3://").partition("/")
    try:
        document = json.loads(emulator.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except emulator.s3.exceptions.NoSuchKey:
        return None
    return [(file["uri"], file["versionId"] or file["etag"]) for file in document["files"]]


def read_runs(emulator: Emulator, deployment: Deployment) -> list[JobRun]:
    pages = emulator.glue.get_paginator("get_job_runs").paginate(JobName=deployment.job_name)
    return [
        JobRun(run["Id"], run["Arguments"].get("--MANIFEST_PATH", ""), run["JobRunState"], run.get("ErrorMessage", ""))
        for page in pages
        for run in page["JobRuns"]
    ]


def _results(emulator: Emulator, deployment: Deployment) -> Iterator[tuple[str, JobResult]]:
    for key, _ in list_objects(emulator, deployment.result_bucket, "results/"):
        result = json.loads(emulator.s3.get_object(Bucket=deployment.result_bucket, Key=key)["Body"].read())
        yield (
            result["manifest"],
            JobResult(result["files"], result["rows"], tuple((uri, version) for uri, version in result["versions"])),
        )


def list_objects(emulator: Emulator, bucket: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Keys and etags."""
    for page in emulator.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            yield item["Key"], item["ETag"].strip('"')


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
