"""Least privilege of the roles, and the security baseline of buckets and queues."""

import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

from dev.paths import TEMPLATE
from tests.template.sam import (
    LOG_AND_TRACE_DELIVERY,
    Json,
    actions,
    environments,
    expanded,
    functions,
    identity_statements,
    properties,
    resource_statements,
    resources,
    stack,
    texts,
)

BUCKETS = resources("AWS::S3::Bucket")
QUEUES = resources("AWS::SQS::Queue")
THE_INPUT_BUCKET = {"Fn::If": ["MakesInputBucket", {"Ref": "InputBucket"}, {"Ref": "ExistingInputBucket"}]}
ROW_WRITES = {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}
# `sam deploy` generates the suffix of its bucket's name.
SAM_BUCKET = "aws-sam-cli-managed-default-*"
FILES, MANIFESTS, LOCKS = "2025-12-23", "MANIFEST#2025-12-23", "LOCK#manifest-2025-12-23"


def test_no_action_is_a_wildcard() -> None:
    wide = [(name, statement) for name, statement in identity_statements() if "*" in "".join(actions(statement))]
    assert wide == []


def test_a_resource_is_a_wildcard_only_where_aws_knows_none() -> None:
    for name, statement in identity_statements():
        if "*" in texts(statement["Resource"]):
            assert actions(statement) <= LOG_AND_TRACE_DELIVERY, f"{name}: {statement}"


def test_a_wildcard_inside_a_resource_stands_for_objects_only() -> None:
    for name, statement in identity_statements():
        for text in texts(statement["Resource"]):
            within = text.replace(SAM_BUCKET, "sam")
            assert "*" not in within.removesuffix("/*") or text == "*", f"{name}: {statement}"
            if text.endswith("/*"):
                assert all(action.startswith("s3:") for action in actions(statement)), f"{name}: {statement}"


def test_every_statement_gives_its_reason() -> None:
    lines = TEMPLATE.read_text().splitlines()
    # Trust policies and resource policies name a principal before the action.
    statements = [number for number, line in enumerate(lines) if re.match(r"\s*- Effect:", line)]
    statements = [number for number in statements if lines[number + 1].lstrip().startswith("Action:")]
    assert len(statements) == len(identity_statements())
    unexplained = [number + 1 for number in statements if not lines[number - 1].lstrip().startswith("# ")]
    assert unexplained == []


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
def test_functions_share_what_every_function_needs_and_no_other_role_takes_a_policy(role: str) -> None:
    is_a_functions = role.removesuffix("Role") in functions()
    assert properties(role).get("ManagedPolicyArns", []) == ([{"Ref": "FunctionPolicy"}] if is_a_functions else [])


def test_functions_and_the_glue_job_write_to_the_log_groups_of_the_stack_and_to_no_other() -> None:
    logs = [
        (name, statement["Resource"])
        for name, statement in identity_statements()
        if "logs:PutLogEvents" in actions(statement)
    ]
    of_the_job = [{"Fn::GetAtt": [f"Glue{stream}LogGroup", "Arn"]} for stream in ("Error", "Output")]
    assert logs == [
        ("GlueJobRole", of_the_job),
        ("FunctionPolicy", {"Fn::GetAtt": ["FunctionLogGroup", "Arn"]}),
    ]


@pytest.mark.parametrize("box", functions())
def test_no_two_functions_share_a_role(box: str) -> None:
    users = [other for other, function in functions().items() if function["Role"] == functions()[box]["Role"]]
    assert users == [box]


@pytest.mark.parametrize("box", ["ParseEvent", "ValidateFile", "ReportResult"])
def test_a_box_that_calls_no_aws_api_may_do_no_more_than_every_function(box: str) -> None:
    assert [statement for role, statement in identity_statements() if role == f"{box}Role"] == []


