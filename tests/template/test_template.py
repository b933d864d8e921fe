"""The stack: consistent names, timeouts that fit each other, and required outputs and settings."""

import json
import re
from datetime import timedelta

import cfnlint.api
import pytest

from dev.paths import CODE, DEFINITION, ROOT, TEMPLATE
from dev.template import all_states, template
from glue import ndjson_to_parquet
from manifest_builder import redelivery
from manifest_builder.settings import read_audit_settings, read_settings, read_start_settings
from tests.template.sam import (
    Json,
    actions,
    environments,
    expanded,
    functions,
    identity_statements,
    overrides,
    properties,
    resources,
    stack,
)

PARAMETERS = template()["Parameters"]
NUMBERS = {name: parameter for name, parameter in PARAMETERS.items() if parameter["Type"] == "Number"}
SSM = "AWS::SSM::Parameter::Value<String>"
PLACEHOLDERS = set(re.findall(r"\$\{(\w+)\}", DEFINITION.read_text()))
BOXES = {name.removesuffix("FunctionArn") for name in PLACEHOLDERS if name.endswith("FunctionArn")}
TRIGGER, AUDIT = "StartWorkflow", "AuditFiles"


def words(box: str, separator: str) -> str:
    """`AcquireLock` -> `acquire_lock`"""
    return re.sub(r"(?<!^)(?=[A-Z])", separator, box).lower()


def lint(text: str) -> list[str]:
    return [str(match) for match in cfnlint.api.lint(text, regions=["us-east-1", "eu-central-1"])]


def test_cfn_lint_finds_nothing_in_the_template() -> None:
    assert lint(TEMPLATE.read_text()) == []


def test_cfn_lint_finds_nothing_in_what_sam_makes_of_it() -> None:
    assert lint(json.dumps(expanded())) == []


@pytest.mark.parametrize("given", ["", "theirs"])
def test_cfn_lint_finds_nothing_in_what_is_made_with_a_job_and_a_bucket_of_ones_own_or_without(given: str) -> None:
    parameters = {"ExistingInputBucket": given, "GlueJobName": given}
    defaults = {name: expanded()["Parameters"][name] | {"Default": value} for name, value in parameters.items()}
    whole = {name: part for name, part in expanded().items() if name != "Conditions"} | stack(**parameters)
    whole["Parameters"] = whole["Parameters"] | defaults
    # A parameter that only the removed condition used is not used any more.
    unused = "W2001"
    assert [each for each in lint(json.dumps(whole)) if not each.startswith(f"[{unused}")] == []


def test_cloudformation_takes_the_template_from_s3() -> None:
    limit_of_template_body = 1_000_000
    assert len(json.dumps(expanded(), indent=2)) <= limit_of_template_body


def test_placeholders_of_the_definition_are_its_substitutions() -> None:
    assert set(template()["Resources"]["ManifestStateMachine"]["Properties"]["DefinitionSubstitutions"]) == PLACEHOLDERS


def test_every_box_is_a_function_and_every_function_but_the_trigger_and_the_audit_is_a_box() -> None:
    assert set(functions()) == BOXES | {TRIGGER, AUDIT}


@pytest.mark.parametrize("box", sorted(BOXES))
def test_state_substitution_and_function_share_a_name(box: str) -> None:
    assert all_states()[box]["Resource"] == f"${{{box}FunctionArn}}"
    substitutions = properties("ManifestStateMachine")["DefinitionSubstitutions"]
    assert substitutions[f"{box}FunctionArn"] == {"Fn::GetAtt": [f"{box}Function", "Arn"]}


@pytest.mark.parametrize("box", sorted(BOXES | {TRIGGER, AUDIT}))
def test_function_file_and_role_share_the_boxs_name(box: str) -> None:
    function = functions()[box]
    assert function["Handler"] == f"{words(box, '_')}.handler"
    assert (CODE / f"{words(box, '_')}.py").is_file()
    assert function["FunctionName"] == {"Fn::Sub": f"${{NamePrefix}}-{words(box, '-')}"}
    assert function["Role"] == {"Fn::GetAtt": [f"{box}Role", "Arn"]}


def test_every_handler_file_has_a_function() -> None:
    assert {path.stem for path in CODE.glob("*.py")} == {words(box, "_") for box in functions()}


