"""`make teststate`: every branch of the definition has a test, and a wrong branch is reported."""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber

from dev.emulator.emulator import Emulator
from dev.template import all_states
from dev.teststate import command
from dev.teststate.cases import cases, leftover, missing
from dev.teststate.command import GAPS_OF_MINISTACK, machine, main, report, run

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def definition() -> dict[str, Any]:
    """A copy of the definition that a test changes."""
    return deepcopy(machine())


def stubbed() -> "SFNClient":
    """A client that checks requests against the service's model and calls nothing."""
    return boto3.client("stepfunctions", region_name="us-east-1")


def test_every_branch_of_the_definition_has_a_sample(definition: dict[str, Any]) -> None:
    assert missing(definition) == []
    assert leftover(definition) == []
    assert {case.branch.state for case in cases(definition)} == all_states(definition).keys()


def test_every_branch_holds_on_the_emulator_or_is_a_named_gap(emulator: Emulator) -> None:
    outcome = run(emulator.stepfunctions, cases(machine()), GAPS_OF_MINISTACK)

    assert outcome.problems == []
    assert set(outcome.gaps) == set(GAPS_OF_MINISTACK.values())
    gaps = {case.branch.state for affected in outcome.gaps.values() for case in affected}
    assert gaps == {"ForEachDate", "ForEachFile", "BuildManifest"}
    assert len(outcome.held) + sum(map(len, outcome.gaps.values())) == len(cases(machine()))


@pytest.mark.parametrize(
    ("state", "change", "problem"),
    [
        (
            "IsFileValid",
            {"Default": "TrackFile"},
            'IsFileValid, default: nextState is "TrackFile", not "QuarantineFile"',
        ),
        ("ValidateFile", {"ResultPath": "$.result"}, "ValidateFile, success: output is"),
        ("ValidateFile", {"Catch": []}, 'ValidateFile, catch States.ALL: nextState is null, not "FileFailed"'),
        ("DateDone", {"Parameters": {"outcome": "other"}}, 'DateDone, success: output is {"outcome": "other"}'),
        ("Done", {"Type": "Pass", "Next": "Source"}, 'Done, success: nextState is "Source", not null'),
        ("ManifestFailed", {"Error": "Other"}, 'ManifestFailed, failure: error is "Other", not "ManifestFailed"'),
    ],
)
def test_a_state_that_does_something_else_is_a_problem(
    emulator: Emulator, state: str, change: dict[str, Any], problem: str
) -> None:
    """The cases are those of the real definition; the engine gets the changed state."""
    tests = [case for case in cases(machine()) if case.branch.state == state]
    changed = [replace(case, state={**case.state, **change}) for case in tests]
    outcome = run(emulator.stepfunctions, changed, GAPS_OF_MINISTACK)

    assert [found for found in outcome.problems if found.startswith(problem)]


def test_a_gap_that_the_engine_does_not_have_any_more_is_a_problem(emulator: Emulator) -> None:
    outcome = run(emulator.stepfunctions, cases(machine()), {**GAPS_OF_MINISTACK, "Succeed": "no Succeed states"})

    assert [problem for problem in outcome.problems if problem.startswith("Done, success: this engine tests it")]


def test_a_new_state_and_a_new_rule_without_a_sample_fail(
    definition: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    definition["States"]["Pause"] = {"Type": "Pass", "Next": "Done"}
    definition["States"]["Source"]["Choices"].append({"Variable": "$.other", "IsPresent": True, "Next": "Pause"})

    assert report(command.Outcome(held=cases(definition)), definition) == 1
    printed = capsys.readouterr().out
    assert "Pause, success: no sample in dev/teststate/samples.py" in printed
    assert "Source, rule 3: no sample in dev/teststate/samples.py" in printed
    assert "67 branches, 97 % of them with a test" in printed


def test_a_sample_of_a_state_that_is_gone_fails(definition: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    del definition["States"]["LockNotReleased"]

    assert report(command.Outcome(held=cases(definition)), definition) == 1
    assert "LockNotReleased, failure: the definition has no such branch" in capsys.readouterr().out


def test_a_problem_makes_the_command_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(command.Outcome(problems=["Done, success: wrong"]), machine()) == 1
    assert "Done, success: wrong" in capsys.readouterr().out


def test_a_definition_without_problems_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(command.Outcome(held=cases(machine())), machine()) == 0
    assert "100 % of them with a test" in capsys.readouterr().out


def test_requests_fit_the_model_of_the_service_and_mock_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stub raises for a parameter that the service does not have. No request reaches AWS."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    client = stubbed()
    tests = cases(machine())
    with Stubber(client) as stub:
        for case in tests:
            response = {"status": "SUCCEEDED", "output": json.dumps(case.sample.output)}
            stub.add_response("test_state", response, dict(case.request))
        outcome = run(client, tests, {})
        stub.assert_no_pending_responses()
    assert outcome.problems, "the stub's responses have no next states"
    assert all("mock" in case.request for case in tests if case.state["Type"] in {"Task", "Map", "Parallel"})


def test_a_caught_error_that_is_retried_first_is_sent_as_the_last_attempt() -> None:
    counts = {
        case.branch.name: case.request.get("stateConfiguration")
        for case in cases(machine())
        if case.branch.state == "StartGlueJob"
    }

    assert counts["catch Glue.ThrottlingException"] == {"retrierRetryCount": 1}
    assert counts["catch Glue.AWSGlueException"] is None


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION"])
def test_aws_without_credentials_or_region_is_a_mistake_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    assert main(["--aws"]) == 2
    error = capsys.readouterr().err
    assert "sign in to AWS and set a region" in error
    assert "states:TestState" in error
    assert "Traceback" not in error