@pytest.mark.parametrize(
    ("partition", "writers"),
    [
        (FILES, {"QuarantineFileRole", "TrackFileRole", "RecordRemovalRole", "UpdateStatusRole"}),
        (
            MANIFESTS,
            {"CreateManifestRole", "UpdateStatusRole", "ManifestStateMachineRole", "RecordOutcomeRole", "GlueJobRole"},
        ),
        # CreateManifest's transaction checks the lock; IAM may judge all keys of a transaction together.
        (LOCKS, {"AcquireLockRole", "ReleaseLockRole", "CreateManifestRole"}),
    ],
    ids=["files", "manifests", "locks"],
)
def test_rows_are_written_only_by_the_boxes_that_own_them(partition: str, writers: set[str]) -> None:
    allowed = {
        role
        for role, statement in identity_statements()
        if actions(statement) & ROW_WRITES and leading_keys_match(statement, partition)
    }
    assert allowed == writers


def test_manifests_are_read_and_written_under_their_prefix_alone() -> None:
    granted = {text for _, statement in identity_statements() for text in texts(statement["Resource"])}
    objects = {text for text in granted if "ManifestBucket" in text}
    assert objects == {"${ManifestBucket.Arn}/manifests/*", "ManifestBucket"}
    of_bucket = [
        statement for _, statement in identity_statements() if "ManifestBucket" in texts(statement["Resource"])
    ]
    assert all(actions(statement) == {"s3:ListBucket"} for statement in of_bucket)


def leading_keys_match(statement: Json, partition: str) -> bool:
    patterns: Any = statement.get("Condition", {}).get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys", "*")
    return any(fnmatchcase(partition, pattern) for pattern in ([patterns] if isinstance(patterns, str) else patterns))


def test_the_trigger_may_wait_for_the_executions_it_starts() -> None:
    granted = [statement for role, statement in identity_statements() if role == "StartWorkflowRole"]
    (start,) = [
        statement for statement in granted if any(action.startswith("states:") for action in actions(statement))
    ]
    assert actions(start) == {"states:StartSyncExecution"}
    assert start["Resource"] == {"Ref": "ManifestStateMachine"}


def test_the_boxes_that_send_events_may_put_them_on_the_given_bus_alone_and_on_none_if_there_is_none() -> None:
    ((policy, statement),) = [
        (name, statement) for name, statement in identity_statements() if "events:PutEvents" in actions(statement)
    ]
    bus = "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/${EventBusName}"
    assert (actions(statement), statement["Resource"]) == ({"events:PutEvents"}, {"Fn::Sub": bus})
    senders = ("QuarantineFile", "CreateManifest", "UpdateStatus", "RecordOutcome")
    assert properties(policy)["Roles"] == [{"Ref": f"{box}Role"} for box in senders]
    assert policy in stack()["Resources"]
    assert policy not in stack(EventBusName="none")["Resources"]


def test_the_machine_may_invoke_its_boxes_and_nothing_else() -> None:
    substitutions = properties("ManifestStateMachine")["DefinitionSubstitutions"]
    boxes = [arn for name, arn in substitutions.items() if name.endswith("FunctionArn")]
    (invoke,) = [
        statement
        for role, statement in identity_statements()
        if role == "ManifestStateMachineRole" and "lambda:InvokeFunction" in actions(statement)
    ]
    assert sorted(map(str, invoke["Resource"])) == sorted(map(str, boxes))


def test_the_glue_job_writes_its_output_and_names_itself_on_a_manifest_and_changes_nothing_else() -> None:
    granted = [statement for role, statement in identity_statements() if role == "GlueJobRole"]
    writes = {"s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", *ROW_WRITES}
    changed = [statement["Resource"] for statement in granted if actions(statement) & writes]
    output = [{"Fn::Sub": f"${{OutputBucket.Arn}}/{folder}/*"} for folder in ("parquet", "malformed")]
    schema = {"Fn::Sub": "${OutputBucket.Arn}/schema.json"}
    assert changed == [{"Fn::GetAtt": ["TrackingTable", "Arn"]}, output, schema]
    (kept,) = [statement for statement in granted if statement["Resource"] == schema]
    assert actions(kept) == {"s3:GetObject", "s3:PutObject"}
    (table,) = [statement for statement in granted if "dynamodb:Query" in actions(statement)]
    assert [leading_keys_match(table, partition) for partition in (FILES, MANIFESTS, LOCKS)] == [False, True, False]


