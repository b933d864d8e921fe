"""Starting the state machine, as the sweep's schedule does."""

import json
from typing import Any

import boto3

from ops.stack import Stack

SWEEP = {"sweep": True}


def start(stack: Stack, execution_input: dict[str, Any]) -> str:
    """Returns the execution's ARN; it runs on by itself."""
    answer = boto3.client("stepfunctions").start_execution(
        stateMachineArn=stack.state_machine_arn, input=json.dumps(execution_input)
    )
    return answer["executionArn"]