@pytest.mark.parametrize("name", resources("AWS::Logs::LogGroup"))
def test_every_log_group_forgets(name: str) -> None:
    assert properties(name)["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@pytest.mark.parametrize("box", sorted(BOXES | {TRIGGER}))
def test_lambdas_own_log_lines_are_left_out(box: str) -> None:
    config = functions()[box]["LoggingConfig"]
    assert (config["LogFormat"], config["SystemLogLevel"]) == ("JSON", "WARN")


@pytest.mark.parametrize("box", sorted(BOXES | {TRIGGER}))
def test_one_log_group_has_the_lines_of_all_functions(box: str) -> None:
    assert functions()[box]["LoggingConfig"]["LogGroup"] == {"Ref": "FunctionLogGroup"}


def test_a_message_stays_hidden_for_six_times_the_triggers_timeout_and_its_batching_window() -> None:
    (mapping,) = resources("AWS::Lambda::EventSourceMapping").values()
    least = 6 * functions()[TRIGGER]["Timeout"] + mapping["Properties"]["MaximumBatchingWindowInSeconds"]
    assert properties("InputQueue")["VisibilityTimeout"] >= least


def test_the_machine_ends_before_the_trigger_and_the_trigger_before_the_shortest_lease() -> None:
    machine_seconds = json.loads(DEFINITION.read_text())["TimeoutSeconds"]
    assert machine_seconds < functions()[TRIGGER]["Timeout"] < PARAMETERS["LockTtlSeconds"]["MinValue"]


def test_every_function_ends_before_the_machine() -> None:
    machine_seconds = json.loads(DEFINITION.read_text())["TimeoutSeconds"]
    assert {box for box in BOXES if functions()[box]["Timeout"] >= machine_seconds} == set()


def test_a_message_is_moved_before_the_queue_deletes_it_and_is_not_moved_early_for_its_receives() -> None:
    """SQS deletes a message at the end of its retention without moving it to the dead-letter queue."""
    queue = properties("InputQueue")
    assert timedelta(seconds=queue["MessageRetentionPeriod"]) == redelivery.QUEUE_RETENTION
    longest_wait = max(queue["VisibilityTimeout"], PARAMETERS["LockTtlSeconds"]["MaxValue"] + 1)
    assert timedelta(seconds=2 * longest_wait) < redelivery.QUEUE_RETENTION - redelivery.ANY_FAILURE
    # SQS's longest, and its greatest count.
    assert (queue["MessageRetentionPeriod"], queue["RedrivePolicy"]["maxReceiveCount"]) == (1209600, 1000)
    receives = redelivery.ANY_FAILURE / timedelta(seconds=0.75 * redelivery.LONGEST_DELAY_SECONDS)
    assert receives + 20 < queue["RedrivePolicy"]["maxReceiveCount"]


def test_dead_letters_are_kept_as_long_as_sqs_keeps_messages() -> None:
    assert properties("DeadLetterQueue")["MessageRetentionPeriod"] == 1209600


def test_the_queue_feeds_the_trigger_ten_messages_at_a_time_under_a_cap() -> None:
    (mapping,) = resources("AWS::Lambda::EventSourceMapping").values()
    assert mapping["Properties"] == {
        "EventSourceArn": {"Fn::GetAtt": ["InputQueue", "Arn"]},
        "FunctionName": {"Ref": "StartWorkflowFunction"},
        "BatchSize": 10,
        "MaximumBatchingWindowInSeconds": 20,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": {"Ref": "MaxConcurrency"}},
    }


def test_only_input_files_that_come_or_go_start_the_workflow() -> None:
    notified = {
        name: bucket["Properties"]["NotificationConfiguration"]
        for name, bucket in resources("AWS::S3::Bucket").items()
        if "NotificationConfiguration" in bucket["Properties"]
    }
    # No filter: invalid files must arrive too, so that they are quarantined.
    to_queue = [
        {"Event": f"s3:{happened}:*", "Queue": {"Fn::GetAtt": ["InputQueue", "Arn"]}}
        for happened in ("ObjectCreated", "ObjectRemoved", "LifecycleExpiration")
    ]
    assert notified == {"InputBucket": {"QueueConfigurations": to_queue}}


def test_the_machine_is_express_and_traced_and_logs_data_only_when_it_logs_everything() -> None:
    machine = properties("ManifestStateMachine")
    assert machine["StateMachineType"] == "EXPRESS"
    assert machine["TracingConfiguration"] == {"Enabled": True}
    assert machine["LoggingConfiguration"]["Level"] == {"Ref": "SfnLogLevel"}
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] == {"Fn::If": ["LogsExecutionData", True, False]}
    assert expanded()["Conditions"]["LogsExecutionData"] == {"Fn::Equals": [{"Ref": "SfnLogLevel"}, "ALL"]}
    name = properties("StateMachineLogGroup")["LogGroupName"]["Fn::Sub"]
    assert name.startswith("/aws/vendedlogs/states/")