def test_the_glue_job_is_told_of_a_file_that_is_gone() -> None:
    """Without ListBucket, S3 responds 403 for a missing object."""
    listed = [
        statement["Resource"]
        for role, statement in identity_statements()
        if role == "GlueJobRole" and "s3:ListBucket" in actions(statement)
    ]
    (bucket,) = [resource["Fn::Sub"] for resource in listed[0] if "Fn::Sub" in resource]
    assert bucket == ["arn:${AWS::Partition}:s3:::${Bucket}", {"Bucket": THE_INPUT_BUCKET}]


def test_the_glue_job_may_read_its_script_where_sam_deploy_puts_it() -> None:
    options = environments()
    assert all(environment["resolve_s3"] for environment in options.values())
    for environment in options.values():
        assert f"NamePrefix={environment['s3_prefix']}" in environment["parameter_overrides"].split()
    readable = [
        text
        for role, statement in identity_statements()
        if role == "GlueJobRole" and "s3:GetObject" in actions(statement)
        for text in texts(statement["Resource"])
    ]
    assert f"arn:${{AWS::Partition}}:s3:::{SAM_BUCKET}/${{NamePrefix}}/*" in readable


def test_the_sweep_may_start_the_machine_and_nothing_else() -> None:
    (only,) = [statement for role, statement in identity_statements() if role == "SweepScheduleRole"]
    assert (actions(only), only["Resource"]) == ({"states:StartExecution"}, {"Ref": "ManifestStateMachine"})


def test_the_schedule_of_the_audit_may_invoke_its_function_and_nothing_else() -> None:
    (only,) = [statement for role, statement in identity_statements() if role == "AuditScheduleRole"]
    itself = {"Fn::GetAtt": ["AuditFilesFunction", "Arn"]}
    assert (actions(only), only["Resource"]) == ({"lambda:InvokeFunction"}, itself)


@pytest.mark.parametrize("name", [*BUCKETS, *QUEUES])
def test_buckets_and_queues_refuse_plain_http(name: str) -> None:
    denials = [
        statement
        for policy, statement in resource_statements()
        if policy == f"{name}Policy" and statement["Effect"] == "Deny"
    ]
    (denial,) = denials
    assert denial["Principal"] == "*"
    assert denial["Action"] == ("s3:*" if name in BUCKETS else "sqs:*")
    assert denial["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    itself = {"Fn::GetAtt": [name, "Arn"]}
    assert denial["Resource"] == ([itself, {"Fn::Sub": f"${{{name}.Arn}}/*"}] if name in BUCKETS else itself)
    applies_to = properties(f"{name}Policy")
    assert applies_to.get("Bucket", applies_to.get("Queues")) == ({"Ref": name} if name in BUCKETS else [{"Ref": name}])


@pytest.mark.parametrize("own_job", ["", "another-job"])
def test_with_an_existing_bucket_nothing_is_left_of_the_stacks_own(own_job: str) -> None:
    with_existing = stack(ExistingInputBucket="theirs", GlueJobName=own_job)
    assert not {"InputBucket", "InputBucketPolicy"} & with_existing["Resources"].keys()
    assert "InputEventRule" not in stack()["Resources"]
    assert [text for text in texts(with_existing) if re.search(r"\bInputBucket\b", text)] == []
    assert with_existing["Outputs"]["InputBucketName"]["Value"] == {"Ref": "ExistingInputBucket"}
    assert stack()["Outputs"]["InputBucketName"]["Value"] == {"Ref": "InputBucket"}


def test_whoever_reads_input_files_reads_those_of_the_bucket_that_there_is() -> None:
    read = [
        resource["Fn::Sub"][1]["Bucket"]
        for _, statement in identity_statements()
        for resource in (statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]])
        if isinstance(resource, dict)
        and isinstance(resource.get("Fn::Sub"), list)
        and "Bucket" in resource["Fn::Sub"][1]
    ]
    assert read == [THE_INPUT_BUCKET] * 9


