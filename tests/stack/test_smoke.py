"""`ops smoke` on the deployed stack: it passes and leaves nothing; a fault that is put in is diagnosed by its name."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from dev.emulator.deploy import create_job
from dev.emulator.facts import read_table
from dev.emulator.run_ends import RunEnds
from dev.paths import ROOT
from tests.stack.stack import Stack
from toolkit.objects import keys_and_etags

PATIENCE = "40"


@dataclass(frozen=True)
class Said:
    code: int
    document: dict[str, Any]
    progress: str

    @property
    def causes(self) -> list[str]:
        return [cause["cause"] for cause in self.document["causes"]]


def smoke(stack: Stack, *arguments: str) -> Said:
    command = [sys.executable, "-m", "ops", "smoke", "--json", "--yes", "--stack", stack.deployment.stack_name]
    environment = {**os.environ, **stack.emulator.environment(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode in (0, 1), done.stderr
    return Said(done.returncode, json.loads(done.stdout), done.stderr)


def left_of(stack: Stack, date: str) -> list[str]:
    """Rows, records, locks and objects of the test."""
    table = read_table(stack.emulator, stack.deployment)
    deployment = stack.deployment
    return [
        *(row.uri for row in table.files if row.date == date),
        *(record["file_path"] for record in table.manifests if date in record["date_prefix"]),
        *(lock for lock in table.locks if lock == date),
        *(
            key
            for bucket in (deployment.input_bucket, deployment.quarantine_bucket, deployment.manifest_bucket)
            for key, _ in keys_and_etags(stack.emulator.s3, bucket)
            if date in key
        ),
    ]


def test_a_stack_that_works_passes_and_nothing_is_left(stack: Stack) -> None:
    with RunEnds(stack.emulator, stack.deployment):
        said = smoke(stack, "--patience", PATIENCE)

    assert (said.code, said.document["works"], said.document["causes"]) == (0, True, []), said.progress
    assert said.document["dollars"] == pytest.approx(2 / 60 * 0.44)
    assert left_of(stack, said.document["date"]) == []


Fault = Callable[[Stack], Callable[[], object]]
"""Puts a fault in; returns what takes it out again."""


def without_the_queues_policy(stack: Stack) -> Callable[[], object]:
    queue, sqs = stack.deployment.input_queue_url, stack.emulator.sqs
    policy = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"])["Attributes"]["Policy"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": ""})
    return lambda: sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})


def without_the_buckets_events(stack: Stack) -> Callable[[], object]:
    bucket, s3 = stack.deployment.input_bucket, stack.emulator.s3
    told = s3.get_bucket_notification_configuration(Bucket=bucket)
    announced: Any = {"QueueConfigurations": told["QueueConfigurations"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    return lambda: s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=announced)


def with_a_disabled_rule(stack: Stack) -> Callable[[], object]:
    rule = f"{stack.deployment.stack_name}-job-run"
    stack.emulator.events.disable_rule(Name=rule)
    return lambda: stack.emulator.events.enable_rule(Name=rule)


def without_the_job(stack: Stack) -> Callable[[], object]:
    stack.emulator.glue.delete_job(JobName=stack.deployment.job_name)
    return lambda: create_job(stack.emulator)


def with_a_disabled_trigger(stack: Stack) -> Callable[[], object]:
    client = stack.emulator.lambda_
    (mapping,) = client.list_event_source_mappings()["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    return lambda: client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (without_the_queues_policy, "no policy that lets s3.amazonaws.com send messages"),
        (without_the_buckets_events, "does not announce new objects to the queue"),
        (with_a_disabled_rule, "rule manifest-builder-job-run is disabled"),
        (without_the_job, "there is no Glue job count-rows"),
        (with_a_disabled_trigger, "the event source mapping of the queue is Disabled"),
    ],
)
def test_what_is_not_as_it_was_deployed_is_named_before_anything_is_uploaded(
    stack: Stack, fault: Fault, named: str
) -> None:
    mend = fault(stack)
    try:
        said = smoke(stack)
    finally:
        mend()

    assert said.code == 1
    assert [named in cause for cause in said.causes] == [True]
    assert said.document["causes"][0]["remedy"]
    assert said.document["date"] is None


def test_a_role_without_a_right_is_named_and_what_the_test_leaves_can_be_deleted(stack: Stack) -> None:
    iam = stack.emulator.iam
    role = next(role["RoleName"] for role in iam.list_roles()["Roles"] if "-TrackFileRole-" in role["RoleName"])
    policy = {"RoleName": role, "PolicyName": "track-file"}
    document = iam.get_role_policy(**policy)["PolicyDocument"]
    iam.delete_role_policy(**policy)
    try:
        said = smoke(stack, "--patience", "10")
    finally:
        iam.put_role_policy(**policy, PolicyDocument=json.dumps(document))

    assert said.code == 1
    assert said.document["failed"] == "TrackFile: not within 10 s"
    assert said.causes[0].startswith("TrackFile: ")
    assert "not authorized to perform: dynamodb:GetItem" in said.causes[0]
    assert "TrackFileRole" in said.document["causes"][0]["remedy"]
    date = said.document["date"]
    assert left_of(stack, date) != []
    assert smoke(stack, "--clean-up", date, "--patience", PATIENCE).code == 0
    assert left_of(stack, date) == []
