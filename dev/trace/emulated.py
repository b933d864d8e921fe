"""The executions of an embedded run, as far as the emulator tells of them, with what the functions logged meanwhile."""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from dev.emulator.deploy import Deployment
from dev.emulator.emulator import Emulator
from dev.trace.data import Execution, LogLine
from toolkit.facts import Facts

NO_FIELDS = ("box", "level", "location", "message", "timestamp", "service", "xray_trace_id")
"""Fields of log lines that the page shows elsewhere, or not at all."""


def read_executions(emulator: Emulator, deployment: Deployment, facts: Facts) -> list[Execution]:
    """In the order of their start. Of the tracking table there is one state only, that at the end of the run."""
    states = emulator.stepfunctions
    arn = deployment.state_machine_arn
    definition = json.loads(states.describe_state_machine(stateMachineArn=arn)["definition"])
    state_of_resource = {resource: name for name, resource in _resources(definition)}
    log = _read_log(emulator, deployment)
    pages = states.get_paginator("list_executions").paginate(stateMachineArn=arn)
    listed = [execution for page in pages for execution in page["executions"]]
    return [
        Execution(
            status=execution["status"],
            events=_read_events(emulator, execution["executionArn"]),
            files=facts.files,
            manifests=facts.manifests,
            log=log,
            state_of_resource=state_of_resource,
        )
        for execution in sorted(listed, key=lambda execution: execution["startDate"])
    ]


def _resources(machine: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every task with its resource, those inside Maps and Parallels too."""
    for name, state in machine["States"].items():
        if "Resource" in state:
            yield name, state["Resource"]
        for inside in [state["Iterator"]] if "Iterator" in state else state.get("Branches", []):
            yield from _resources(inside)


def _read_events(emulator: Emulator, execution_arn: str) -> list[Any]:
    pages = emulator.stepfunctions.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn, PaginationConfig={"PageSize": 1000}
    )
    return [event for page in pages for event in page["events"]]


def _read_log(emulator: Emulator, deployment: Deployment) -> dict[str, list[LogLine]]:
    """The lines of the functions by the run that they are about."""
    lines: defaultdict[str, list[LogLine]] = defaultdict(list)
    pages = emulator.logs.get_paginator("filter_log_events").paginate(
        logGroupName=f"/aws/lambda/{deployment.stack_name}"
    )
    for event in (event for page in pages for event in page["events"]):
        at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
        for line in map(_decode, event["message"].splitlines()):
            if "run_id" in line and "level" in line:
                fields = {name: value for name, value in line.items() if name not in NO_FIELDS}
                lines[line["run_id"]].append(LogLine(at, line["box"], line["level"], line["message"], fields))
    return lines


def _decode(text: str) -> dict[str, Any]:
    """A log line that a function has written; None for lines of the runtime and for metrics."""
    try:
        line = json.loads(text)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}