def test_a_rule_sends_what_comes_and_goes_in_an_existing_bucket_to_the_queue() -> None:
    rule = properties("InputEventRule")
    assert rule["EventPattern"] == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created", "Object Deleted"],
        "detail": {"bucket": {"name": [{"Ref": "ExistingInputBucket"}]}},
    }
    (target,) = rule["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": ["InputQueue", "Arn"]}
    assert target["DeadLetterConfig"] == {"Arn": {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}}


def test_only_the_rule_of_an_existing_bucket_may_send_to_the_queues() -> None:
    statements = resource_statements(ExistingInputBucket="theirs")
    grants = {name: statement for name, statement in statements if statement["Effect"] == "Allow"}
    assert set(grants) == {"InputQueuePolicy", "DeadLetterQueuePolicy"}
    for name, grant in grants.items():
        assert (grant["Principal"], grant["Action"]) == ({"Service": "events.amazonaws.com"}, "sqs:SendMessage")
        assert grant["Resource"] == {"Fn::GetAtt": [name.removesuffix("Policy"), "Arn"]}
        assert grant["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["InputEventRule", "Arn"]}}}


def test_only_this_accounts_input_bucket_may_send_to_the_queue() -> None:
    (grant,) = [statement for _, statement in resource_statements() if statement["Effect"] == "Allow"]
    assert (grant["Principal"], grant["Action"]) == ({"Service": "s3.amazonaws.com"}, "sqs:SendMessage")
    bucket = properties("InputBucket")["BucketName"]["Fn::Sub"]
    assert grant["Condition"] == {
        "ArnEquals": {"aws:SourceArn": {"Fn::Sub": f"arn:${{AWS::Partition}}:s3:::{bucket}"}},
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}},
    }


def test_the_notification_waits_for_the_queues_policy() -> None:
    assert expanded()["Resources"]["InputBucket"]["DependsOn"] == "InputQueuePolicy"


@pytest.mark.parametrize("name", QUEUES)
def test_queues_are_encrypted_with_a_key_that_s3_can_use(name: str) -> None:
    assert properties(name)["SqsManagedSseEnabled"] is True
    assert "KmsMasterKeyId" not in properties(name)


def test_only_the_input_queue_may_send_to_the_dead_letter_queue() -> None:
    allowed = properties("DeadLetterQueue")["RedriveAllowPolicy"]
    assert allowed["redrivePermission"] == "byQueue"
    (source,) = allowed["sourceQueueArns"]
    assert source["Fn::Sub"].endswith(":" + properties("InputQueue")["QueueName"]["Fn::Sub"])


@pytest.mark.parametrize("name", BUCKETS)
def test_buckets_are_private_encrypted_and_free_of_litter(name: str) -> None:
    bucket = properties(name)
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["Status"] == "Enabled"
    assert set(rule) == {"Id", "Status", "AbortIncompleteMultipartUpload"}, "nothing that was uploaded expires"


@pytest.mark.parametrize("name", BUCKETS)
def test_buckets_keep_what_is_overwritten(name: str) -> None:
    assert properties(name)["VersioningConfiguration"] == {"Status": "Enabled"}


def test_the_table_is_encrypted() -> None:
    assert properties("TrackingTable")["SSESpecification"] == {"SSEEnabled": True}


@pytest.mark.parametrize(
    ("role", "service"),
    [("ManifestStateMachineRole", "states"), ("SweepScheduleRole", "scheduler"), ("AuditScheduleRole", "scheduler")],
)
def test_services_take_a_role_for_this_account_only(role: str, service: str) -> None:
    (trust,) = properties(role)["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": f"{service}.amazonaws.com"}
    assert trust["Condition"]["StringEquals"]["aws:SourceAccount"] == {"Ref": "AWS::AccountId"}
