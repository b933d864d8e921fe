"""The deployed template with enforced policies: uploads, a bad message, and the schedule."""

import json
import time
import uuid
from typing import Any

import pytest

from dev.emulator.deploy import deploy
from dev.emulator.emulator import Emulator
from dev.emulator.facts import read_messages
from dev.run.files import SAMPLE_PARAMETERS
from tests.stack.stack import Stack, eventually
from toolkit.facts import Facts, Manifest

pytestmark = pytest.mark.xdist_group("stack")

FILE = b'{"row": 1}\n' * 4500


def test_uploaded_files_become_a_manifest_and_a_finished_glue_run(stack: Stack) -> None:
    date = "2025-01-01"
    keys = [f"in/{date}-file{number} ü+.ndjson" for number in range(9)]
    for key in [*keys, f"in/{date}-refused.csv"]:
        stack.emulator.s3.put_object(Bucket=stack.deployment.input_bucket, Key=key, Body=FILE)

    # The job may have its result before the execution that started it has recorded its run and released the lock.
    facts = eventually(
        stack.facts,
        lambda facts: (
            len([row for row in facts.files if row.date == date]) == 10
            and any(each.path in facts.results and each.status == "started" for each in of_date(facts, date))
            and f"manifest-{date}" not in facts.locks
        ),
    )

    (manifest,) = of_date(facts, date)
    rows = {row.uri: row for row in facts.files if row.date == date}
    assert manifest.uris is not None
    assert set(manifest.uris) <= {stack.uri(key) for key in keys}
    assert {uri for uri, row in rows.items() if row.status == "manifested"} == set(manifest.uris)
    assert {row.manifest_path for row in rows.values() if row.status == "manifested"} == {manifest.path}
    (run,) = eventually(
        lambda: [run for run in stack.facts().runs if run.manifest_path == manifest.path],
        lambda runs: [run.state for run in runs] == ["SUCCEEDED"],
    )
    assert run.run_id == manifest.job_run_id
    assert facts.results[manifest.path].rows == 4500 * len(manifest.uris)

    refused = rows[stack.uri(f"in/{date}-refused.csv")]
    assert (refused.status, refused.reason) == ("quarantined", "Invalid extension")
    assert facts.copies[f"in/{date}-refused.csv"] == refused.etag


def test_without_the_name_of_a_job_the_stacks_own_is_started() -> None:
    with Emulator() as emulator:
        stack = Stack(emulator, deploy(emulator, SAMPLE_PARAMETERS | {"GlueJobName": ""}))
        for number in range(9):
            stack.emulator.s3.put_object(
                Bucket=stack.deployment.input_bucket, Key=f"2025-01-01-file{number}.ndjson", Body=FILE
            )
        facts = eventually(stack.facts, lambda facts: [manifest.status for manifest in facts.manifests] == ["started"])
        (run,) = facts.runs
        assert (run.run_id, run.manifest_path) == (facts.manifests[0].job_run_id, facts.manifests[0].path)
        job = emulator.glue.get_job(JobName=stack.deployment.stack_name)["Job"]
        assert job["DefaultArguments"]["--TRACKING_TABLE"] == stack.deployment.tracking_table
        emulator.s3.head_bucket(Bucket=job["DefaultArguments"]["--OUTPUT_PATH"].removeprefix("s3://"))


def test_files_of_an_existing_bucket_come_and_go_by_way_of_eventbridge() -> None:
    bucket, key = "a-bucket-of-theirs", "2025-01-01 ü+.ndjson"
    with Emulator() as emulator:
        emulator.s3.create_bucket(Bucket=bucket)
        emulator.s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
        stack = Stack(emulator, deploy(emulator, SAMPLE_PARAMETERS | {"ExistingInputBucket": bucket}))
        assert stack.deployment.input_bucket == bucket
        assert [each["Name"] for each in emulator.s3.list_buckets()["Buckets"] if "-input-" in each["Name"]] == []

        emulator.s3.put_object(Bucket=bucket, Key=key, Body=FILE)
        (row,) = eventually(lambda: list(stack.files("2025-01-01").values()), lambda rows: len(rows) == 1)
        assert (row.uri, row.status, row.size_bytes) == (stack.uri(key), "pending", len(FILE))

        emulator.s3.delete_object(Bucket=bucket, Key=key)
        eventually(lambda: stack.files("2025-01-01")[row.uri].status, lambda status: status == "deleted")


