"""The stand-in for Glue's events: each run's end is told once, in the format that Glue sends."""

import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import EndpointConnectionError

from dev.emulator import run_ends
from dev.emulator.deploy import local_template
from dev.emulator.run_ends import RunEnds
from dev.paths import TEMPLATE
from dev.template import template
from toolkit.facts import JobRun

RUNNING, SUCCEEDED = JobRun("jr_1", "s3://m/1", "RUNNING"), JobRun("jr_1", "s3://m/1", "SUCCEEDED")
FAILED = JobRun("jr_2", "s3://m/2", "FAILED", "out of memory")


@pytest.fixture
def emulator() -> Any:
    emulator = mock.Mock()
    emulator.events.put_events.return_value = {"FailedEntryCount": 0}
    return emulator


def ends(emulator: Any) -> RunEnds:
    deployment: Any = SimpleNamespace(job_name="job")
    return RunEnds(emulator, deployment)


def sent(emulator: Any) -> list[dict[str, Any]]:
    return [entry for call in emulator.events.put_events.call_args_list for entry in call.kwargs["Entries"]]


def test_an_end_is_told_once_and_only_when_it_was_seen_before(emulator: Any) -> None:
    of_runs = ends(emulator)
    for runs, told in (([RUNNING], 0), ([SUCCEEDED], 0), ([SUCCEEDED], 1), ([SUCCEEDED], 1)):
        of_runs.tell(runs)
        assert len(sent(emulator)) == told


def test_an_event_that_is_not_taken_is_sent_again(emulator: Any) -> None:
    emulator.events.put_events.return_value = {"FailedEntryCount": 1}
    of_runs = ends(emulator)
    for _ in range(3):
        of_runs.tell([SUCCEEDED])

    assert len(sent(emulator)) == 2


def test_the_event_is_one_that_the_rule_of_the_stack_takes(emulator: Any) -> None:
    of_runs = ends(emulator)
    for _ in range(2):
        of_runs.tell([SUCCEEDED, FAILED])

    pattern = template()["Resources"]["JobRunRule"]["Properties"]["EventPattern"]
    details = {json.loads(entry["Detail"])["jobRunId"]: json.loads(entry["Detail"]) for entry in sent(emulator)}
    rule = local_template(TEMPLATE.read_text(), enforce_policies=False).partition("  JobRunRule:")[2]
    assert pattern["source"] == ["aws.glue"]
    assert rule.index(f"source: [{sent(emulator)[0]['Source']}]") < rule.index("Targets:")
    assert all([entry["DetailType"]] == pattern["detail-type"] for entry in sent(emulator))
    assert {detail["state"] for detail in details.values()} <= set(pattern["detail"]["state"])
    assert details["jr_2"] == {
        "jobName": "job",
        "severity": "ERROR",
        "state": "FAILED",
        "jobRunId": "jr_2",
        "message": "out of memory",
    }


def test_a_busy_emulator_is_asked_again(emulator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: Iterator[Exception | list[JobRun]] = iter([EndpointConnectionError(endpoint_url="there"), [SUCCEEDED]])

    def read_runs(*_: object) -> list[JobRun]:
        answer = next(answers, [SUCCEEDED])
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(run_ends, "read_runs", read_runs)
    monkeypatch.setattr(run_ends, "POLL_SECONDS", 0.01)
    with ends(emulator):
        until = time.monotonic() + 10
        while not sent(emulator) and time.monotonic() < until:
            time.sleep(0.01)

    assert len(sent(emulator)) == 1
