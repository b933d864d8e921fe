"""The simulated account of executions, with the actions of tests: upload, break, wait, look."""

import importlib
import json
import logging
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, Self
from unittest import mock
from urllib.parse import quote_plus

import boto3
from boto3.dynamodb.types import TypeDeserializer
from botocore.awsrequest import AWSResponse
from moto import mock_aws
from moto.core import models
from moto.core.models import botocore_stubber
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models.dynamo_type import Item, LimitedSizeDict
from moto.dynamodb.models.table import SecondaryIndex
from moto.glue.models import FakeJob, FakeJobRun
from moto.stepfunctions.parser.asl.component.state import state

from dev.engines import history, lambda_endpoint
from dev.engines.lambda_endpoint import Invocation
from dev.simulator import wire
from dev.simulator.engines import MOTO, Engine, Moto
from dev.simulator.shortcuts import shortcuts
from dev.template import definition, table_schema
from manifest_builder import announcements, aws, clock, documents
from manifest_builder.documents import NamedFile
from manifest_builder.rows import FileRow, is_kept_apart
from manifest_builder.settings import settings
from manifest_builder.tracking import audits, retention, turns

INPUT_BUCKET = "input-bucket"
MANIFEST_BUCKET = "manifest-bucket"
QUARANTINE_BUCKET = "quarantine-bucket"
TRACKING_TABLE = "tracking-table"
GLUE_JOB = "glue-job"
ACCOUNT = "123456789012"
REGION = "us-east-1"
DEAD_LETTER_QUEUE_URL = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/dead-letter-queue"

FUNCTIONS = {
    "ParseEvent": "parse_event",
    "ValidateFile": "validate_file",
    "QuarantineFile": "quarantine_file",
    "TrackFile": "track_file",
    "RecordRemoval": "record_removal",
    "CheckThreshold": "check_threshold",
    "AcquireLock": "acquire_lock",
    "CreateManifest": "create_manifest",
    "UpdateStatus": "update_status",
    "ReleaseLock": "release_lock",
    "ReportResult": "report_result",
    "FindStalledDates": "find_stalled_dates",
    "RecordOutcome": "record_outcome",
}

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "MANIFEST_BUCKET": MANIFEST_BUCKET,
    "TRACKING_TABLE": TRACKING_TABLE,
    "QUARANTINE_BUCKET": QUARANTINE_BUCKET,
    "GLUE_JOB_NAME": GLUE_JOB,
    "EVENT_BUS_NAME": "default",
    "POWERTOOLS_SERVICE_NAME": "manifest-builder-test",
    "POWERTOOLS_METRICS_NAMESPACE": "ManifestBuilder",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    "STATE_MACHINE_ARN": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:manifest-builder",
    "QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/input-queue",
    "DEAD_LETTER_QUEUE_URL": DEAD_LETTER_QUEUE_URL,
    "INPUT_BUCKET": INPUT_BUCKET,
}

NOT_FILES = ("LOCK#", "MANIFEST#", retention.PARTITION, turns.PARTITION, audits.PARTITION)
"""The beginnings of the partition keys of items that are no rows of files."""
ETAG = "d41d8cd98f00b204e9800998ecf8427e"
"""Of a file, unless its event says otherwise."""
BEGINNING = datetime(2025, 12, 23, 10, tzinfo=UTC)
TICK = timedelta(milliseconds=1)
"""Time that passes at each reading of the clock, the same in every run."""
Function = Callable[[dict[str, Any], Any], dict[str, Any]]
Around = Callable[[Function, dict[str, Any]], Any]


@dataclass(frozen=True)
class Execution:
    """How an execution ended, and the events of its history."""

    status: str
    output: dict[str, Any] | None
    error: str | None
    history: list[Any]

    @property
    def path(self) -> Counter[str]:
        """The states that were entered, and how often."""
        return Counter(history.states_entered(self.history))


