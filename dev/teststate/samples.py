"""The input of each branch, the mocked result of its state, and the output that follows from them.

A Task, Map, Parallel, Pass or Succeed state has one sample, which its Catch branches share. A Choice has one input for
each rule and one for its default.
"""

from dataclasses import dataclass
from typing import Any

from dev.teststate.branches import DEFAULT, FAILURE, SUCCESS, rule

Json = Any
CONTEXT = {
    "Execution": {
        "Id": "arn:aws:states:us-east-1:123456789012:express:manifest-builder:run:1",
        "Name": "run",
        "StartTime": "2025-12-23T10:00:00.000Z",
    },
    "State": {"EnteredTime": "2025-12-23T10:00:01.000Z"},
}
"""The part of the context object that the definition reads."""

FILE = {
    "bucket": "input-bucket",
    "key": "a/2025-12-23.ndjson",
    "size_bytes": 3_500_000,
    "message_id": "1",
    "removed": False,
}
REASON = "Size 25.00MB out of range"
TRACKED = {"message_id": "1", "outcome": "tracked"}
OF_A_FILE = {"run_id": "run", "date_prefix": "2025-12-23", "file": FILE}
CHECK = {"build": True, "reason": "limit", "batch_index": 1, "jobs_waiting": 0}
OF_A_DATE = {
    "run_id": "run",
    "date_prefix": "2025-12-23",
    "files": [TRACKED],
    "flush_before": None,
    "started_at": "2025-12-23T10:00:00.000Z",
    "check": CHECK,
    "lock": {"acquired": True, "token": "token"},
}
MANIFEST = {
    "needed": True,
    "run_found": False,
    "manifest_path": "s3://manifest-bucket/manifests/1.json",
    "manifest_bucket": "manifest-bucket",
    "record": {"date_prefix": "MANIFEST#2025-12-23", "file_name": "1"},
}
OF_A_MANIFEST = OF_A_DATE | {"manifest": MANIFEST}
PARSED = {"run_id": "run", "rejected": [], "ignored": 0, "dates": [{"date_prefix": "2025-12-23", "files": [FILE]}]}
FAILED = {"error": {"Error": "Lambda.Unknown", "Cause": "it broke"}}
JOB = {"JobRunId": "jr_1"}
REPORT = {"failed_dates": 0, "locks_left": 0, "batchItemFailures": []}
DONE = {"date_prefix": "2025-12-23", "files": [TRACKED], "jobs_waiting": 0}


@dataclass(frozen=True)
class Sample:
    """The input of a state, the result of its mocked work, and the output. Choice states pass their input on."""

    input: Json
    result: Json = None
    output: Json = None


def task(given: dict[str, Any], path: str | None, result: Json) -> dict[str, Sample]:
    """A state whose result becomes the field `path` of its input, or its whole output if `path` is None."""
    return {SUCCESS: Sample(given, result, result if path is None else given | {path: result})}


def choice(*rules: Json, default: Json) -> dict[str, Sample]:
    """A Choice whose rules, in their order, apply to these inputs."""
    numbered = {rule(number): given for number, given in enumerate(rules, start=1)}
    return {name: Sample(given, output=given) for name, given in (numbered | {DEFAULT: default}).items()}


def unchanged(given: Json) -> dict[str, Sample]:
    """A Succeed state, or a state that ignores its result."""
    return {SUCCESS: Sample(given, {}, given)}


def with_flag(given: dict[str, Any], name: str, **flags: Json) -> dict[str, Any]:
    """`given`, with these fields of its field `name`."""
    return given | {name: given.get(name, {}) | flags}


