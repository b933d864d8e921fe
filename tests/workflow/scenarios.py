"""The scenario table: events, states entered, final status, and contents of table and buckets afterwards."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest import mock

from moto.glue.exceptions import ConcurrentRunsExceededException, GlueClientError

import update_status
from dev.simulator.acts import DAY, LIMIT_30_MB, MB, NEXT_DAY, deliver, failing, ten_mb_files
from dev.simulator.world import (
    GLUE_JOB,
    INPUT_BUCKET,
    TRACKING_TABLE,
    Execution,
    Function,
    World,
    message,
    message_of_removal,
)
from manifest_builder import clock
from manifest_builder.files import FileVersion, Removal
from manifest_builder.manifests import START_SETTLE_SECONDS
from manifest_builder.tracking import file_rows, locks

SETTLED = START_SETTLE_SECONDS + 1
"""Seconds after which a start that was given up may be made again."""


@dataclass(frozen=True)
class Step:
    """One execution, the states it enters, and how it ends."""

    act: Callable[[World], Execution]
    path: Counter[str]
    status: str = "SUCCEEDED"
    error: str | None = None
    failed_messages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """Steps, and the contents after the last step. `manifests`: number of files of each, in order of creation."""

    name: str
    steps: list[Step]
    statuses: dict[str, int]
    manifests: list[int] = field(default_factory=list)
    open_manifests: int = 0
    job_runs: int | None = None
    locks: int = 0
    quarantined_copies: int = 0
    final_manifests: dict[str, int] = field(default_factory=dict)
    """Manifests whose outcome is known, by status."""
    environment: dict[str, str] = field(default_factory=lambda: LIMIT_30_MB)

    def __str__(self) -> str:
        return self.name


def states(*parts: str | Counter[str]) -> Counter[str]:
    path: Counter[str] = Counter()
    for part in parts:
        path += Counter(part.split()) if isinstance(part, str) else part
    return path


def times(number: int, part: str) -> Counter[str]:
    return Counter({state: number * entered for state, entered in Counter(part.split()).items()})


START = "Source ParseEvent ForEachDate ForEachFile"
ENDED = "Source RecordOutcome ForEachDate"
SWEEP = "Source FindStalledDates RecordOutcome ForEachDate ForEachFile"
TRACK = "IsFileRemoved ValidateFile IsFileValid TrackFile"
QUARANTINE = "IsFileRemoved ValidateFile IsFileValid QuarantineFile"
REMOVE = "IsFileRemoved RecordRemoval"
CHECK = "CheckThreshold IsThresholdReached"
LOCK = f"{CHECK} AcquireLock IsLockAcquired"
RELEASE = "ReleaseLock DidBuildFail"
CREATE = f"{LOCK} BuildManifest CreateManifest"
MARK = f"{CREATE} IsManifestNeeded UpdateStatus"
BUILD = f"{MARK} IsJobStarted StartGlueJob RecordJobRun {RELEASE}"
WAIT = f"{MARK} IsJobStarted StartGlueJob JobWaiting {RELEASE}"
NO = f"{CHECK} DateDone"
GREEN = "ReportResult DidAnyDateFail Done"
RED = "DateFailed ReportResult DidAnyDateFail ManifestFailed"


def with_glue(
    behaviour: Callable[[Callable[[], str]], str], act: Callable[[World], Execution]
) -> Callable[[World], Execution]:
    def with_behaviour(world: World) -> Execution:
        world.start_job_run = behaviour
        try:
            return act(world)
        finally:
            world.start_job_run = None

    return with_behaviour


def busy(start: Callable[[], str]) -> str:
    raise ConcurrentRunsExceededException("Concurrent runs exceeded")


def answer_lost(start: Callable[[], str]) -> str:
    start()
    raise GlueClientError("InternalServiceException", "nobody knows whether it started")


def start_lost(start: Callable[[], str]) -> str:
    raise GlueClientError("InternalServiceException", "nobody knows whether it started")


def without_the_job(act: Callable[[World], Execution]) -> Callable[[World], Execution]:
    """The stack is deployed, but its Glue job does not exist."""

    def act_without(world: World) -> Execution:
        world.glue.delete_job(JobName=GLUE_JOB)
        try:
            return act(world)
        finally:
            world.create_job()

    return act_without


def after(act: Callable[[World], Execution], **duration: float) -> Callable[[World], Execution]:
    def later(world: World) -> Execution:
        world.wait(**duration)
        return act(world)

    return later


def the_run_ends(state: str) -> Callable[[World], Execution]:
    """The run of the only manifest ends, and EventBridge starts an execution."""

    def end(world: World) -> Execution:
        (record,) = world.manifest_records()
        world.end_run(record["job_run_id"], state)
        return world.tell_of_run(record["job_run_id"])

    return end


def the_end_is_never_told(state: str, **duration: float) -> Callable[[World], Execution]:
    """The run ends, and a sweep asks about it."""

    def end(world: World) -> Execution:
        (record,) = world.manifest_records()
        world.end_run(record["job_run_id"], state)
        return after(World.sweep, **duration)(world)

    return end


def one_file_fails(world: World) -> Execution:
    def around(function: Function, event: dict[str, Any]) -> Any:
        if event["file"]["key"].endswith("file004.ndjson"):
            raise RuntimeError("TrackFile broke")
        return function(event, None)

    world.around["TrackFile"] = around
    return world.deliver(*ten_mb_files(world, 10))


def mixed(world: World) -> Execution:
    return world.deliver(
        *ten_mb_files(world, 1),
        world.upload(f"{DAY}-large.ndjson", 20 * MB),
        world.upload(f"{DAY}-data.csv", 10 * MB),
        {"messageId": "poison", "body": "not an event"},
        {"messageId": "test", "body": '{"Service": "Amazon S3", "Event": "s3:TestEvent"}'},
    )


def all_invalid(world: World) -> Execution:
    return world.deliver(world.upload(f"{DAY}.csv", 10 * MB), world.upload(f"{DAY}-b.ndjson", 1))


def lock_held_elsewhere(world: World) -> Execution:
    assert locks.acquire(DAY, "another run", "its token", clock.now())
    return world.deliver(*ten_mb_files(world, 3))


def lock_lost_before_the_commit(world: World) -> Execution:
    def around(function: Function, event: dict[str, Any]) -> Any:
        key = {"date_prefix": {"S": f"LOCK#manifest-{DAY}"}, "file_name": {"S": "LOCK"}}
        world.dynamodb.delete_item(TableName=TRACKING_TABLE, Key=key)
        assert locks.acquire(DAY, "another run", "its token", clock.now())
        return function(event, None)

    world.around["CreateManifest"] = around
    return world.deliver(*ten_mb_files(world, 3))


def files_arrive_while_the_lock_is_held(world: World) -> Execution:
    def around(function: Function, event: dict[str, Any]) -> Any:
        if len(world.files()) == 3:
            seed(3, 10 * MB, folder="late")
            assert not locks.acquire(DAY, "the run that brought them", "its token", clock.now())
        return function(event, None)

    world.around["UpdateStatus"] = around
    return world.deliver(*ten_mb_files(world, 3))


def marking_takes_too_long(world: World) -> Execution:
    """The first round has no time to mark a single row."""

    def around(function: Function, event: dict[str, Any]) -> Any:
        del world.around["UpdateStatus"]
        with mock.patch.object(update_status, "MARKING_TIME", timedelta(0)):
            return function(event, None)

    world.around["UpdateStatus"] = around
    return world.deliver(*ten_mb_files(world, 3))


def seed(number: int, size_bytes: int, folder: str = "seeded") -> None:
    """Files pending already, tracked without an execution."""
    for index in range(number):
        key = f"{folder}/{DAY}-seed{index:04}.ndjson"
        stored = file_rows.track_file(DAY, FileVersion("seed", INPUT_BUCKET, key, size_bytes, "etag", None, "00"))
        assert stored.outcome == "tracked"


def backlog_of_450(world: World) -> Execution:
    seed(450, 3_670_016)
    return world.deliver(message(f"{DAY}-last.ndjson", 3_670_016))


def deleted_before_it_fills_a_batch(world: World) -> Execution:
    first, *others = ten_mb_files(world, 3)
    world.deliver(first)
    return world.deliver(world.delete(f"a/{DAY}-file000.ndjson"), *others)


def deleted_and_told_of_in_one_delivery(world: World) -> Execution:
    """Returns the run of the manifest that was recorded first."""
    return world.deliver(*ten_mb_files(world, 1), world.delete(f"a/{DAY}-file000.ndjson"))


def deleted_before_it_is_heard_of(world: World) -> Execution:
    late = world.upload(f"{DAY}-late.ndjson", 10 * MB)
    world.deliver(world.delete(f"{DAY}-late.ndjson"))
    return world.deliver(late)


def deleted_while_its_manifest_is_cut(world: World) -> Execution:
    def around(function: Function, event: dict[str, Any]) -> Any:
        del world.around["UpdateStatus"]
        removal = Removal("removal", INPUT_BUCKET, f"a/{DAY}-file000.ndjson", None, "0055AED6DCD90281E9")
        assert file_rows.record_removal(DAY, removal).outcome == "deleted"
        return function(event, None)

    world.around["UpdateStatus"] = around
    return world.deliver(*ten_mb_files(world, 3))


def removal_fails(world: World) -> Execution:
    world.deliver(*ten_mb_files(world, 1))
    return failing(
        "RecordRemoval", lambda world: world.deliver(world.delete(f"a/{DAY}-file000.ndjson", message_id="removal"))
    )(world)


SCENARIOS = [
    Scenario(
        "below the threshold",
        [Step(deliver(2), states(START, times(2, TRACK), NO, GREEN))],
        {"pending": 2},
    ),
    Scenario(
        "threshold met",
        [Step(deliver(3), states(START, times(3, TRACK), BUILD, NO, GREEN))],
        {"manifested": 3},
        [3],
    ),
    Scenario(
        "all invalid",
        [Step(all_invalid, states(START, times(2, QUARANTINE), NO, GREEN))],
        {"quarantined": 2},
        quarantined_copies=2,
    ),
    Scenario(
        "mixed: valid, invalid, a poison message, a test event",
        [Step(mixed, states(START, TRACK, times(2, QUARANTINE), NO, GREEN), failed_messages=("poison",))],
        {"pending": 1, "quarantined": 2},
        quarantined_copies=2,
    ),
    Scenario(
        "one file failing among ten",
        [
            Step(
                one_file_fails,
                states(START, times(10, TRACK), "FileFailed", times(3, BUILD), NO, GREEN),
                failed_messages=(f"a-{DAY}-4",),
            )
        ],
        {"manifested": 9},
        [3, 3, 3],
    ),
    Scenario(
        "lock held elsewhere",
        [Step(lock_held_elsewhere, states(START, times(3, TRACK), LOCK, "DateDone", GREEN))],
        {"pending": 3},
        locks=1,
    ),
    Scenario(
        "two dates",
        [
            Step(
                lambda world: world.deliver(*ten_mb_files(world, 3), *ten_mb_files(world, 2, day=NEXT_DAY)),
                states(START, "ForEachFile", times(5, TRACK), BUILD, NO, NO, GREEN),
            )
        ],
        {"manifested": 3, "pending": 2},
        [3],
    ),
    Scenario(
        "CreateManifest failing, then redelivered",
        [
            Step(
                failing("CreateManifest", deliver(3)),
                states(START, times(3, TRACK), CREATE, RELEASE, RED),
                "FAILED",
                "ManifestFailed",
            ),
            Step(deliver(3), states(START, times(3, TRACK), BUILD, NO, GREEN)),
        ],
        {"manifested": 3},
        [3],
    ),
    Scenario(
        "CreateManifest's answer lost after its commit, then redelivered",
        [
            Step(
                failing("CreateManifest", deliver(3), after=True),
                states(START, times(3, TRACK), CREATE, RELEASE, RED),
                "FAILED",
                "ManifestFailed",
            ),
            Step(deliver(3), states(START, times(3, TRACK), BUILD, NO, GREEN)),
        ],
        {"manifested": 3},
        [3],
    ),
    Scenario(
        "UpdateStatus failing, then redelivered: the open manifest is finished though all files are duplicates",
        [
            Step(
                failing("UpdateStatus", deliver(3)),
                states(START, times(3, TRACK), MARK, RELEASE, RED),
                "FAILED",
                "ManifestFailed",
            ),
            Step(deliver(3), states(START, times(3, TRACK), BUILD, NO, GREEN)),
        ],
        {"manifested": 3},
        [3],
    ),
    Scenario(
        "StartGlueJob failing, its job started: the run is found once the attempt has settled",
        [
            Step(
                with_glue(answer_lost, deliver(3)),
                states(START, times(3, TRACK), MARK, "IsJobStarted StartGlueJob", RELEASE, RED),
                "FAILED",
                "ManifestFailed",
            ),
            Step(deliver(3), states(START, times(3, TRACK), NO, GREEN)),
            Step(
                after(deliver(3), seconds=SETTLED),
                states(START, times(3, TRACK), CREATE, "IsManifestNeeded RecordJobRun", RELEASE, NO, GREEN),
            ),
        ],
        {"manifested": 3},
        [3],
    ),
    Scenario(
        "StartGlueJob failing, its job not started: it is started again once the attempt has settled",
        [
            Step(
                with_glue(start_lost, deliver(3)),
                states(START, times(3, TRACK), MARK, "IsJobStarted StartGlueJob", RELEASE, RED),
                "FAILED",
                "ManifestFailed",
            ),
            Step(after(deliver(3), seconds=SETTLED), states(START, times(3, TRACK), BUILD, NO, GREEN)),
        ],
        {"manifested": 3},
        [3],
    ),
    Scenario(
        "Glue at its concurrency limit: the manifest waits, and is resumed later",
        [
            Step(with_glue(busy, deliver(3)), states(START, times(3, TRACK), WAIT, NO, GREEN)),
            Step(
                after(World.sweep, minutes=15),
                states(SWEEP, BUILD, NO, GREEN),
            ),
        ],
        {"manifested": 3},
        [3],
    ),
    Scenario(
        "Glue still busy: the manifest is not hammered",
        [
            Step(with_glue(busy, deliver(3)), states(START, times(3, TRACK), WAIT, NO, GREEN)),
            Step(with_glue(busy, after(World.sweep, seconds=30)), states(SWEEP, NO, GREEN)),
        ],
        {"manifested": 3},
        [3],
        open_manifests=1,
        job_runs=0,
    ),
    Scenario(
        "the Glue job does not exist yet: one execution a minute fails, and none for files that have nothing to start",
        [
            Step(
                without_the_job(deliver(3)),
                states(START, times(3, TRACK), MARK, "IsJobStarted StartGlueJob", RELEASE, RED),
                "FAILED",
                "ManifestFailed",
            ),
            Step(
                without_the_job(after(deliver(1, folder="b"), seconds=SETTLED)),
                states(START, TRACK, MARK, "IsJobStarted StartGlueJob", RELEASE, RED),
                "FAILED",
                "ManifestFailed",
            ),
            Step(without_the_job(deliver(1, folder="c")), states(START, TRACK, NO, GREEN)),
            Step(after(World.sweep, minutes=15), states(SWEEP, BUILD, NO, GREEN)),
        ],
        {"manifested": 3, "pending": 2},
        [3],
    ),
    Scenario(
        "AcquireLock's answer lost: the lock is released by its run",
        [
            Step(
                failing("AcquireLock", deliver(3), after=True),
                states(START, times(3, TRACK), CHECK, "AcquireLock", RELEASE, RED),
                "FAILED",
                "ManifestFailed",
            )
        ],
        {"pending": 3},
    ),
    Scenario(
        "ReleaseLock failing: the lease frees the date",
        [
            Step(
                failing("ReleaseLock", deliver(3)),
                states(
                    START,
                    times(3, TRACK),
                    MARK,
                    "IsJobStarted StartGlueJob RecordJobRun ReleaseLock LockLeft",
                    "ReportResult DidAnyDateFail LockNotReleased",
                ),
                "FAILED",
                "LockNotReleased",
            ),
            Step(
                deliver(3, folder="b"),
                states(START, times(3, TRACK), LOCK, "DateDone", GREEN),
            ),
            Step(
                after(deliver(3, folder="b"), seconds=301),
                states(START, times(3, TRACK), BUILD, NO, GREEN),
            ),
        ],
        {"manifested": 6},
        [3, 3],
    ),
    Scenario(
        "lock lost before the commit: nothing is committed",
        [
            Step(
                lock_lost_before_the_commit,
                states(START, times(3, TRACK), CREATE, RELEASE, RED),
                "FAILED",
                "ManifestFailed",
            )
        ],
        {"pending": 3},
        locks=1,
    ),
    Scenario(
        "files tracked while the lock was held: the loop picks them up",
        [
            Step(
                files_arrive_while_the_lock_is_held,
                states(START, times(3, TRACK), BUILD, BUILD, NO, GREEN),
            )
        ],
        {"manifested": 6},
        [3, 3],
    ),
    Scenario(
        "rows left to mark: the loop goes on before the job is started",
        [
            Step(
                marking_takes_too_long,
                states(START, times(3, TRACK), MARK, "IsJobStarted JobStartedElsewhere", RELEASE, BUILD, NO, GREEN),
            )
        ],
        {"manifested": 3},
        [3],
    ),
    Scenario(
        "450 pending files give several manifests in one execution",
        [Step(backlog_of_450, states(START, TRACK, BUILD, BUILD, NO, GREEN))],
        {"manifested": 408, "pending": 43},
        [204, 204],
        environment={},
    ),
    Scenario(
        "sweep flushing an old partial batch",
        [
            Step(deliver(1), states(START, TRACK, NO, GREEN)),
            Step(after(World.sweep, hours=23), states("Source FindStalledDates RecordOutcome ForEachDate", GREEN)),
            Step(after(World.sweep, hours=2), states(SWEEP, BUILD, NO, GREEN)),
        ],
        {"manifested": 1},
        [1],
    ),
    Scenario(
        "a run that fails is started again once, then its manifest waits for an operator",
        [
            Step(deliver(3), states(START, times(3, TRACK), BUILD, NO, GREEN)),
            Step(the_run_ends("FAILED"), states(ENDED, "ForEachFile", BUILD, NO, GREEN)),
            Step(the_run_ends("TIMEOUT"), states(ENDED, GREEN)),
        ],
        {"manifested": 3},
        [3],
        job_runs=2,
        final_manifests={"failed": 1},
    ),
    Scenario(
        "the end of a run that was never told is asked for by a sweep",
        [
            Step(deliver(3), states(START, times(3, TRACK), BUILD, NO, GREEN)),
            Step(
                the_end_is_never_told("FAILED", minutes=59),
                states("Source FindStalledDates RecordOutcome ForEachDate", GREEN),
            ),
            Step(after(World.sweep, minutes=1), states(SWEEP, BUILD, NO, GREEN)),
            Step(the_run_ends("SUCCEEDED"), states(ENDED, GREEN)),
        ],
        {"manifested": 3},
        [3],
        job_runs=2,
        final_manifests={"succeeded": 1},
    ),
    Scenario(
        "a sweep goes on where outcomes cannot be recorded; an event fails, and is made up for",
        [
            Step(deliver(1), states(START, TRACK, NO, GREEN)),
            Step(
                failing("RecordOutcome", after(World.sweep, hours=25)),
                states(SWEEP, "IsSweep", BUILD, NO, GREEN),
            ),
            Step(
                failing("RecordOutcome", the_run_ends("SUCCEEDED")),
                states("Source RecordOutcome IsSweep OutcomeNotRecorded"),
                status="FAILED",
                error="OutcomeNotRecorded",
            ),
            Step(after(World.sweep, hours=1), states("Source FindStalledDates RecordOutcome ForEachDate", GREEN)),
        ],
        {"manifested": 1},
        [1],
        final_manifests={"succeeded": 1},
    ),
    Scenario(
        "sweep with nothing to do",
        [Step(World.sweep, states("Source FindStalledDates RecordOutcome ForEachDate", GREEN))],
        {},
    ),
    Scenario(
        "a pending file is deleted: no manifest names it",
        [Step(deleted_before_it_fills_a_batch, states(START, REMOVE, times(2, TRACK), NO, GREEN))],
        {"deleted": 1, "pending": 2},
    ),
    Scenario(
        "a file is deleted and told of in one delivery",
        [Step(deleted_and_told_of_in_one_delivery, states(START, REMOVE, TRACK, NO, GREEN))],
        {"deleted": 1},
    ),
    Scenario(
        "a file is deleted before it is heard of",
        [Step(deleted_before_it_is_heard_of, states(START, TRACK, NO, GREEN))],
        {"deleted": 1},
    ),
    Scenario(
        "a file is deleted after its manifest was cut: it is named, and marked all the same",
        [Step(deleted_while_its_manifest_is_cut, states(START, times(3, TRACK), BUILD, NO, GREEN))],
        {"manifested": 3},
        [3],
    ),
    Scenario(
        "a removal that cannot be recorded comes back",
        [
            Step(
                removal_fails,
                states(START, REMOVE, "FileFailed", NO, GREEN),
                failed_messages=("removal",),
            ),
            Step(
                lambda world: world.deliver(message_of_removal(f"a/{DAY}-file000.ndjson")),
                states(START, REMOVE, NO, GREEN),
            ),
        ],
        {"deleted": 1},
    ),
    Scenario(
        "redelivery of everything changes nothing",
        [
            Step(deliver(3), states(START, times(3, TRACK), BUILD, NO, GREEN)),
            Step(deliver(3), states(START, times(3, TRACK), NO, GREEN)),
        ],
        {"manifested": 3},
        [3],
    ),
]
