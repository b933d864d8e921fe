"""The cases of Step Functions Local's mock configuration, on the emulator, which reads the same file."""

import json

import pytest

from tests.stack.stack import Stack, eventually
from tests.workflow.mocked_cases import MOCKED_CASES, MockedCase, messages

pytestmark = pytest.mark.xdist_group("stack")

GAPS = {"ThrottledThenSuccess": "MiniStack throws a mocked error again at every retry"}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.xfail(reason=GAPS[case.name])) if case.name in GAPS else case
        for case in MOCKED_CASES
    ],
    ids=str,
)
def test_mocked_case(case: MockedCase, stack: Stack) -> None:
    sfn = stack.emulator.stepfunctions
    arn = sfn.start_execution(
        stateMachineArn=f"{stack.deployment.state_machine_arn}#{case.name}",
        input=json.dumps({"sweep": False, "messages": messages(case.date, stack.deployment.input_bucket)}),
    )["executionArn"]

    execution = eventually(lambda: sfn.describe_execution(executionArn=arn), lambda found: found["status"] != "RUNNING")

    (step,) = case.steps
    assert (execution["status"], execution.get("error")) == (step.status, step.error)
    facts = stack.facts()
    statuses = [row.status for row in facts.files if row.date == case.date]
    assert {status: statuses.count(status) for status in statuses} == case.statuses
    manifests = [manifest for manifest in facts.manifests if manifest.date == case.date]
    assert [manifest.file_count for manifest in manifests] == case.manifests
    assert len([manifest for manifest in manifests if manifest.status == "open"]) == case.open_manifests
    paths = {manifest.path for manifest in manifests}
    assert len([run for run in facts.runs if run.manifest_path in paths]) == (
        len(case.manifests) if case.job_runs is None else case.job_runs
    )
    assert facts.locks.count(f"manifest-{case.date}") == case.locks
