"""The real definition, run by each engine with every function in this process."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from botocore.exceptions import ClientError

from dev.simulator.engines import Engine
from dev.simulator.world import QUARANTINE_BUCKET, World
from tests.workflow.mocked_cases import MOCKED_CASES, MockedCase
from tests.workflow.scenarios import SCENARIOS, Scenario


@pytest.mark.parametrize("scenario", [*SCENARIOS, *MOCKED_CASES], ids=str)
def test_scenario(scenario: Scenario, engine: Engine) -> None:
    with World(environment=scenario.environment, engine=engine) as world, skipped_without_mocked_integrations(scenario):
        play(scenario, world)


@contextmanager
def skipped_without_mocked_integrations(scenario: Scenario) -> Iterator[None]:
    """Step Functions Local 1.7.9 takes the test case in `<machine>#<test case>` for a part of the machine's name."""
    try:
        yield
    except ClientError as error:
        if isinstance(scenario, MockedCase) and error.response["Error"]["Code"] == "StateMachineDoesNotExist":
            pytest.skip("this version of Step Functions Local has no mocked integrations; 2.0.0 has")
        raise


def machine_is_unknown() -> ClientError:
    return ClientError({"Error": {"Code": "StateMachineDoesNotExist", "Message": "unknown"}}, "StartExecution")


def test_a_mocked_case_is_skipped_with_its_reason_on_an_engine_without_mocked_integrations() -> None:
    with (
        pytest.raises(pytest.skip.Exception, match="no mocked integrations"),
        skipped_without_mocked_integrations(MOCKED_CASES[0]),
    ):
        raise machine_is_unknown()


def test_nothing_else_is_skipped() -> None:
    with pytest.raises(ClientError), skipped_without_mocked_integrations(SCENARIOS[0]):
        raise machine_is_unknown()
    with pytest.raises(AssertionError), skipped_without_mocked_integrations(MOCKED_CASES[0]):
        raise AssertionError


def play(scenario: Scenario, world: World) -> None:
    for step in scenario.steps:
        execution = step.act(world)
        assert (execution.status, execution.error) == (step.status, step.error)
        assert execution.path == step.path
        if execution.output is not None:
            failures = [failure["itemIdentifier"] for failure in execution.output["batchItemFailures"]]
            assert failures == list(step.failed_messages)

    assert world.statuses() == Counter(scenario.statuses)
    records = world.manifest_records()
    assert [record["file_count"] for record in records] == scenario.manifests
    assert len([record for record in records if record["status"] == "open"]) == scenario.open_manifests
    final = Counter(record["status"] for record in records if record["status"] not in ("open", "started"))
    assert final == scenario.final_manifests
    assert len(world.locks()) == scenario.locks
    expected_runs = len(scenario.manifests) if scenario.job_runs is None else scenario.job_runs
    assert len(world.job_runs()) == expected_runs

    # Every object has a record and every record has an object.
    objects = world.manifest_objects()
    assert sorted(objects) == sorted(record["file_path"] for record in records)
    named = [path for paths in objects.values() for path in paths]
    assert len(named) == len(set(named))
    manifested = {path: row for path, row in world.files().items() if row["status"] == "manifested"}
    assert {path: row["manifest_path"] for path, row in manifested.items()} == {
        path: manifest for manifest, paths in objects.items() for path in paths
    }
    copies = world.s3.list_objects_v2(Bucket=QUARANTINE_BUCKET).get("KeyCount", 0)
    assert copies == scenario.quarantined_copies