def of_date(facts: Facts, date: str) -> list[Manifest]:
    return [manifest for manifest in facts.manifests if manifest.date == date]


def test_a_poison_message_is_parked_at_once_while_its_neighbours_are_tracked(stack: Stack) -> None:
    date = "2025-02-02"
    poison = f"no event, {uuid.uuid4()}"
    keys = [f"in/{date}-file{number}.ndjson" for number in range(9)]
    bodies = [*[stack.event(key, 30_000) for key in keys[:4]], poison, *[stack.event(key, 30_000) for key in keys[4:]]]
    sent = stack.emulator.sqs.send_message_batch(
        QueueUrl=stack.deployment.input_queue_url,
        Entries=[{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)],
    )

    tracked = eventually(lambda: stack.files(date), lambda rows: len(rows) == 9)
    parked = eventually(
        lambda: read_messages(stack.emulator, stack.deployment.dead_letter_queue_url),
        lambda bodies: poison in bodies,
    )

    assert tracked.keys() == {stack.uri(key) for key in keys}
    assert not set(bodies) & set(parked) - {poison}
    (poison_id,) = [message["MessageId"] for message in sent["Successful"] if message["Id"] == "4"]
    rejections = [line for line in stack.log_lines("ParseEvent") if line["message"] == "message rejected"]
    assert [line["message_id"] for line in rejections].count(poison_id) == 1
    # If the good message had also been returned to the queue, its file would be counted as a duplicate.
    outcomes = [line for line in stack.log_lines("TrackFile") if f"{date}-file" in line.get("file_path", "")]
    assert [line["outcome"] for line in outcomes] == ["tracked"] * 9


def test_the_log_group_of_the_stack_follows_a_file_through_the_boxes_of_one_execution(stack: Stack) -> None:
    key = "in/2025-04-04-file.ndjson"
    body = stack.event(key, 30_000)
    stack.emulator.sqs.send_message(QueueUrl=stack.deployment.input_queue_url, MessageBody=body)

    lines = eventually(
        lambda: [
            line
            for box in ("ValidateFile", "TrackFile")
            for line in stack.log_lines(box)
            if line.get("file_path") == stack.uri(key)
        ],
        lambda lines: len(lines) == 2,
    )

    assert [line["outcome"] for line in lines] == ["valid", "tracked"]
    (execution,) = {line["execution"] for line in lines}
    assert execution in {line["execution"] for line in stack.log_lines("ParseEvent")}


def test_only_the_messages_that_failed_are_reported_to_the_queue(stack: Stack) -> None:
    date = "2025-03-03"
    records = [record("good", stack.event(f"in/{date}-file.ndjson", 30_000)), record("bad", '{"no": "event"}')]

    answer = stack.emulator.lambda_.invoke(
        FunctionName=f"{stack.deployment.stack_name}-start-workflow", Payload=json.dumps({"Records": records}).encode()
    )

    assert json.loads(answer["Payload"].read()) == {"batchItemFailures": []}
    assert '{"no": "event"}' in read_messages(stack.emulator, stack.deployment.dead_letter_queue_url)
    assert stack.files(date).keys() == {stack.uri(f"in/{date}-file.ndjson")}


def record(message_id: str, body: str) -> dict[str, Any]:
    return {
        "messageId": message_id,
        "receiptHandle": f"handle of {message_id}",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": str(int(time.time() * 1000))},
        "eventSource": "aws:sqs",
    }


def test_the_sweep_may_read_what_it_looks_for(stack: Stack) -> None:
    sweep = stack.emulator.stepfunctions.start_sync_execution(
        stateMachineArn=stack.deployment.state_machine_arn, input='{"sweep": true}'
    )
    assert sweep["status"] == "SUCCEEDED"
    assert json.loads(sweep["output"])["batchItemFailures"] == []