def test_the_sweep_is_an_execution_of_the_same_machine() -> None:
    schedule = resources("AWS::Scheduler::Schedule")["SweepSchedule"]
    target = schedule["Properties"]["Target"]
    assert target["Arn"] == {"Ref": "ManifestStateMachine"}
    assert json.loads(target["Input"]) == {"sweep": True}
    assert "State" not in schedule["Properties"], "a schedule is enabled unless it says otherwise"


def test_the_audit_is_a_run_of_its_function_in_prod_and_has_no_schedule_in_dev() -> None:
    target = properties("AuditSchedule")["Target"]
    assert target["Arn"] == {"Fn::GetAtt": ["AuditFilesFunction", "Arn"]}
    assert target["RetryPolicy"]["MaximumRetryAttempts"] == 0
    for environment, scheduled in (("dev", set()), ("prod", {"AuditSchedule", "AuditScheduleRole"})):
        assert stack(**overrides(environment))["Resources"].keys() & {"AuditSchedule", "AuditScheduleRole"} == scheduled


def test_the_audit_has_as_much_time_as_lambda_gives() -> None:
    assert functions()[AUDIT]["Timeout"] == 900


def test_the_table_has_the_key_and_the_sparse_index_of_the_design() -> None:
    table = properties("TrackingTable")
    keys = [{"AttributeName": "date_prefix", "KeyType": "HASH"}, {"AttributeName": "file_name", "KeyType": "RANGE"}]
    assert table["KeySchema"] == keys
    (index,) = table["LocalSecondaryIndexes"]
    assert index["IndexName"] == "pending-index"
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["date_prefix", "pending_since"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


@pytest.mark.parametrize("name", resources("AWS::S3::Bucket", "AWS::DynamoDB::Table"))
def test_data_outlives_a_protected_stack(name: str) -> None:
    resource = expanded()["Resources"][name]
    assert resource["DeletionPolicy"] == {"Fn::If": ["IsProtected", "RetainExceptOnCreate", "Delete"]}
    assert resource["UpdateReplacePolicy"] == {"Fn::If": ["IsProtected", "Retain", "Delete"]}
    assert expanded()["Conditions"]["IsProtected"] == {"Fn::Equals": [{"Ref": "Protect"}, "true"]}


def test_the_table_of_a_protected_stack_cannot_be_deleted() -> None:
    assert properties("TrackingTable")["DeletionProtectionEnabled"] == {"Fn::If": ["IsProtected", True, False]}


def test_without_a_name_the_stack_makes_the_glue_job_and_with_one_nothing_of_it() -> None:
    assert PARAMETERS["GlueJobName"]["Default"] == ""
    of_the_job = {
        name for name, resource in expanded()["Resources"].items() if resource.get("Condition") == "HasOwnJob"
    }
    own = "GlueJob GlueJobRole GlueErrorLogGroup GlueOutputLogGroup OutputBucket OutputBucketPolicy"
    assert of_the_job == set(own.split())
    assert expanded()["Conditions"]["HasOwnJob"] == {"Fn::Equals": [{"Ref": "GlueJobName"}, ""]}


def test_whoever_asks_for_the_glue_job_gets_the_one_that_there_is() -> None:
    the_job = {"Fn::If": ["HasOwnJob", {"Ref": "GlueJob"}, {"Ref": "GlueJobName"}]}
    assert properties("ManifestStateMachine")["DefinitionSubstitutions"]["GlueJobName"] == the_job
    for function in functions().values():
        assert function["Environment"]["Variables"]["GLUE_JOB_NAME"] == the_job
    jobs = [
        statement["Resource"]
        for name, statement in identity_statements()
        if glue_actions(statement) and name != "GlueTablePolicy"
    ]
    assert len(jobs) == 3
    for resource in jobs:
        arn, names = resource["Fn::Sub"]
        assert arn.endswith(":job/${Job}")
        assert names == {"Job": the_job}


def glue_actions(statement: Json) -> set[str]:
    return {action for action in actions(statement) if action.startswith("glue:")}


def test_runs_of_the_glue_job_are_queued_and_never_retried_by_glue_itself() -> None:
    job = properties("GlueJob")
    # A run of class FLEX waits for capacity by itself.
    assert job["JobRunQueuingEnabled"] == {"Fn::If": ["IsFlex", False, True]}
    assert job["MaxRetries"] == 0
    assert job["ExecutionProperty"]["MaxConcurrentRuns"] > 1


def test_runs_on_spare_capacity_have_workers_that_glue_offers_for_it() -> None:
    assert PARAMETERS["GlueExecutionClass"]["Default"] == "STANDARD"
    assert properties("GlueJob")["ExecutionClass"] == {"Ref": "GlueExecutionClass"}
    rule = expanded()["Rules"]["FlexWorkers"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "GlueExecutionClass"}, "FLEX"]}
    (assertion,) = rule["Assertions"]
    # AWS Glue developer guide, "Flexible job runs".
    assert assertion["Assert"] == {"Fn::Contains": [["G.1X", "G.2X"], {"Ref": "GlueWorkerType"}]}


