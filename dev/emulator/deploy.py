"""Create the stack of template.yaml on the emulator, through CloudFormation, as `sam deploy` would."""

import io
import json
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dev.emulator.emulator import Emulator
from dev.emulator.errors import DeployError
from dev.paths import CODE, DEFINITION, ROOT, TEMPLATE

NAME_PREFIX = "manifest-builder"
JOB_NAME = "count-rows"
ARTIFACT_BUCKET = f"{NAME_PREFIX}-artifacts"
LAYER_PARAMETER = "/local/powertools-layer"
CREATE_SECONDS = 120
TASK_MARGIN_SECONDS = 10
"""By which a task's TimeoutSeconds is longer than its function's Timeout."""

# `sam deploy` uploads the code and points these properties to it; so do we.
CODE_URI = ("CodeUri: functions/", f"CodeUri: s3://{ARTIFACT_BUCKET}/functions.zip")
DEFINITION_URI = (
    f"DefinitionUri: {DEFINITION.relative_to(ROOT).as_posix()}",
    f"DefinitionUri: s3://{ARTIFACT_BUCKET}/manifest_builder.asl.json",
)
# MiniStack has the SDK integration only; its arguments and its answer are the same.
GLUE = ("${AWS::Partition}:states:::glue:startJobRun", "${AWS::Partition}:states:::aws-sdk:glue:startJobRun")
# Glue sends no events here: run_ends.py does. PutEvents refuses sources that begin with "aws.".
GLUE_SOURCE = "emulator.glue"
GLUE_EVENTS = ("source: [aws.glue]", f"source: [{GLUE_SOURCE}]")
# MiniStack speaks plain HTTP. When it enforces policies, statements that refuse plain HTTP would refuse every call.
PLAIN_HTTP = ('{aws:SecureTransport: "false"}', '{aws:SecureTransport: "never"}')
# On AWS the action covers the batch call, which has no action of its own; MiniStack checks one.
BATCH_ACTION = ("sqs:ChangeMessageVisibility]", "sqs:ChangeMessageVisibility*]")


@dataclass(frozen=True, slots=True)
class Deployment:
    """The outputs of the stack, and the folder of the job's results."""

    stack_name: str
    resources: int
    input_bucket: str
    manifest_bucket: str
    quarantine_bucket: str
    tracking_table: str
    input_queue_url: str
    dead_letter_queue_url: str
    state_machine_arn: str
    job_name: str
    events_queue_url: str
    """A queue that gets the stack's own events."""
    result_bucket: str = ARTIFACT_BUCKET


def deploy(emulator: Emulator, parameters: Mapping[str, str]) -> Deployment:
    """Upload the code, make the job, create the stack with these parameters. Raises DeployError."""
    emulator.s3.create_bucket(Bucket=ARTIFACT_BUCKET)
    artifacts = {
        "functions.zip": zip_folder(CODE),
        "manifest_builder.asl.json": DEFINITION.read_bytes(),
        "template.yaml": local_template(TEMPLATE.read_text(), emulator.enforce_policies).encode(),
    }
    for key, body in artifacts.items():
        emulator.s3.put_object(Bucket=ARTIFACT_BUCKET, Key=key, Body=body)
    create_job(emulator)
    events_queue_url = subscribe(emulator)
    # The template looks the layer's ARN up in AWS's public parameter; the emulator ignores another account's layer.
    emulator.ssm.put_parameter(
        Name=LAYER_PARAMETER, Type="String", Value="arn:aws:lambda:us-east-1:123456789012:layer:powertools:1"
    )
    values = {
        "NamePrefix": NAME_PREFIX,
        "GlueJobName": JOB_NAME,
        "PowertoolsLayerArn": LAYER_PARAMETER,
        **parameters,
    }
    outputs = create_stack(emulator, values)
    use_whole_numbers(emulator)
    lengthen_timeouts(emulator)
    return Deployment(
        stack_name=NAME_PREFIX,
        resources=len(
            emulator.cloudformation.describe_stack_resources(StackName=NAME_PREFIX)["StackResources"],
        ),
        input_bucket=outputs["InputBucketName"],
        manifest_bucket=outputs["ManifestBucketName"],
        quarantine_bucket=outputs["QuarantineBucketName"],
        tracking_table=outputs["TrackingTableName"],
        input_queue_url=outputs["InputQueueUrl"],
        dead_letter_queue_url=outputs["DeadLetterQueueUrl"],
        state_machine_arn=outputs["StateMachineArn"],
        # Without a name the stack makes a job, and calls it as itself.
        job_name=values["GlueJobName"] or NAME_PREFIX,
        events_queue_url=events_queue_url,
    )


