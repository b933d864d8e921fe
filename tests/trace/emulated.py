"""An execution history of MiniStack: no states inside Maps, no inputs of calls, and no order except the list's."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from dev.trace.data import Execution, LogLine
from dev.trace.history import Event
from tests.run.kept import REFUSED, VALID, kept

START = datetime(2025, 12, 23, 12, tzinfo=UTC)
RUN = "run-1"
STATE_OF_RESOURCE = {
    f"arn:aws:lambda:us-east-1:000000000000:function:manifest-builder-{name}": state
    for name, state in {
        "parse-event": "ParseEvent",
        "validate-file": "ValidateFile",
        "track-file": "TrackFile",
        "quarantine-file": "QuarantineFile",
        "check-threshold": "CheckThreshold",
        "report-result": "ReportResult",
    }.items()
}
RESOURCE_OF_STATE = {state: resource for resource, state in STATE_OF_RESOURCE.items()}


def entered(kind: str, name: str, data: Any) -> Event:
    return {"type": f"{kind}StateEntered", "stateEnteredEventDetails": {"name": name, "input": json.dumps(data)}}


def exited(kind: str, name: str, data: Any) -> Event:
    return {"type": f"{kind}StateExited", "stateExitedEventDetails": {"name": name, "output": json.dumps(data)}}


def call(state: str, output: Any) -> list[Event]:
    resource = {"resource": RESOURCE_OF_STATE[state]}
    return [
        {"type": "TaskScheduled", "taskScheduledEventDetails": resource},
        {"type": "TaskSucceeded", "taskSucceededEventDetails": {**resource, "output": json.dumps(output)}},
    ]


def failed_call(state: str) -> list[Event]:
    resource = {"resource": RESOURCE_OF_STATE[state]}
    failure = {**resource, "error": "RuntimeError", "cause": '{"errorMessage": "it broke"}'}
    return [
        {"type": "TaskScheduled", "taskScheduledEventDetails": resource},
        {"type": "TaskFailed", "taskFailedEventDetails": failure},
    ]


def task(name: str, data: Any, output: Any) -> list[Event]:
    return [entered("Task", name, data), *call(name, output), exited("Task", name, output)]


def numbered(events: list[Event]) -> list[Event]:
    return [
        {**event, "id": number, "timestamp": START + timedelta(milliseconds=number)}
        for number, event in enumerate(events, start=1)
    ]


def file(uri: str, **outcome: str) -> dict[str, Any]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return {"message_id": key, "bucket": bucket, "key": key, "file_path": uri, "size_bytes": 100, **outcome}


def told(*, dates: bool = True) -> list[Event]:
    """One file tracked, one file refused, one threshold check. Without dates: one rejected message."""
    files = [file(VALID), file(REFUSED)]
    arrived = {
        "run_id": RUN,
        "dates": [{"date_prefix": "2025-12-23", "files": files}] if dates else [],
        "rejected": [] if dates else [{"messageId": "message-1", "reason": "no event"}],
    }
    done = [file(VALID, outcome="tracked"), file(REFUSED, outcome="quarantined")]
    results = {**arrived, "dates": [{"date_prefix": "2025-12-23", "files": done}] if dates else []}
    inside = [
        *call("ValidateFile", {"valid": True, "reason": None}),
        *call("ValidateFile", {"valid": False, "reason": "Invalid extension"}),
        *call("TrackFile", done[0]),
        *call("QuarantineFile", done[1]),
        *failed_call("CheckThreshold"),
        *call("CheckThreshold", {"build": False}),
    ]
    report = {"batchItemFailures": [] if dates else [{"itemIdentifier": "message-1"}]}
    return numbered(
        [
            {"type": "ExecutionStarted", "executionStartedEventDetails": {"input": "{}"}},
            entered("Choice", "Source", {}),
            exited("Choice", "Source", {}),
            *task("ParseEvent", {}, arrived),
            entered("Map", "ForEachDate", arrived),
            *(inside if dates else []),
            exited("Map", "ForEachDate", results),
            *task("ReportResult", results, report),
            {"type": "ExecutionSucceeded", "executionSucceededEventDetails": {"output": json.dumps(report)}},
        ]
    )


def execution(*, dates: bool = True) -> Execution:
    facts = kept()
    line = LogLine(START, "ValidateFile", "DEBUG", "ValidateFile ended", {"file_path": VALID, "outcome": "valid"})
    return Execution(
        status="SUCCEEDED",
        events=told(dates=dates),
        files=facts.files,
        manifests=facts.manifests,
        log={RUN: [line]},
        state_of_resource=STATE_OF_RESOURCE,
    )