def test_the_glue_job_gets_the_arguments_of_its_script() -> None:
    script = template()["Resources"]["GlueJob"]["Properties"]["Command"]["ScriptLocation"]
    assert (ROOT / script).samefile(ndjson_to_parquet.__file__)
    glue = {"--JOB_RUN_ID": "jr_1"}
    machine = dict.fromkeys(all_states()["StartGlueJob"]["Parameters"]["Arguments"], "text")
    given = glue | {name.removesuffix(".$"): value for name, value in machine.items()}
    given |= dict.fromkeys(properties("GlueJob")["DefaultArguments"], "text")
    ndjson_to_parquet.parse([text for pair in given.items() for text in pair])


def test_the_glue_job_logs_to_the_groups_of_the_stack() -> None:
    prefix = properties("GlueJob")["DefaultArguments"]["--custom-logGroup-prefix"]["Fn::Sub"]
    for name in ("error", "output"):
        assert properties(f"Glue{name.title()}LogGroup")["LogGroupName"] == {"Fn::Sub": f"{prefix}/{name}"}


@pytest.mark.parametrize(
    ("given", "is_told"),
    [("", False), ("amount DOUBLE, payload STRUCT<a: BIGINT>", True), ("s3://bucket/folder/types.json", True)],
)
def test_column_types_reach_the_job(given: str, is_told: bool) -> None:
    assert re.fullmatch(PARAMETERS["ColumnTypes"]["AllowedPattern"], given)
    made = stack(ColumnTypes=given)["Resources"]
    arguments = made["GlueJob"]["Properties"]["DefaultArguments"]
    assert arguments.get("--COLUMN_TYPES") == ({"Ref": "ColumnTypes"} if is_told else None)


def test_a_table_over_the_output_is_made_in_the_database_that_is_named() -> None:
    off = stack()["Resources"]
    assert not {"GlueTable", "GlueTablePolicy"} & set(off)
    assert not {"--GLUE_DATABASE", "--GLUE_TABLE"} & set(off["GlueJob"]["Properties"]["DefaultArguments"])
    assert not {"GlueTable", "GlueTablePolicy"} & set(stack(GlueDatabase="lake", GlueJobName="mine")["Resources"])

    made = stack(GlueDatabase="lake")["Resources"]
    arguments = made["GlueJob"]["Properties"]["DefaultArguments"]
    assert arguments["--GLUE_DATABASE"] == {"Ref": "GlueDatabase"}
    assert arguments["--GLUE_TABLE"] == {"Ref": "GlueTable"}
    table = made["GlueTable"]["Properties"]
    assert table["DatabaseName"] == {"Ref": "GlueDatabase"}
    storage = table["TableInput"]["StorageDescriptor"]
    assert storage["Location"] == {"Fn::Sub": "s3://${OutputBucket}/parquet/"}
    # As the job begins its list of columns and names its folders.
    assert storage["Columns"] == ndjson_to_parquet.catalog_columns({})
    assert tuple(key["Name"] for key in table["TableInput"]["PartitionKeys"]) == ndjson_to_parquet.PARTITIONS


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_says_what_it_is_and_what_it_accepts(name: str) -> None:
    parameter = PARAMETERS[name]
    assert parameter["Description"].endswith(".")
    if parameter["Type"] == SSM:
        return  # a pattern would be held against the looked-up value, not against the name
    bounds = {"MinValue", "MaxValue"} if parameter["Type"] == "Number" else {"AllowedPattern"}
    if "AllowedValues" in parameter:
        return  # CloudFormation lists them in its message
    assert bounds <= set(parameter)
    assert parameter["ConstraintDescription"].startswith("must be ")


