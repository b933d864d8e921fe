"""Everything the functions do to AWS: the scenarios of the workflow, the trigger, and what happens rarely."""

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ReadTimeoutError

import quarantine_file
from manifest_builder import aws, tracking
from tests.faults.lab import Lab
from tests.faults.scenarios import prepare_mixed
from tests.permissions.needs import Call
from tests.permissions.recording import Recording
from tests.simulator.world import INPUT_BUCKET, Function, World, message
from tests.unit.support import answer_lost, aws_error
from tests.workflow.scenarios import DAY, LIMIT_30_MB, MB, SCENARIOS, deliver

REFUSED = f"in/{DAY}-a.csv"
SMALLEST_PART = 5 * MB


def record() -> list[Call]:
    calls: list[Call] = []
    for scenario in SCENARIOS:
        with World(environment=scenario.environment) as world, Recording(calls):
            for step in scenario.steps:
                step.act(world)
    with Lab(environment=LIMIT_30_MB) as lab, Recording(calls):
        prepare_mixed(lab)
        lab.deliver_all()
    for path in RARE_PATHS:
        with World(environment=LIMIT_30_MB) as world, Recording(calls):
            path(world)
    return calls


def a_version_of_a_file_is_refused(world: World) -> None:
    world.s3.put_bucket_versioning(Bucket=INPUT_BUCKET, VersioningConfiguration={"Status": "Enabled"})
    version = world.s3.put_object(Bucket=INPUT_BUCKET, Key=REFUSED, Body=b"{}")["VersionId"]
    world.deliver(message(REFUSED, 2, version_id=version))


def a_refused_file_has_vanished(world: World) -> None:
    world.deliver(message(REFUSED, 2))


def a_large_file_is_refused(world: World) -> None:
    world.s3.put_object(Bucket=INPUT_BUCKET, Key=REFUSED, Body=bytes(2 * SMALLEST_PART))
    in_parts = TransferConfig(multipart_threshold=SMALLEST_PART, multipart_chunksize=SMALLEST_PART)
    with mock.patch.object(quarantine_file, "COPY", in_parts):
        world.deliver(message(REFUSED, 2 * SMALLEST_PART))


def a_copy_in_parts_fails(world: World) -> None:
    def fail(**_: object) -> None:
        raise aws_error("InternalError", "UploadPartCopy")

    aws.s3_for_copies().meta.events.register("before-call.s3.UploadPartCopy", fail)
    a_large_file_is_refused(world)


def the_answer_to_a_commit_is_lost(world: World) -> None:
    def around(function: Function, event: dict[str, Any]) -> Any:
        with answer_lost(aws.dynamodb(), "transact_write_items"), pytest.raises(ReadTimeoutError):
            function(event, None)
        # Again, as if it had looked for open manifests before the first commit.
        with mock.patch.object(tracking, "open_manifests", return_value=[]):
            return function(event, None)

    world.around["CreateManifest"] = around
    deliver(3)(world)


RARE_PATHS: list[Callable[[World], object]] = [
    a_version_of_a_file_is_refused,
    a_refused_file_has_vanished,
    a_large_file_is_refused,
    a_copy_in_parts_fails,
    the_answer_to_a_commit_is_lost,
]
