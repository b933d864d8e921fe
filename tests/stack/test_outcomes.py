"""Failing job runs on the emulator: the workflow restarts the job once, then leaves it to an operator."""

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from dev.emulator.deploy import deploy
from dev.emulator.emulator import Emulator
from dev.paths import ROOT
from dev.run.files import SAMPLE_PARAMETERS
from tests.stack.stack import Stack, eventually
from toolkit.facts import Facts

pytestmark = pytest.mark.xdist_group("outcomes")

FILE = b'{"row": 1}\n' * 4500
ETAG = hashlib.md5(FILE, usedforsecurity=False).hexdigest()
MISSING = (0, 1)
MENDED, BROKEN = "2025-01-01", "2025-01-02"


def test_a_run_that_fails_is_started_again_and_one_that_keeps_failing_waits_for_an_operator() -> None:
    with Emulator(enforce_policies=True) as emulator:
        stack = Stack(emulator, deploy(emulator, SAMPLE_PARAMETERS | {"OutcomeAfterMinutes": "0"}))
        for date in (MENDED, BROKEN):
            announce(stack, date)
        eventually(stack.facts, lambda facts: states(facts, MENDED) == states(facts, BROKEN) == ["FAILED"])

        put(stack, MENDED, *MISSING)
        sweep(stack)
        eventually(
            stack.facts,
            lambda facts: (
                sorted(states(facts, MENDED)) == ["FAILED", "SUCCEEDED"] and states(facts, BROKEN) == ["FAILED"] * 2
            ),
        )
        sweep(stack)

        records = {item["date_prefix"]["S"].removeprefix("MANIFEST#"): item for item in manifests(stack)}
        assert {date: item["status"]["S"] for date, item in records.items()} == {MENDED: "succeeded", BROKEN: "failed"}
        assert {date: item["attempt"]["N"] for date, item in records.items()} == {MENDED: "2", BROKEN: "2"}
        assert records[BROKEN]["error"]["S"].startswith("FAILED: ")

        sweep(stack)
        assert len(stack.facts().runs) == 4

        path = records[BROKEN]["file_path"]["S"]
        statuses = {status["date"]: status["failed"] for status in ops(stack, "status")["dates"]}
        assert statuses[MENDED] == []
        assert [(failed["manifest"], failed["error"][:8]) for failed in statuses[BROKEN]] == [(path, "FAILED: ")]
        put(stack, BROKEN, *MISSING)
        assert ops(stack, "replay", path, "--yes")["attempt"] == 3
        eventually(stack.facts, lambda facts: sorted(states(facts, BROKEN)) == ["FAILED", "FAILED", "SUCCEEDED"])
        sweep(stack)
        (status,) = ops(stack, "status", BROKEN)["dates"]
        assert (status["failed"], status["manifests"]["succeeded"]) == ([], 1)
        named = next(uri for uri, row in stack.files(BROKEN).items() if row.manifest_path == path)
        (found,) = ops(stack, "where", named)["found"]
        assert (found["manifest"]["status"], found["job_run"]["state"]) == ("succeeded", "SUCCEEDED")


def ops(stack: Stack, *arguments: str) -> Any:
    """The output of an operator's command, run as in a shell."""
    command = [sys.executable, "-m", "ops", *arguments, "--json", "--stack", stack.deployment.stack_name]
    environment = {**os.environ, **stack.emulator.environment(), "PYTHONPATH": str(ROOT)}
    return json.loads(subprocess.run(command, env=environment, capture_output=True, check=True, cwd=ROOT).stdout)


def announce(stack: Stack, date: str) -> None:
    """One message names nine files. A run that reads one of the two missing files fails. A manifest has eight files."""
    versions = put(stack, date, *set(range(9)).difference(MISSING))
    records: list[Any] = []
    for number in range(9):
        # The bucket itself announces the files that are there, too. A missing file is known by its etag alone.
        version = {"versionId": versions[number]} if number in versions else {}
        records += json.loads(stack.event(key(date, number), len(FILE), eTag=ETAG, **version))["Records"]
    stack.emulator.sqs.send_message(
        QueueUrl=stack.deployment.input_queue_url, MessageBody=json.dumps({"Records": records})
    )


def put(stack: Stack, date: str, *numbers: int) -> dict[int, str]:
    """Uploads these files. Returns their version ids."""
    s3, bucket = stack.emulator.s3, stack.deployment.input_bucket
    return {number: s3.put_object(Bucket=bucket, Key=key(date, number), Body=FILE)["VersionId"] for number in numbers}


def key(date: str, number: int) -> str:
    return f"in/{date}-file{number}.ndjson"


def states(facts: Facts, date: str) -> list[str]:
    return [run.state for run in facts.runs if f"/{date}/" in run.manifest_path]


def manifests(stack: Stack) -> list[dict[str, dict[str, str]]]:
    pages = stack.emulator.dynamodb.get_paginator("scan").paginate(TableName=stack.deployment.tracking_table)
    return [item for page in pages for item in page["Items"] if item["date_prefix"]["S"].startswith("MANIFEST#")]  # type: ignore[misc]


def sweep(stack: Stack) -> None:
    ended = stack.emulator.stepfunctions.start_sync_execution(
        stateMachineArn=stack.deployment.state_machine_arn, input=json.dumps({"sweep": True})
    )
    assert ended["status"] == "SUCCEEDED", ended
