"""Every AWS call of the functions and the Glue job: workflow scenarios, the trigger, the job, and rare paths."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from unittest import mock

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ReadTimeoutError
from moto.glue.models import glue_backends

import audit_files
import quarantine_file
from dev.faults.lab import Lab
from dev.faults.scenarios import prepare_mixed
from dev.simulator.acts import DAY, LIMIT_30_MB, MB, deliver
from dev.simulator.context import Context
from dev.simulator.world import (
    ACCOUNT,
    BEGINNING,
    GLUE_JOB,
    INPUT_BUCKET,
    MANIFEST_BUCKET,
    REGION,
    TRACKING_TABLE,
    Function,
    World,
    message,
)
from glue import ndjson_to_parquet
from manifest_builder import aws, planning
from manifest_builder.documents import NamedFile, to_document
from manifest_builder.manifests import START_SETTLE_SECONDS
from manifest_builder.settings import settings
from manifest_builder.tracking import retention, table
from tests.permissions.needs import Call
from tests.permissions.policies import ALARM_TOPIC, COLUMN_TYPES, GLUE_DATABASE, GLUE_TABLE, NAME_PREFIX, OUTPUT_BUCKET
from tests.permissions.recording import Recording
from tests.template.catalog import make_table
from tests.unit.support import DATE, a_manifest, answer_lost, aws_error, commit
from tests.workflow.scenarios import SCENARIOS, busy, the_run_ends, with_glue

REFUSED = f"in/{DAY}-a.csv"
SMALLEST_PART = 5 * MB

JOB = "GlueJob"
SCRIPT = {"Bucket": "aws-sam-cli-managed-default-samclisourcebucket-1", "Key": f"{NAME_PREFIX}/0123456789abcdef"}
CALL_OF_GLUE = Call(JOB, "s3", "GetObject", SCRIPT, 200)
"""With the role of the job, where no recording can see it."""


def record() -> list[Call]:
    calls: list[Call] = []
    for scenario in SCENARIOS:
        with World(environment=scenario.environment) as world, Recording(calls):
            for step in scenario.steps:
                step.act(world)
    with Lab(environment=LIMIT_30_MB) as lab, Recording(calls):
        prepare_mixed(lab)
        lab.deliver_all()
        a_large_message_is_divided(lab)
        functions_are_throttled(lab)
    for path in RARE_PATHS:
        with World(environment=LIMIT_30_MB) as world, Recording(calls):
            path(world)
    with World() as world, Recording(calls) as recording:
        manifest_path = prepare_manifest(world)
        with recording.calls_of(JOB):
            the_glue_job_reads(manifest_path)
            the_glue_job_writes()
            ndjson_to_parquet.read_column_types(mock.Mock(), COLUMN_TYPES)
            the_glue_job_registers_its_output()
    return [*calls, CALL_OF_GLUE]


def a_large_message_is_divided(lab: Lab) -> None:
    records = [json.loads(lab.upload(f"{DAY}-{number}.ndjson", MB)["body"])["Records"][0] for number in range(2)]
    body = json.dumps({"Records": [record | {"padding": "x" * 200_000} for record in records]})
    lab.queue.send({"messageId": "large", "body": body}, lab.time())
    lab.deliver_all()


def functions_are_throttled(lab: Lab) -> None:
    def throttle(function: Function, event: dict[str, Any]) -> Any:
        raise type("Lambda.TooManyRequestsException", (Exception,), {})

    lab.around["ParseEvent"] = throttle
    lab.arrive(f"{DAY}-throttled.ndjson", MB)
    lab.deliver_all()
    del lab.around["ParseEvent"]


def a_version_of_a_file_is_refused(world: World) -> None:
    world.s3.put_bucket_versioning(Bucket=INPUT_BUCKET, VersioningConfiguration={"Status": "Enabled"})
    version = world.s3.put_object(Bucket=INPUT_BUCKET, Key=REFUSED, Body=b"{}")["VersionId"]
    world.deliver(message(REFUSED, 2, version_id=version))


def versions_of_a_file_come_late_and_the_file_is_deleted(world: World) -> None:
    key = f"in/{DAY}-versions.ndjson"
    for number in (2, 3, 1):
        world.deliver(world.upload(key, MB, version_id=f"v{number}", sequencer=f"{number:02}"))
    world.deliver(world.delete(key, sequencer="04"))
    assert {row["status"] for row in [world.files()[f"s3://{INPUT_BUCKET}/{key}"], *world.older_versions()]} == {
        "deleted"
    }


def a_refused_file_has_vanished(world: World) -> None:
    world.deliver(message(REFUSED, 2))


def a_large_file_is_refused(world: World) -> None:
    world.s3.put_object(Bucket=INPUT_BUCKET, Key=REFUSED, Body=bytes(2 * SMALLEST_PART))
    in_parts = TransferConfig(multipart_threshold=SMALLEST_PART, multipart_chunksize=SMALLEST_PART)
    with mock.patch.object(quarantine_file, "COPY", in_parts):
        world.deliver(message(REFUSED, 2 * SMALLEST_PART))


def a_copy_in_parts_fails(world: World) -> None:
    def fail(**_: object) -> None:
        raise aws_error("InternalError", "UploadPartCopy")

    aws.s3_for_copies().meta.events.register("before-call.s3.UploadPartCopy", fail)
    a_large_file_is_refused(world)


def the_answer_to_a_commit_is_lost(world: World) -> None:
    def around(function: Function, event: dict[str, Any]) -> Any:
        with answer_lost(aws.dynamodb(), "transact_write_items"), pytest.raises(ReadTimeoutError):
            function(event, None)
        # The retry, as if it had read the open manifests before the first commit took effect.
        with mock.patch.object(planning, "open_manifests", return_value=[]):
            return function(event, None)

    world.around["CreateManifest"] = around
    deliver(3)(world)


def prepare_manifest(world: World) -> str:
    """The path of a manifest of two files whose record names no run. One of the files does not exist."""
    manifest = a_manifest()
    commit(manifest)
    uris = [f"s3://{INPUT_BUCKET}/{name}.ndjson" for name in ("there", "gone")]
    world.s3.put_object(Bucket=INPUT_BUCKET, Key="there.ndjson", Body=b"{}")
    world.s3.create_bucket(Bucket=OUTPUT_BUCKET)
    make_table(GLUE_DATABASE, GLUE_TABLE)
    bucket, key = ndjson_to_parquet.split_uri(COLUMN_TYPES)
    world.s3.create_bucket(Bucket=bucket)
    world.s3.put_object(Bucket=bucket, Key=key, Body=ndjson_to_parquet.to_spark({"a": "long"}))
    key = manifest.file_path.removeprefix(f"s3://{MANIFEST_BUCKET}/")
    world.s3.put_object(
        Bucket=MANIFEST_BUCKET, Key=key, Body=to_document(NamedFile(uri, None, None, None) for uri in uris).encode()
    )
    return manifest.file_path


def the_glue_job_reads(manifest_path: str) -> None:
    dynamodb = boto3.client("dynamodb")
    assert ndjson_to_parquet.take_manifest(dynamodb, TRACKING_TABLE, DATE, manifest_path, "jr_1", lambda seconds: None)
    files, gone = ndjson_to_parquet.read_manifest(manifest_path), mock.Mock()
    assert len(list(ndjson_to_parquet.read_lines(boto3.client("s3"), files, gone))) == 1
    gone.assert_called_once()
    for version in ("null", "gone"):
        ndjson_to_parquet.open_file(boto3.client("s3"), (files[0][0], version, None), gone)


def the_glue_job_writes() -> None:
    """A run that replaces the output of an earlier one, after a task has run twice."""
    s3, folders = boto3.client("s3"), ("parquet/date=2025-12-23/manifest=a/", "malformed/date=2025-12-23/manifest=a/")
    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(b"rows")
        for _ in range(2):
            first, second = (
                ndjson_to_parquet.upload(s3, OUTPUT_BUCKET, folders[0] + "x", Path(file.name)) for _ in "12"
            )
            ndjson_to_parquet.abort(s3, OUTPUT_BUCKET, first)
            ndjson_to_parquet.publish(s3, OUTPUT_BUCKET, *folders, [second], {})
    for _ in range(2):
        ndjson_to_parquet.extend_document(
            s3, OUTPUT_BUCKET, "schema.json", lambda stored: {**stored, f"column {len(stored)}": "long"}
        )


def the_glue_job_registers_its_output() -> None:
    """Also a partition that another attempt has added meanwhile."""
    catalog, values = ndjson_to_parquet.Catalog(GLUE_DATABASE, GLUE_TABLE), [DATE, "a"]
    for _ in range(2):
        catalog.add_partition(values, f"s3://{OUTPUT_BUCKET}/parquet/", lambda: {"a": "long"})
    catalog.remove_partition(values)


def rows_expire(world: World) -> None:
    """The processes of functions remember the retention one by one; here they are one process, made anew."""
    with mock.patch.dict("os.environ", RETENTION_DAYS="30"):
        settings.cache_clear()
        deliver(3)(world)
    for box, days, act in (
        ("UpdateStatus", 20, deliver(3, folder="b")),
        ("QuarantineFile", 10, lambda world: world.deliver(message(REFUSED, 2))),
        ("RecordRemoval", 5, lambda world: world.deliver(world.delete(f"in/{DAY}-unknown.ndjson"))),
    ):
        world.around[box] = in_a_new_process
        with mock.patch.dict("os.environ", RETENTION_DAYS=str(days)):
            settings.cache_clear()
            act(world)
        del world.around[box]


def in_a_new_process(function: Function, event: dict[str, Any]) -> Any:
    retention.remember.cache_clear()
    retention.read.cache_clear()
    return function(event, None)


def an_operator_sends_versions_of_his_own(world: World) -> None:
    """Messages of a valid file, an invalid file, and a file that has been deleted since."""
    for key, size in ((f"in/{DAY}-a.ndjson", MB), (REFUSED, MB)):
        world.deliver(world.upload(key, size, sequencer="01"))
        world.deliver(world.upload(key, size, sequencer=None, etag="another"))
    world.deliver(world.upload(f"in/{DAY}-b.ndjson", MB, sequencer=None))
    world.deliver(world.delete(f"in/{DAY}-b.ndjson"))


def a_failed_run_is_reported(world: World) -> None:
    topic = boto3.client("sns").create_topic(Name=ALARM_TOPIC.rpartition(":")[2])["TopicArn"]
    assert topic == ALARM_TOPIC
    deliver(3)(world)
    with mock.patch.dict("os.environ", ALARM_TOPIC_ARN=topic):
        settings.cache_clear()
        the_run_ends("FAILED")(world)


def delete_all_manifest_objects(world: World) -> None:
    for path in world.manifest_objects():
        world.s3.delete_object(Bucket=MANIFEST_BUCKET, Key=path.removeprefix(f"s3://{MANIFEST_BUCKET}/"))


def the_object_of_a_manifest_is_gone(world: World) -> None:
    """Before its start was claimed, and after it."""

    def delete_first(function: Function, event: dict[str, Any]) -> Any:
        del world.around["UpdateStatus"]
        delete_all_manifest_objects(world)
        return function(event, None)

    world.around["UpdateStatus"] = delete_first
    deliver(3)(world)
    with_glue(busy, deliver(3, day="2025-12-24"))(world)
    world.wait(seconds=START_SETTLE_SECONDS + 1)
    world.around["UpdateStatus"] = delete_first
    world.sweep()


def a_run_fails_of_a_job_that_glue_retries(world: World) -> None:
    deliver(3)(world)
    glue_backends[ACCOUNT][REGION].jobs[GLUE_JOB].max_retries = 1
    the_run_ends("FAILED")(world)


def the_end_of_a_run_is_told_twice(world: World) -> None:
    deliver(3)(world)
    the_run_ends("SUCCEEDED")(world)
    (run,) = world.starts
    world.tell_of_run(run)


def a_failed_run_is_reported_whose_manifest_is_gone(world: World) -> None:
    def delete_first(function: Function, event: dict[str, Any]) -> Any:
        delete_all_manifest_objects(world)
        return function(event, None)

    world.around["RecordOutcome"] = delete_first
    a_failed_run_is_reported(world)


def an_audit_finds_what_is_missing(world: World) -> None:
    """A lost event, a row whose manifest is not there, a manifest whose object is gone, and one that was void."""
    boto3.client("sqs").create_queue(QueueName="input-queue")
    the_object_of_a_manifest_is_gone(world)
    world.upload(f"in/{DAY}-lost.ndjson", MB)
    deliver(3, folder="b")(world)
    (row, *_) = (row for row in world.files().values() if row["status"] == "manifested")
    world.dynamodb.put_item(TableName=TRACKING_TABLE, Item=table.to_dynamodb(row | {"manifest_path": "s3://a/b"}))
    delete_all_manifest_objects(world)
    world.later = datetime.now(UTC) + timedelta(hours=1) - BEGINNING
    answer = audit_files.handler({}, Context(900_000))
    assert answer["complete"]
    assert answer["missing"]
    assert answer["problems"]


RARE_PATHS: list[Callable[[World], object]] = [
    a_version_of_a_file_is_refused,
    versions_of_a_file_come_late_and_the_file_is_deleted,
    a_refused_file_has_vanished,
    a_large_file_is_refused,
    a_copy_in_parts_fails,
    the_answer_to_a_commit_is_lost,
    rows_expire,
    an_operator_sends_versions_of_his_own,
    a_failed_run_is_reported,
    the_object_of_a_manifest_is_gone,
    a_run_fails_of_a_job_that_glue_retries,
    the_end_of_a_run_is_told_twice,
    a_failed_run_is_reported_whose_manifest_is_gone,
    an_audit_finds_what_is_missing,
]