@dataclass
class World:
    """One simulated account. Use as a context manager; everything is gone at its end."""

    environment: dict[str, str] = field(default_factory=dict)
    later: timedelta = timedelta(0)
    around: dict[str, Around] = field(default_factory=dict)
    """By state name: called instead of the function, with the function and its event."""
    edit_definition: Callable[[str], str] = str
    """A test's change of the definition."""
    start_job_run: Callable[[Callable[[], str]], str] | None = None
    """Called instead of Glue's StartJobRun, with the call that really starts the run."""
    engine: Engine = field(default_factory=Moto)

    def __enter__(self) -> Self:
        self._exit = ExitStack()
        try:
            self._enter()
        except BaseException:
            # A patch that stays would break every world after this one.
            self._exit.close()
            raise
        return self

    def _enter(self) -> None:
        self._ticks = 0
        logging.getLogger("moto").setLevel(logging.CRITICAL)
        enter = self._exit.enter_context
        enter(mock.patch.dict("os.environ", ENVIRONMENT | self.environment))
        # All calls come through botocore: preparing moto's answers to other libraries takes 50 ms a world.
        enter(mock.patch.object(models, "RESPONSES_METHODS", []))
        enter(mock_aws(config={"stepfunctions": {"execute_state_machine": True}}))
        enter(shortcuts())
        enter(mock.patch.object(clock, "now", self.now))
        enter(mock.patch.object(boto3, "client", _session().client))
        enter(mock.patch.object(BaseJSONSerializer, "_serialize_type_structure", _serialize_structure))
        enter(mock.patch.object(SecondaryIndex, "project", _index_entry))
        enter(self.engine.attached(self.invoke))
        # The clock by which moto's interpreter tells when a state was entered.
        watch = SimpleNamespace(now=lambda tz: self.time())
        enter(mock.patch.object(state, "datetime", SimpleNamespace(datetime=watch, timezone=timezone)))
        enter(_one_request_at_a_time())
        self.starts: dict[str, datetime] = {}
        start_job_run = FakeJob.start_job_run

        def start(job: FakeJob, **arguments: Any) -> str:
            job_run_id: str = start_job_run(job, **arguments)
            self.starts[job_run_id] = self.now()
            return job_run_id

        enter(
            mock.patch.object(
                FakeJob,
                "start_job_run",
                lambda job, **arguments: self._start_job_run(lambda: start(job, **arguments)),
            )
        )
        # AWS lists the newest runs first.
        enter(mock.patch.object(FakeJob, "get_job_runs", lambda job: job.job_runs[::-1]))
        self.ends: dict[str, dict[str, Any]] = {}
        self.retries: dict[str, dict[str, Any]] = {}
        """By run: what Glue tells of a run that it has started by itself, because the job has MaxRetries."""
        describe = FakeJobRun.as_dict
        enter(
            mock.patch.object(
                FakeJobRun,
                "as_dict",
                lambda run: (
                    describe(run)
                    | {"JobRunState": "RUNNING", "StartedOn": self.starts[run.job_run_id]}
                    | self.ends.get(run.job_run_id, {})
                    | self.retries.get(run.job_run_id, {})
                ),
            )
        )
        self._handlers = threading.RLock()
        self._forget_caches()
        self._exit.callback(self._forget_caches)
        self._create()

    def __exit__(self, *exception: object) -> None:
        self._exit.close()

    @staticmethod
    def _forget_caches() -> None:
        stores = (aws.dynamodb, aws.s3, aws.s3_for_copies, aws.s3_for_lists)
        services = (aws.glue, aws.sns, aws.events, announcements.sqs)
        for cached in (settings, *stores, *services, retention.remember, retention.read):
            cached.cache_clear()

    def _create(self) -> None:
        self.dynamodb = client("dynamodb")
        self.s3 = client("s3")
        self.glue = client("glue")
        self.sfn = client("stepfunctions", self.engine.endpoint_url)
        self.dynamodb.create_table(TableName=TRACKING_TABLE, **table_schema())
        for bucket in (INPUT_BUCKET, MANIFEST_BUCKET, QUARANTINE_BUCKET):
            self.s3.create_bucket(Bucket=bucket)
        iam = client("iam")
        role = iam.create_role(RoleName="role", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        self.create_job()
        arns = {f"{state}FunctionArn": function_arn(state) for state in FUNCTIONS}
        substitutions = arns | {
            "TrackingTableName": TRACKING_TABLE,
            "GlueJobName": GLUE_JOB,
            "GlueStartJobRunResource": "arn:aws:states:::glue:startJobRun",
            "DynamoDbUpdateItemResource": "arn:aws:states:::dynamodb:updateItem",
        }
        self.machine = self.engine.create_machine(self.sfn, self.edit_definition(definition(substitutions)), role)

    def create_job(self) -> None:
        self.glue.create_job(
            Name=GLUE_JOB, Role="role", Command={"Name": "glueetl"}, ExecutionProperty={"MaxConcurrentRuns": 1000}
        )

    # Events

    def time(self) -> datetime:
        """The time as it is: the services' clock. It does not depend on the speed of this machine."""
        self._ticks += 1
        return BEGINNING + self._ticks * TICK + self.later

    def now(self) -> datetime:
        """The time that a function reads from its clock."""
        return self.time()

    def wait(self, **duration: float) -> None:
        """Let time go by."""
        self.later += timedelta(**duration)

    def end_run(self, job_run_id: str, state: str = "SUCCEEDED", message: str | None = None) -> None:
        """Ends a run of the job. Until then the run is running."""
        error = {"ErrorMessage": message} if message else {}
        self.ends[job_run_id] = {"JobRunState": state, "CompletedOn": self.now(), **error}

    def retry_run(self, job_run_id: str) -> str:
        """Glue itself tries a failed run again. Returns the id of the next attempt."""
        failed = self.glue.get_job_run(JobName=GLUE_JOB, RunId=job_run_id)["JobRun"]
        run_id: str = self.glue.start_job_run(JobName=GLUE_JOB, Arguments=failed["Arguments"])["JobRunId"]
        self.retries[run_id] = {"PreviousRunId": job_run_id, "Attempt": failed.get("Attempt", 0) + 1}
        return run_id

    def tell_of_run(self, job_run_id: str) -> Execution:
        """Starts an execution for the end of a run, as EventBridge does."""
        job_runs = [{"job_run_id": job_run_id}]
        return self.execute({"job_runs": job_runs, "dates": [], "rejected": [], "ignored": 0})

    def upload(self, key: str, size_bytes: int, **event: Any) -> dict[str, str]:
        """Puts an object (of the given size, without bytes) and returns the queue message of its event."""
        self.s3.put_object(Bucket=INPUT_BUCKET, Key=key, Body=b"{}\n")
        return message(key, size_bytes, **event)

    def delete(self, key: str, **event: Any) -> dict[str, str]:
        """Deletes an object and returns the queue message of its event."""
        self.s3.delete_object(Bucket=INPUT_BUCKET, Key=key)
        return message_of_removal(key, **event)

    def execute(self, execution_input: dict[str, Any]) -> Execution:
        self._started_at = clock.to_text(self.time())
        arn = self.sfn.start_execution(
            stateMachineArn=self.machine, name=uuid.uuid4().hex, input=json.dumps(execution_input)
        )["executionArn"]
        self.engine.wait_for_end(self.sfn, arn)
        found = self.sfn.describe_execution(executionArn=arn)
        events = self._read_history(arn)
        output = json.loads(found["output"]) if found.get("output") else None
        error = found.get("error") or history.failure(events).get("error")
        return Execution(found["status"], output, error, events)

    def _read_history(self, execution_arn: str) -> list[Any]:
        return history.read(self.sfn, execution_arn)

    def deliver(self, *messages: dict[str, str]) -> Execution:
        """Run the state machine on queue messages, as start_workflow does."""
        return self.execute({"sweep": False, "messages": list(messages)})

    def sweep(self) -> Execution:
        return self.execute({"sweep": True})

    def start_sync_execution(self, request: Any) -> AWSResponse:
        """The answer to StartSyncExecution, which moto does not know."""
        execution = self.execute(json.loads(json.loads(request.body)["input"]))
        document = {"executionArn": "arn", "status": execution.status, "startDate": 0, "stopDate": 0}
        if execution.output is not None:
            document["output"] = json.dumps(execution.output)
        if execution.error is not None:
            document["error"] = execution.error
        return wire.answer(request, 200, document)

    def invoke(self, parameters: dict[str, Any]) -> Invocation:
        """Lambda's Invoke, with its parameters and its answer: what the engine calls for a state that is a function."""
        state = parameters["FunctionName"].rpartition(":")[2]
        event = json.loads(parameters["Payload"])
        # Another engine's clock is this machine's; the test's is the world's.
        if "started_at" in event:
            event["started_at"] = self._started_at
        if "entered_at" in event:
            event["entered_at"] = clock.to_text(self.time())
        with self._handlers:
            return lambda_endpoint.invoke(partial(self.call, state), event)

    def _start_job_run(self, start: Callable[[], str]) -> str:
        return self.start_job_run(start) if self.start_job_run else start()

    def call(self, state: str, event: dict[str, Any]) -> Any:
        """Calls the function of a state, or the test's replacement."""
        function: Function = importlib.import_module(FUNCTIONS[state]).handler
        around = self.around.get(state)
        if around is not None:
            return around(function, event)
        return function(event, None)

    # Contents

    def rows(self) -> list[dict[str, Any]]:
        """Every item of the table."""
        deserialize = TypeDeserializer().deserialize
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=TRACKING_TABLE)
        return [{name: deserialize(value) for name, value in item.items()} for page in pages for item in page["Items"]]

    def files(self) -> dict[str, dict[str, Any]]:
        """The row of each file's newest version, by path."""
        rows = [row for row in self.rows() if not row["date_prefix"].startswith(NOT_FILES)]
        return {row["file_path"]: row for row in rows if not is_kept_apart(FileRow.from_item(row))}

    def older_versions(self) -> list[dict[str, Any]]:
        """The rows of versions that have been replaced by newer ones."""
        rows = [row for row in self.rows() if not row["date_prefix"].startswith(NOT_FILES)]
        return [row for row in rows if is_kept_apart(FileRow.from_item(row))]

    def statuses(self) -> Counter[str]:
        return Counter(row["status"] for row in self.files().values())

    def locks(self) -> list[dict[str, Any]]:
        return [row for row in self.rows() if row["date_prefix"].startswith("LOCK#")]

    def manifest_records(self) -> list[dict[str, Any]]:
        records = [row for row in self.rows() if row["date_prefix"].startswith("MANIFEST#")]
        return sorted(records, key=lambda record: record["created_at"])

    def manifest_objects(self) -> dict[str, list[str]]:
        """The paths that each manifest object names, by the manifest's path."""
        return {path: [file.file_path for file in files] for path, files in self.manifest_documents().items()}

    def manifest_documents(self) -> dict[str, list[NamedFile]]:
        """The versions that each manifest object names, by the manifest's path."""
        found = {}
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=MANIFEST_BUCKET):
            for item in page.get("Contents", []):
                document = self.s3.get_object(Bucket=MANIFEST_BUCKET, Key=item["Key"])["Body"].read()
                found[f"s3://{MANIFEST_BUCKET}/{item['Key']}"] = documents.from_document(document)
        return found

    def job_runs(self) -> list[str]:
        """The manifest of each run of the Glue job."""
        pages = self.glue.get_paginator("get_job_runs").paginate(JobName=GLUE_JOB)
        return [run["Arguments"]["--MANIFEST_PATH"] for page in pages for run in page["JobRuns"]]