FAILURES = {FAILURE: Sample({})}
SAMPLES: dict[str, dict[str, Sample]] = {
    "Source": choice({"sweep": True}, {"job_runs": [{"job_run_id": "jr_1"}]}, default={"sweep": False, "messages": []}),
    "ParseEvent": task({"messages": []}, None, PARSED),
    "FindStalledDates": task({"sweep": True}, None, PARSED | {"job_runs": []}),
    "RecordOutcome": task(PARSED | {"job_runs": []}, None, PARSED),
    "IsSweep": choice(PARSED | FAILED, default={"job_runs": []} | FAILED),
    "OutcomeNotRecorded": FAILURES,
    "ForEachDate": task(PARSED, "dates", [DONE]),
    "ForEachFile": task(OF_A_DATE | {"files": [FILE]}, "files", [TRACKED]),
    "IsFileRemoved": choice(with_flag(OF_A_FILE, "file", removed=True), default=OF_A_FILE),
    "ValidateFile": task(OF_A_FILE, "validation", {"valid": True, "reason": None}),
    "IsFileValid": choice(
        with_flag(OF_A_FILE, "validation", valid=True), default=with_flag(OF_A_FILE, "validation", valid=False)
    ),
    "QuarantineFile": task(OF_A_FILE | {"validation": {"valid": False, "reason": REASON}}, None, TRACKED),
    "TrackFile": task(OF_A_FILE, None, TRACKED),
    "RecordRemoval": task(with_flag(OF_A_FILE, "file", removed=True), None, TRACKED),
    "FileFailed": {
        SUCCESS: Sample(
            OF_A_FILE | FAILED,
            output={
                "message_id": "1",
                "file_path": "s3://input-bucket/a/2025-12-23.ndjson",
                "size_bytes": 3_500_000,
                "outcome": "failed",
                "error": "Lambda.Unknown",
            },
        )
    },
    "CheckThreshold": task(OF_A_DATE, "check", CHECK | {"batch_index": 2}),
    "IsThresholdReached": choice(OF_A_DATE, default=with_flag(OF_A_DATE, "check", build=False)),
    "AcquireLock": task(OF_A_DATE, "lock", {"acquired": True, "token": "another"}),
    "IsLockAcquired": choice(OF_A_DATE, default=with_flag(OF_A_DATE, "lock", acquired=False)),
    "BuildManifest": {SUCCESS: Sample(OF_A_DATE, [OF_A_DATE], OF_A_DATE)},
    "CreateManifest": task(OF_A_DATE, "manifest", MANIFEST),
    "IsManifestNeeded": choice(
        with_flag(OF_A_MANIFEST, "manifest", needed=False),
        with_flag(OF_A_MANIFEST, "manifest", run_found=True),
        default=OF_A_MANIFEST,
    ),
    "NothingToBuild": unchanged(OF_A_MANIFEST),
    "UpdateStatus": task(OF_A_MANIFEST, "status", {"claimed": True}),
    "IsJobStarted": choice(
        OF_A_MANIFEST | {"status": {"claimed": True}}, default=OF_A_MANIFEST | {"status": {"claimed": False}}
    ),
    "JobStartedElsewhere": unchanged(OF_A_MANIFEST),
    "StartGlueJob": {SUCCESS: Sample(OF_A_MANIFEST, JOB, with_flag(OF_A_MANIFEST, "manifest", job=JOB))},
    "JobWaiting": unchanged(OF_A_MANIFEST),
    "RecordJobRun": unchanged(with_flag(OF_A_MANIFEST, "manifest", job=JOB)),
    "ReleaseLock": task(OF_A_DATE, "lock", {"acquired": False, "token": None}),
    "DidBuildFail": choice(OF_A_DATE | FAILED, default=OF_A_DATE),
    "LockLeft": {
        SUCCESS: Sample(OF_A_DATE | FAILED, output=DONE | {"outcome": "lock_left", "error": "Lambda.Unknown"})
    },
    "DateFailed": {SUCCESS: Sample(OF_A_DATE | FAILED, output=DONE | {"outcome": "failed", "error": "Lambda.Unknown"})},
    "DateDone": {SUCCESS: Sample(OF_A_DATE, output=DONE | {"outcome": "done"})},
    "ReportResult": task(PARSED | {"dates": [DONE]}, None, REPORT),
    "DidAnyDateFail": choice(REPORT | {"locks_left": 1}, REPORT | {"failed_dates": 1}, default=REPORT),
    "LockNotReleased": FAILURES,
    "ManifestFailed": FAILURES,
    "Done": unchanged(REPORT),
}
