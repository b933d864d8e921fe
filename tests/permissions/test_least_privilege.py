"""Each role grants exactly the calls made with it, on exactly the rows, objects and indexes that they use."""

from dataclasses import replace
from unittest import mock

import pytest

from tests.permissions.needs import Call, Need, needs
from tests.permissions.paths import record
from tests.permissions.policies import OUTPUT_BUCKET, REFERENCES, Statement, missing, parsed, statements_of, unused
from tests.template.sam import LOG_AND_TRACE_DELIVERY, functions, resources

# Recording plays every scenario, which takes 25 s of processor time: one process does it for all tests.
pytestmark = [pytest.mark.xdist_group("permissions"), pytest.mark.timeout(300)]

BY_LAMBDA = {"logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"}
"""Lambda delivers a function's log and traces with the function's role."""
BY_THE_EVENT_SOURCE_MAPPING = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
"""It polls the queue with the role of the function that it feeds."""
BY_THE_SCHEDULER = {"states:StartExecution"}
"""It starts the sweep, as EventBridge's rule starts the machine where a run has ended."""
BY_GLUE = {"logs:CreateLogStream", "logs:PutLogEvents"}
"""It delivers the log of a run."""

BY_SNS = {"kms:Decrypt", "kms:GenerateDataKey"}
"""It encrypts with the role of whoever publishes."""

CALLED_BY_AWS = {f"{box}Role": BY_LAMBDA for box in functions()} | {
    "StartWorkflowRole": BY_LAMBDA | BY_THE_EVENT_SOURCE_MAPPING,
    "ManifestStateMachineRole": LOG_AND_TRACE_DELIVERY,
    "SweepScheduleRole": BY_THE_SCHEDULER,
    "AuditScheduleRole": {"lambda:InvokeFunction"},
    "JobRunRuleRole": BY_THE_SCHEDULER,
    "RecordOutcomeRole": BY_LAMBDA | BY_SNS,
    "GlueJobRole": BY_GLUE,
}
"""By role: what AWS itself calls with it, where no recording can see it."""


@pytest.fixture(scope="module")
def needed() -> dict[str, set[Need]]:
    """The recorded needs of each role."""
    found: dict[str, set[Need]] = {role: set() for role in resources("AWS::IAM::Role")}
    for call in record():
        found[f"{call.caller}Role"] |= needs(call)
    return found


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
def test_a_role_grants_every_call_that_is_made_with_it(role: str, needed: dict[str, set[Need]]) -> None:
    refused = missing(statements_of(role), needed[role])

    assert not refused, f"{role} does not grant\n" + "\n".join(refused)


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
def test_a_role_grants_nothing_that_no_call_needs(role: str, needed: dict[str, set[Need]]) -> None:
    idle = unused(statements_of(role), needed[role], CALLED_BY_AWS[role])

    assert not idle, f"{role} grants what nothing needs:\n" + "\n".join(idle)


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
def test_what_aws_calls_itself_is_granted_and_no_call_of_ours(role: str, needed: dict[str, set[Need]]) -> None:
    granted = {action for statement in statements_of(role) for action in statement.actions}

    assert CALLED_BY_AWS[role] <= granted
    assert not CALLED_BY_AWS[role] & {need.action for need in needed[role]}


TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/tracking-table"
GRANT = Statement(frozenset({"dynamodb:PutItem"}), (TABLE,), ("LOCK#*", "MANIFEST#*"))
PUT_LOCK = Need("dynamodb:PutItem", TABLE, frozenset({"LOCK#manifest-2025-12-23"}))
PUT_MANIFEST = replace(PUT_LOCK, leading_keys=frozenset({"MANIFEST#2025-12-23"}))


@pytest.mark.parametrize(
    "need",
    [
        replace(PUT_LOCK, action="dynamodb:GetItem"),
        replace(PUT_LOCK, resource=f"{TABLE}/index/pending-index"),
        replace(PUT_LOCK, leading_keys=frozenset({"2025-12-23"})),
        replace(PUT_LOCK, leading_keys=PUT_LOCK.leading_keys | {"2025-12-23"}),
    ],
    ids=["action", "resource", "leading key", "one of two leading keys"],
)
def test_what_is_not_granted_is_missing(need: Need) -> None:
    assert missing([GRANT], [PUT_LOCK, PUT_MANIFEST]) == []
    assert missing([GRANT], [PUT_LOCK, need]) == [str(need)]