def message(
    key: str,
    size_bytes: int,
    *,
    message_id: str | None = None,
    etag: str = ETAG,
    version_id: str | None = None,
    sequencer: str | None = "0055AED6DCD90281E5",
    event_time: str = "2025-12-23T10:00:00.000Z",
    bucket: str = INPUT_BUCKET,
) -> dict[str, str]:
    """A queue message with the S3 notification of one new object."""
    s3_object: dict[str, Any] = {"key": quote_plus(key), "size": size_bytes, "eTag": etag}
    if version_id:
        s3_object["versionId"] = version_id
    if sequencer:
        s3_object["sequencer"] = sequencer
    return _notification("ObjectCreated:Put", s3_object, message_id, event_time, bucket)


def message_of_removal(
    key: str,
    *,
    message_id: str | None = None,
    sequencer: str = "0055AED6DCD90281E9",
    event_time: str = "2025-12-23T10:05:00.000Z",
    bucket: str = INPUT_BUCKET,
) -> dict[str, str]:
    """A queue message with the S3 notification of one removed object, later than that of its creation."""
    s3_object = {"key": quote_plus(key), "versionId": "of the marker", "sequencer": sequencer}
    return _notification("ObjectRemoved:DeleteMarkerCreated", s3_object, message_id, event_time, bucket)