def local_template(text: str, enforce_policies: bool) -> str:
    """The template with its local files uploaded and the emulator's gaps bridged; nothing is expanded."""
    for old, new in [CODE_URI, DEFINITION_URI, GLUE, GLUE_EVENTS] + (
        [PLAIN_HTTP, BATCH_ACTION] if enforce_policies else []
    ):
        if old not in text:
            raise DeployError(f"template.yaml does not say {old!r} any more; dev/emulator/deploy.py replaces it")
        text = text.replace(old, new)
    return text


def zip_folder(folder: Path) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*.py")):
            file.write(path, path.relative_to(folder))
    return archive.getvalue()


def create_job(emulator: Emulator) -> None:
    emulator.glue.create_job(
        Name=JOB_NAME,
        Role="arn:aws:iam::000000000000:role/count-rows",
        # A local path: from s3:// MiniStack would rewrite the script while a run reads it.
        Command={"Name": "pythonshell", "ScriptLocation": str(ROOT / "dev" / "emulator" / "glue_count_rows.py")},
        DefaultArguments={"--RESULT_BUCKET": ARTIFACT_BUCKET},
        ExecutionProperty={"MaxConcurrentRuns": 10},
        Timeout=120,
    )


def subscribe(emulator: Emulator) -> str:
    """Sends the events of the stack to a queue, as the next step of a user would. Returns its URL."""
    url = emulator.sqs.create_queue(QueueName=f"{NAME_PREFIX}-events")["QueueUrl"]
    arn = emulator.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    emulator.events.put_rule(Name=f"{NAME_PREFIX}-events", EventPattern=json.dumps({"source": [NAME_PREFIX]}))
    emulator.events.put_targets(Rule=f"{NAME_PREFIX}-events", Targets=[{"Id": "queue", "Arn": arn}])
    return url


def create_stack(emulator: Emulator, parameters: Mapping[str, str]) -> dict[str, str]:
    """Returns the stack's outputs."""
    emulator.cloudformation.create_stack(
        StackName=NAME_PREFIX,
        TemplateURL=f"{emulator.endpoint}/{ARTIFACT_BUCKET}/template.yaml",
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    deadline = time.monotonic() + CREATE_SECONDS
    while time.monotonic() < deadline:
        stack = emulator.cloudformation.describe_stacks(StackName=NAME_PREFIX)["Stacks"][0]
        status = stack["StackStatus"]
        if status == "CREATE_COMPLETE":
            return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        if not status.endswith("_IN_PROGRESS"):
            break
        time.sleep(0.1)
        emulator.check_alive()
    raise DeployError(f"the stack is {status}:\n{failed_events(emulator)}")


def failed_events(emulator: Emulator) -> str:
    events = emulator.cloudformation.describe_stack_events(StackName=NAME_PREFIX)["StackEvents"]
    lines = [
        f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason given')}"
        for event in reversed(events)
        if event["ResourceStatus"].endswith("_FAILED")
    ]
    return "\n".join(lines) or "  no event says why"


def use_whole_numbers(emulator: Emulator) -> None:
    """MiniStack keeps Number parameters as text, and its poller then compares a number with a text and stops."""
    for mapping in emulator.lambda_.list_event_source_mappings()["EventSourceMappings"]:
        concurrency = int(mapping["ScalingConfig"]["MaximumConcurrency"])
        emulator.lambda_.update_event_source_mapping(
            UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": concurrency}
        )


def lengthen_timeouts(emulator: Emulator) -> None:
    """On AWS a function's timeout excludes its start. Here it includes it, and on a busy machine that takes seconds."""
    pages = emulator.lambda_.get_paginator("list_functions").paginate()
    for function in (function for page in pages for function in page["Functions"]):
        emulator.lambda_.update_function_configuration(
            FunctionName=function["FunctionName"], Timeout=function["Timeout"] + TASK_MARGIN_SECONDS
        )