def test_the_console_groups_every_parameter_once() -> None:
    groups = template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(PARAMETERS)


@pytest.mark.parametrize("bound", ["MinValue", "MaxValue", "Default"])
@pytest.mark.parametrize("name", [name for name in NUMBERS if "MinValue" in NUMBERS[name]])
def test_the_functions_accept_what_the_template_accepts(name: str, bound: str) -> None:
    variables = {
        **functions()["AcquireLock"]["Environment"]["Variables"],
        **functions()[TRIGGER]["Environment"]["Variables"],
        **functions()[AUDIT]["Environment"]["Variables"],
    }
    values = dict.fromkeys(PARAMETERS, "text")
    values |= {number: f"{NUMBERS[number]['Default']:f}".rstrip("0").rstrip(".") for number in NUMBERS}
    values[name] = f"{NUMBERS[name][bound]:f}"
    environment = {
        variable: values.get(value.get("Ref"), "text") if isinstance(value, dict) else str(value)
        for variable, value in variables.items()
    }
    read_settings(environment)
    read_start_settings(environment)
    read_audit_settings(environment)


def test_names_fit_into_a_buckets_sixty_three_characters() -> None:
    longest = "-quarantine-" + "1" * 12 + "-" + "ap-southeast-2"
    assert PARAMETERS["NamePrefix"]["MaxLength"] + len(longest) <= 63


def test_what_a_user_needs_is_an_output() -> None:
    outputs = template()["Outputs"]
    needed = (
        "InputBucketName ManifestBucketName QuarantineBucketName OutputBucketName TrackingTableName InputQueueUrl "
        "DeadLetterQueueUrl StateMachineArn StateMachineConsoleUrl"
    )
    assert set(needed.split()) <= set(outputs)
    assert all(output["Description"] for output in outputs.values())


@pytest.mark.parametrize("environment", environments())
def test_an_environment_sets_parameters_that_exist_to_values_that_are_accepted(environment: str) -> None:
    given = overrides(environment)
    required = {name for name, parameter in PARAMETERS.items() if "Default" not in parameter}
    assert required <= set(given) <= set(PARAMETERS)
    for name, value in given.items():
        parameter = PARAMETERS[name]
        allowed = [str(accepted) for accepted in parameter.get("AllowedValues", [value])]
        assert value in allowed
        assert re.fullmatch(parameter.get("AllowedPattern", ".*"), value)
        assert len(value) <= parameter.get("MaxLength", 255)
        if "MinValue" in parameter:
            assert parameter["MinValue"] <= float(value) <= parameter["MaxValue"]


@pytest.mark.parametrize("environment", environments())
def test_deploying_an_environment_asks_for_nothing_more(environment: str) -> None:
    options = environments()[environment]
    assert options["resolve_s3"] is True
    assert options["capabilities"] == "CAPABILITY_IAM"
    assert options["stack_name"] == overrides(environment)["NamePrefix"]


def test_dev_is_small_and_prod_is_wide_and_protected() -> None:
    assert overrides("dev")["MaxConcurrency"] == "2"
    assert overrides("prod")["MaxConcurrency"] == "50"
    assert (overrides("dev")["Protect"], overrides("prod")["Protect"]) == ("false", "true")
    assert overrides("dev")["NamePrefix"] != overrides("prod")["NamePrefix"]
    assert environments()["default"] == environments()["dev"]
