"""The real definition, run by each engine with every function in this process."""

from collections import Counter

import pytest

from dev.simulator.engines import Engine
from dev.simulator.world import QUARANTINE_BUCKET, World
from tests.workflow.mocked_cases import MOCKED_CASES
from tests.workflow.scenarios import SCENARIOS, Scenario


@pytest.mark.parametrize("scenario", [*SCENARIOS, *MOCKED_CASES], ids=str)
def test_scenario(scenario: Scenario, engine: Engine) -> None:
    with World(environment=scenario.environment, engine=engine) as world:
        play(scenario, world)


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