@pytest.mark.parametrize(
    ("grant", "idle"),
    [
        (replace(GRANT, actions=GRANT.actions | {"dynamodb:GetItem"}), ["dynamodb:GetItem"]),
        (replace(GRANT, resources=(TABLE, f"{TABLE}/index/*")), [f"{TABLE}/index/*"]),
        (replace(GRANT, leading_keys=(*GRANT.leading_keys, "????-??-??")), ["????-??-??"]),
    ],
    ids=["action", "resource", "leading key"],
)
def test_what_is_granted_and_not_needed_is_unused(grant: Statement, idle: list[str]) -> None:
    needs_of_both_keys = {PUT_LOCK, PUT_MANIFEST}

    assert unused([GRANT], needs_of_both_keys, ()) == []
    assert unused([grant], needs_of_both_keys, ()) == idle


@pytest.mark.parametrize(
    ("column_types", "readable"),
    [
        ("s3://bucket/folder/types.json", "bucket/folder/types.json"),
        ("amount DOUBLE, payload STRUCT<a: BIGINT>", f"{OUTPUT_BUCKET}/schema.json"),
        ("", f"{OUTPUT_BUCKET}/schema.json"),
    ],
)
def test_the_glue_job_may_read_the_file_of_column_types_if_there_is_one(column_types: str, readable: str) -> None:
    with mock.patch.dict(REFERENCES, ColumnTypes=column_types):
        reads = [statement for statement in statements_of("GlueJobRole") if statement.actions == {"s3:GetObject"}]
    assert (f"arn:aws:s3:::{readable}",) in [statement.resources for statement in reads]


def test_what_aws_calls_itself_is_not_unused() -> None:
    assert unused([GRANT], [], ()) == ["LOCK#*", "MANIFEST#*", TABLE, "dynamodb:PutItem"]
    assert unused([GRANT], [], {"dynamodb:PutItem"}) == []


def test_a_condition_that_is_not_understood_is_not_passed_over() -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}

    assert parsed(statement).leading_keys == ()
    with pytest.raises(AssertionError, match="aws:SourceIp"):
        parsed(statement | {"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}})


@pytest.mark.parametrize(
    ("call", "needed_actions"),
    [
        (
            Call("A", "s3", "CopyObject", {"CopySource": {"Bucket": "a", "Key": "k"}, "Bucket": "b", "Key": "k"}, 200),
            {"s3:GetObject on arn:aws:s3:::a/k", "s3:PutObject on arn:aws:s3:::b/k"},
        ),
        (
            Call("A", "s3", "HeadObject", {"Bucket": "a", "Key": "k", "VersionId": "1"}, 404),
            {"s3:GetObjectVersion on arn:aws:s3:::a/k", "s3:ListBucket on arn:aws:s3:::a"},
        ),
        (
            Call(
                "A",
                "dynamodb",
                "TransactWriteItems",
                {
                    "TransactItems": [
                        {"ConditionCheck": {"TableName": "tracking-table", "Key": {"date_prefix": {"S": "L"}}}},
                        {"Put": {"TableName": "tracking-table", "Item": {"date_prefix": {"S": "M"}}}},
                    ]
                },
                200,
            ),
            {
                f"dynamodb:ConditionCheckItem on {TABLE} with the keys L, M",
                f"dynamodb:PutItem on {TABLE} with the keys L, M",
            },
        ),
        (
            Call(
                "A",
                "dynamodb",
                "Query",
                {
                    "TableName": "tracking-table",
                    "IndexName": "pending-index",
                    "KeyConditionExpression": "date_prefix = :date AND pending_since <= :until",
                    "ExpressionAttributeValues": {":date": {"S": "2025-12-23"}, ":until": {"S": "2026"}},
                },
                200,
            ),
            {f"dynamodb:Query on {TABLE}/index/pending-index with the keys 2025-12-23"},
        ),
    ],
    ids=["copy", "vanished version", "transaction", "index"],
)
def test_a_call_needs_what_iam_asks_for_it(call: Call, needed_actions: set[str]) -> None:
    assert {str(need) for need in needs(call)} == needed_actions


def test_an_operation_that_is_not_known_is_not_passed_over() -> None:
    with pytest.raises(AssertionError, match="AcquireLock calls dynamodb BatchWriteItem: say in"):
        needs(Call("AcquireLock", "dynamodb", "BatchWriteItem", {}, 200))
