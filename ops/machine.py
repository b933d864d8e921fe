"""Starting the state machine, as the sweep's schedule does, for one date."""

import json
from typing import Any

import boto3

from ops.stack import Stack


def start(stack: Stack, date_prefix: str, *, flush_before: str | None) -> str:
    """Starts an execution with the output that FindStalledDates has for one date. Returns the execution's ARN.

    The execution is asynchronous. With `flush_before` None it starts open manifests and cuts full batches only.
    """
    execution_input: dict[str, Any] = {
        "sweep": False,
        "dates": [{"date_prefix": date_prefix, "files": [], "flush_before": flush_before}],
        "job_runs": [],
        "rejected": [],
        "ignored": 0,
    }
    answer = boto3.client("stepfunctions").start_execution(
        stateMachineArn=stack.state_machine_arn, input=json.dumps(execution_input)
    )
    return answer["executionArn"]
