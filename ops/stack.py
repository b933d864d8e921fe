"""The deployed stack: its resources, and the settings that its functions run with."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from toolkit.errors import UsageError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

DEFAULT_STACK = "manifest-builder-dev"
STACK_VARIABLE = "MANIFEST_BUILDER_STACK"
# All functions have the same settings; this one is asked for them.
SETTINGS_OF = "ValidateFileFunction"


@dataclass(frozen=True, slots=True)
class Stack:
    name: str
    region: str
    input_bucket: str
    input_queue_url: str
    dead_letter_queue_url: str
    state_machine_arn: str
    function_log_group: str = ""
    output_bucket: str | None = None
    """Of the stack's own Glue job."""

    @property
    def name_prefix(self) -> str:
        return self.function_log_group.removeprefix("/aws/lambda/")


def default_name() -> str:
    """The name of the stack if none is given."""
    return os.environ.get(STACK_VARIABLE) or DEFAULT_STACK


def find_stack(name: str) -> Stack:
    """The stack by its outputs. The settings of its functions are set in this process. Raises UsageError."""
    cloudformation = boto3.client("cloudformation")
    region = cloudformation.meta.region_name
    outputs = _outputs(cloudformation, name, region)
    try:
        stack = Stack(
            name=name,
            region=region,
            input_bucket=outputs["InputBucketName"],
            input_queue_url=outputs["InputQueueUrl"],
            dead_letter_queue_url=outputs["DeadLetterQueueUrl"],
            state_machine_arn=outputs["StateMachineArn"],
            function_log_group=outputs.get("FunctionLogGroupName", ""),
            output_bucket=outputs.get("OutputBucketName"),
        )
    except KeyError as missing:
        raise UsageError(
            f"the stack {name} has no output {missing}, so it is not a manifest builder: name another stack by --stack"
        ) from None
    os.environ.update(_environment(cloudformation, name))
    return stack


def _outputs(cloudformation: "CloudFormationClient", name: str, region: str) -> dict[str, str]:
    try:
        described = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        raise UsageError(
            f"there is no stack {name} in {region}: name yours by --stack or MANIFEST_BUILDER_STACK, its region by "
            "AWS_REGION"
        ) from None
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


def _environment(cloudformation: "CloudFormationClient", name: str) -> dict[str, str]:
    resource = cloudformation.describe_stack_resource(StackName=name, LogicalResourceId=SETTINGS_OF)
    function = resource["StackResourceDetail"]["PhysicalResourceId"]
    configuration: Any = boto3.client("lambda").get_function_configuration(FunctionName=function)
    environment = configuration.get("Environment", {})
    if error := environment.get("Error"):
        said = " ".join(f"{error.get('ErrorCode')}: {error.get('Message')}".split())
        raise UsageError(f"the settings of {function} cannot be read: {said}: do you have kms:Decrypt for its key?")
    variables: dict[str, str] = environment.get("Variables", {})
    return variables
