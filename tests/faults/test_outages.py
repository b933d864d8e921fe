"""A thinned sweep of outages, and messages that fail by themselves; `make faults` runs all outages."""

from datetime import timedelta
from typing import Any

import pytest

from dev.faults import outages
from dev.faults.calls import Kind
from dev.faults.invariants import violations
from dev.faults.lab import Lab, Outage
from dev.faults.scenarios import DAY, LIMIT_30_MB, SCENARIOS, SMALLEST, arrive
from dev.simulator.world import Function

EVERY = 97
LONGEST = [run for run in outages.runs([SMALLEST]) if run.outage.minutes == outages.MINUTES[-1]]


@pytest.mark.parametrize("run", LONGEST, ids=str)
def test_a_service_that_is_out_for_twelve_hours_needs_no_operator(run: outages.Run) -> None:
    assert outages.execute(run).violations == ()


def test_outages_of_every_length_need_no_operator_whatever_is_under_way() -> None:
    for run in list(outages.runs(SCENARIOS))[5::EVERY]:
        assert outages.execute(run).violations == (), run


@pytest.mark.parametrize("after", [0, 1])
def test_an_outage_strikes_each_call_of_its_service_until_it_ends(after: int) -> None:
    with Lab() as lab:
        outage = Outage("s3", Kind.FAILS, minutes=15, after=after)
        struck = [outage.strikes("s3", lab.time() + timedelta(minutes=5 * number)) for number in range(6)]

        assert struck == [True] * 3 + [False] * 3 if not after else [False] + [True] * 3 + [False] * 2
        assert not outage.strikes("glue", lab.time())


def test_a_file_that_fails_by_itself_is_a_dead_letter_within_a_day_alone_and_garbage_is_one_at_once() -> None:
    unlucky = f"a/{DAY}-0.ndjson"

    def fails_for_one(function: Function, event: dict[str, Any]) -> Any:
        if event["file"]["key"] == unlucky:
            raise RuntimeError("its own bad luck")
        return function(event, None)

    with Lab(environment=LIMIT_30_MB) as lab:
        lab.around["TrackFile"] = fails_for_one
        arrive(lab, 5)
        lab.queue.send({"messageId": "poison", "body": "not an event"}, lab.time())

        lab.live(lab.time() + timedelta(minutes=1))
        assert lab.queue.dead == {"poison": "the body is not JSON"}
        assert list(lab.queue.messages) == [f"{unlucky}#01"]
        assert lab.statuses() == {"manifested": 4}

        lab.live(lab.time() + timedelta(hours=24))
        assert lab.queue.dead.keys() == {"poison", f"{unlucky}#01"}
        assert lab.queue.dead[f"{unlucky}#01"].endswith("hours, the last time with RuntimeError")
        assert [wrong for wrong in violations(lab) if unlucky not in wrong] == []
