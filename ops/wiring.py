"""What has to be in place in the account so that files reach the workflow, and runs report their end.

Somebody can change a part of the stack by hand. Nothing fails then: files, or outcomes, do not come.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import ClientError

from manifest_builder import aws
from manifest_builder.settings import settings
from ops.stack import Stack

DEPLOY_AGAIN = "put it back, or deploy the stack anew"
NEW_OBJECTS = ("s3:ObjectCreated:*", "s3:ObjectCreated:Put")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, and what to do about it."""

    cause: str
    remedy: str = ""


def findings(stack: Stack) -> list[Finding]:
    """What is not as the stack was deployed, on the way of a file, in the order of that way. Changes nothing."""
    resources = stack_resources(stack.name)
    queue = boto3.client("sqs").get_queue_attributes(
        QueueUrl=stack.input_queue_url, AttributeNames=["QueueArn", "Policy"]
    )["Attributes"]
    return [
        *_events_of_the_bucket(stack, resources, queue["QueueArn"]),
        *_queue_policy(stack, resources, queue.get("Policy")),
        *_trigger(queue["QueueArn"]),
        *_rules(resources),
        *_job(),
    ]


def stack_resources(name: str) -> dict[str, str]:
    """Physical names by logical id."""
    pages = boto3.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=name)
    return {
        resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "")
        for page in pages
        for resource in page["StackResourceSummaries"]
    }


def _events_of_the_bucket(stack: Stack, resources: dict[str, str], queue_arn: str) -> Iterator[Finding]:
    told = aws.s3().get_bucket_notification_configuration(Bucket=stack.input_bucket)
    if "InputBucket" in resources:
        to_queue = [to for to in told.get("QueueConfigurations", []) if to["QueueArn"] == queue_arn]
        if not any(event in NEW_OBJECTS for to in to_queue for event in to["Events"]):
            yield Finding(
                f"the bucket {stack.input_bucket} does not announce new objects to the queue {queue_arn}", DEPLOY_AGAIN
            )
    elif "EventBridgeConfiguration" not in told:
        yield Finding(
            f"the bucket {stack.input_bucket} sends no events to EventBridge",
            "turn them on: S3 console, Properties, Amazon EventBridge; other notifications of the bucket stay",
        )


def _queue_policy(stack: Stack, resources: dict[str, str], policy: str | None) -> Iterator[Finding]:
    sender = "s3.amazonaws.com" if "InputBucket" in resources else "events.amazonaws.com"
    if not is_allowed(policy, sender):
        yield Finding(f"the queue {stack.input_queue_url} has no policy that lets {sender} send messages", DEPLOY_AGAIN)


def is_allowed(policy: str | None, sender: str) -> bool:
    """Whether a statement of the queue's policy lets the service send messages. Its conditions are not looked at."""
    statements = _as_list(json.loads(policy)["Statement"]) if policy else []
    return any(lets_send(statement, sender) for statement in statements)


def lets_send(statement: dict[str, Any], sender: str) -> bool:
    principal = statement.get("Principal", {})
    everybody = principal == "*" or (isinstance(principal, dict) and "*" in _as_list(principal.get("AWS", [])))
    is_meant = everybody or sender in _as_list(principal.get("Service", []))
    actions = {action.lower() for action in _as_list(statement.get("Action", []))}
    return statement["Effect"] == "Allow" and is_meant and bool(actions & {"sqs:sendmessage", "sqs:*", "*"})


def _as_list(value: Any) -> list[Any]:
    """Policies have a list, or its only element."""
    return value if isinstance(value, list) else [value]


def _trigger(queue_arn: str) -> Iterator[Finding]:
    mappings = boto3.client("lambda").list_event_source_mappings(EventSourceArn=queue_arn)["EventSourceMappings"]
    if not mappings:
        yield Finding("the queue starts no function: its event source mapping is gone", DEPLOY_AGAIN)
    for mapping in mappings:
        if mapping["State"] not in ("Enabled", "Enabling", "Creating", "Updating"):
            yield Finding(
                f"the event source mapping of the queue is {mapping['State']}: messages stay in the queue",
                f"aws lambda update-event-source-mapping --enabled --uuid {mapping['UUID']}",
            )


def _rules(resources: dict[str, str]) -> Iterator[Finding]:
    events = boto3.client("events")
    missed = {
        "InputEventRule": "events of the input bucket do not reach the queue",
        "JobRunRule": "the end of a Glue run is noticed an hour later, by the sweep",
    }
    for logical_id, consequence in missed.items():
        if logical_id not in resources:
            continue
        # Of a rule, CloudFormation's id is its name, or bus and name.
        name = resources[logical_id].rpartition("|")[2]
        try:
            state = events.describe_rule(Name=name)["State"]
        except events.exceptions.ResourceNotFoundException:
            yield Finding(f"the EventBridge rule {name} is gone: {consequence}", DEPLOY_AGAIN)
            continue
        if state == "DISABLED":
            yield Finding(
                f"the EventBridge rule {name} is disabled: {consequence}", f"aws events enable-rule --name {name}"
            )


def _job() -> Iterator[Finding]:
    name = settings().glue_job_name
    try:
        aws.glue().get_job(JobName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityNotFoundException":
            raise
        yield Finding(
            f"there is no Glue job {name}: manifests stay open",
            "make the job, or name one that exists by the parameter GlueJobName",
        )
