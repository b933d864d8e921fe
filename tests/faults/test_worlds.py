"""A world has the same fingerprint as another one if nothing that is to come can tell them apart."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from dev.faults.calls import Fault, Kind
from dev.faults.lab import Lab
from dev.faults.scenarios import DAY, SMALLEST
from dev.faults.sweep import Outcome, rival
from dev.faults.worlds import Known, fingerprint, text
from dev.simulator.world import GLUE_JOB, INPUT_BUCKET, MANIFEST_BUCKET, TRACKING_TABLE


@contextmanager
def played(*faults: Fault) -> Iterator[Lab]:
    """The smallest scenario, up to the end of its act."""
    with Lab(environment=SMALLEST.environment, faults=faults, rival=rival) as lab:
        SMALLEST.prepare(lab)
        with lab.armed():
            SMALLEST.act(lab)
        yield lab


def a_row_changes(lab: Lab) -> None:
    key = {"date_prefix": {"S": DAY}, "file_name": {"S": f"{DAY}-0.ndjson"}}
    change = {"status": {"Value": {"S": "pending"}, "Action": "PUT"}}
    lab.dynamodb.update_item(TableName=TRACKING_TABLE, Key=key, AttributeUpdates=change)


def an_object_changes(lab: Lab) -> None:
    lab.s3.put_object(Bucket=INPUT_BUCKET, Key=f"a/{DAY}-0.ndjson", Body=b"other")


def an_object_vanishes(lab: Lab) -> None:
    (key,) = (found["Key"] for found in lab.s3.list_objects_v2(Bucket=MANIFEST_BUCKET)["Contents"])
    lab.s3.delete_object(Bucket=MANIFEST_BUCKET, Key=key)


def a_run_starts(lab: Lab) -> None:
    lab.glue.start_job_run(JobName=GLUE_JOB, Arguments={"--MANIFEST_PATH": "another"})


def a_run_ends(lab: Lab) -> None:
    lab.end_run(next(iter(lab.starts)))


def a_message_comes(lab: Lab) -> None:
    lab.repeat(lab.seen.messages[0])


def a_message_is_received(lab: Lab) -> None:
    lab.queue.receive(lab.time())


def a_message_dies(lab: Lab) -> None:
    lab.queue.dead |= dict.fromkeys(lab.queue.messages, "too many receives")
    lab.queue.messages = {}


def time_passes(lab: Lab) -> None:
    lab.later += timedelta(milliseconds=1)


def more_is_done(lab: Lab) -> None:
    lab.deliver_all()


def an_answer_comes(lab: Lab) -> None:
    lab._told("TrackFile", {})


def a_version_is_seen(lab: Lab) -> None:
    lab.seen.rows["path", "01"].append(("pending", None))


def a_start_is_excused(lab: Lab) -> None:
    lab.seen.excused_starts["path"] += 1


def the_limit_changes(lab: Lab) -> None:
    lab.environment = {"MAX_BATCH_SIZE_GB": "1"}


CHANGES = [
    a_row_changes,
    an_object_changes,
    an_object_vanishes,
    a_run_starts,
    a_run_ends,
    a_message_comes,
    a_message_is_received,
    a_message_dies,
    time_passes,
    more_is_done,
    an_answer_comes,
    a_version_is_seen,
    a_start_is_excused,
    the_limit_changes,
]


def test_the_same_events_lead_to_the_same_world_whatever_identifiers_are_drawn() -> None:
    found = []
    for _ in range(2):
        with played() as lab:
            found.append((fingerprint(lab), next(iter(lab.starts))))

    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_change_makes_another_world(change: Callable[[Lab], None]) -> None:
    with played() as lab:
        lab.queue.send({"messageId": "waits", "body": "{}"}, lab.time())
        before = fingerprint(lab)
        if change is more_is_done:
            lab.queue.acknowledge("waits")
            before = fingerprint(lab)
        change(lab)

        assert fingerprint(lab) != before


def test_an_attempt_that_was_repeated_leads_to_the_same_world() -> None:
    with played() as undisturbed:
        expected = text(undisturbed)
    with played(Fault(3, Kind.FAILS), Fault(4, Kind.THROTTLED)) as lab:
        assert len(lab.reached) == 2
        assert text(lab) == expected


@pytest.mark.parametrize("attribute", ["zombies", "start_job_run", "around"])
def test_what_is_not_written_down_leaves_a_world_without_fingerprint(attribute: str) -> None:
    with played() as lab:
        assert fingerprint(lab)
        setattr(lab, attribute, {"a": "closure"})
        assert fingerprint(lab) is None


def test_no_world_is_written_down_while_a_fault_is_still_to_have_its_effect() -> None:
    """The execution under way ends well; its answer will be lost."""
    rests: list[int] = []
    with Lab(environment=SMALLEST.environment, faults=(Fault(0, Kind.LOST),)) as lab:
        SMALLEST.prepare(lab)
        lab.at_rest = lambda lab: rests.append(len(lab.calls))
        with lab.armed():
            SMALLEST.act(lab)

    assert rests == [0, len(lab.calls)]


def test_worlds_are_known_to_other_processes_by_their_file(tmp_path: Path) -> None:
    outcome = Outcome(("wrong",), 1, (Fault(3, Kind.LOST, lasting=True),))
    Known(tmp_path / "worlds").add(["one", "two"], outcome)
    Known(tmp_path / "worlds").add(["two"], Outcome(()))

    known = Known(tmp_path / "worlds")
    assert [known.outcome(world) for world in ("one", "two", "three")] == [outcome, outcome, None]