def _notification(
    event_name: str, s3_object: dict[str, Any], message_id: str | None, event_time: str, bucket: str
) -> dict[str, str]:
    record = {
        "eventSource": "aws:s3",
        "eventName": event_name,
        "eventTime": event_time,
        "s3": {"bucket": {"name": bucket}, "object": s3_object},
    }
    return {"messageId": message_id or str(uuid.uuid4()), "body": json.dumps({"Records": [record]})}


def _index_entry(index: SecondaryIndex, item: Item) -> Item:
    """moto converts the whole item for every attribute that the index has."""
    keys = [key["AttributeName"] for key in index.schema]
    names = {*index.table_key_attrs, *keys, *index.projection["NonKeyAttributes"]}
    entry = copy(item)
    entry.attrs = LimitedSizeDict()
    dict.update(entry.attrs, {name: value for name, value in item.attrs.items() if name in names})
    return entry


_serialize_by_member = BaseJSONSerializer._serialize_type_structure


def _serialize_structure(serializer: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:
    """moto tries every member that a value of DynamoDB may have (1 ms an item); it is as it should be already."""
    if shape.name == "AttributeValue":
        serialized[key] = value
    else:
        _serialize_by_member(serializer, serialized, value, shape, key)


@cache
def _session() -> boto3.Session:
    """One for all worlds: moto makes a new one for each, which reads the models of its services from disk again."""
    return boto3.Session(
        aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )


@cache
def client(service: Any, endpoint_url: str | None = None) -> Any:
    """The test's own client, not the functions': theirs are made anew in each world, as their retries have a memory."""
    return _session().client(service, endpoint_url=endpoint_url)


def function_arn(state: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{state}"


@contextmanager
def _one_request_at_a_time() -> Iterator[None]:
    process = botocore_stubber.process_request

    def locked(request: Any) -> Any:
        with MOTO:
            return process(request)

    with mock.patch.object(botocore_stubber, "process_request", locked):
        yield
