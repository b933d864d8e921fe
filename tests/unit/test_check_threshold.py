"""CheckThreshold: is there anything to build, and is there still time to?"""

from datetime import timedelta
from typing import Any

import pytest

import check_threshold
from dev.simulator.telemetry import Telemetry
from manifest_builder import clock
from manifest_builder.manifests import START_SETTLE_SECONDS as SETTLED
from manifest_builder.tracking import manifest_records
from tests.unit.support import DATE, Account, a_manifest, commit, track

MAX = 751_619_276


def check(account: Account, *, batch_index: int = 0, flush_before: str | None = None, age: float = 0) -> dict[str, Any]:
    return check_threshold.handler(
        {
            "run_id": "run-1",
            "date_prefix": DATE,
            "flush_before": flush_before,
            "batch_index": batch_index,
            "started_at": account.moment(seconds=-age),
        },
        None,
    )


def attempted(manifest_token: str = "token-1") -> None:
    commit(a_manifest(manifest_token))
    assert manifest_records.claim_start(f"MANIFEST#{DATE}", f"batch-0001-{manifest_token}", "run-0", None, clock.now())


def test_an_empty_date_has_nothing_to_build(account: Account) -> None:
    assert check(account) == {"build": False, "reason": "below", "batch_index": 0, "jobs_waiting": 0}


@pytest.mark.parametrize(
    ("size", "answer"),
    [
        (MAX - 1, {"build": False, "reason": "below", "batch_index": 0, "jobs_waiting": 0}),
        (MAX, {"build": True, "reason": "batch", "batch_index": 1, "jobs_waiting": 0}),
    ],
)
def test_a_date_is_built_when_its_total_reaches_the_limit_inclusive(
    account: Account, size: int, answer: dict[str, Any]
) -> None:
    track(size // 2, size - size // 2)

    assert check(account) == answer


@pytest.mark.parametrize(("size", "build"), [(MAX // 2, True), (MAX // 2 - 1, False)])
def test_a_half_full_rest_is_built_only_after_this_execution_has_built_a_batch(
    account: Account, size: int, build: bool
) -> None:
    track(size)

    assert check(account, batch_index=1)["build"] is build
    assert check(account, batch_index=0)["build"] is False


def test_each_batch_raises_the_index(account: Account) -> None:
    track(MAX)

    assert check(account, batch_index=3)["batch_index"] == 4


def test_a_flush_builds_any_rest_and_nothing_if_no_file_is_pending(account: Account) -> None:
    assert check(account, flush_before=account.moment())["build"] is False
    track(1)

    assert check(account, flush_before=account.moment())["reason"] == "batch"


def test_a_flush_does_not_build_a_rest_that_is_too_young(account: Account) -> None:
    track(1)

    assert check(account, flush_before=account.moment(microseconds=-1))["build"] is False


def test_files_of_other_dates_do_not_count(account: Account) -> None:
    track(MAX, date_prefix="2025-12-24")

    assert check(account)["build"] is False


def test_an_open_manifest_is_built_though_no_file_is_pending(account: Account) -> None:
    commit(a_manifest())

    assert check(account) == {"build": True, "reason": "resume", "batch_index": 0, "jobs_waiting": 0}


def test_resuming_comes_before_a_new_batch_and_does_not_raise_the_index(account: Account) -> None:
    track(MAX)
    commit(a_manifest())

    assert check(account, batch_index=2) == {"build": True, "reason": "resume", "batch_index": 2, "jobs_waiting": 0}


@pytest.mark.parametrize(("waited", "reason", "waiting"), [(SETTLED - 1, "below", 1), (SETTLED, "resume", 0)])
def test_an_attempted_start_is_resumed_once_it_has_settled_and_counted_as_waiting_until_then(
    account: Account, waited: int, reason: str, waiting: int
) -> None:
    attempted()
    account.wait(seconds=waited)

    answer = check(account)

    assert (answer["reason"], answer["jobs_waiting"]) == (reason, waiting)


def test_no_batch_is_built_while_an_older_manifest_waits_for_glue(account: Account) -> None:
    """Its job would take the place that the older one waits for."""
    attempted()
    track(MAX)

    assert check(account) == {"build": False, "reason": "below", "batch_index": 0, "jobs_waiting": 1}

    account.wait(seconds=SETTLED)
    assert check(account)["reason"] == "resume"


@pytest.mark.parametrize(
    ("age", "reason"), [(0, "batch"), (45, "batch"), (45.000001, "late"), (90, "late"), (-5, "batch")]
)
def test_no_round_begins_in_an_execution_older_than_45_seconds(account: Account, age: float, reason: str) -> None:
    track(MAX)

    answer = check(account, age=age)

    assert (answer["reason"], answer["build"]) == (reason, reason == "batch")


def test_a_late_response_keeps_the_index_and_has_every_field(account: Account) -> None:
    commit(a_manifest())

    assert check(account, batch_index=2, age=46) == {
        "build": False,
        "reason": "late",
        "batch_index": 2,
        "jobs_waiting": 0,
    }


@pytest.mark.parametrize("ahead", [-3600, -300, 0, 300, 3600])
def test_the_time_that_has_passed_is_measured_by_the_clock_of_the_machine(account: Account, ahead: int) -> None:
    event = {"run_id": "r", "date_prefix": DATE, "flush_before": None, "batch_index": 0}
    started = {"started_at": account.moment(seconds=-ahead - 30), "entered_at": account.moment(seconds=-ahead)}
    long_ago = started | {"started_at": account.moment(seconds=-ahead - 46)}

    assert check_threshold.handler(event | started, None)["reason"] == "below"
    assert check_threshold.handler(event | long_ago, None)["reason"] == "late"


def test_the_time_that_the_check_takes_counts(account: Account) -> None:
    event = {"run_id": "r", "date_prefix": DATE, "flush_before": None, "batch_index": 0}
    account.tick = timedelta(seconds=20)
    times = {"started_at": account.moment(seconds=-30), "entered_at": account.moment()}

    assert check_threshold.handler(event | times, None)["reason"] == "late"


def test_the_start_time_is_read_as_step_functions_writes_it(account: Account) -> None:
    event = {"run_id": "r", "date_prefix": DATE, "flush_before": None, "batch_index": 0}

    late = check_threshold.handler(event | {"started_at": "2025-12-23T11:59:14.123Z"}, None)
    in_time = check_threshold.handler(event | {"started_at": "2025-12-23T11:59:16Z"}, None)

    assert (late["reason"], in_time["reason"]) == ("late", "below")


def test_a_check_logs_its_outcome(account: Account, log: Telemetry) -> None:
    check(account)

    (line,) = log.lines
    assert (line["run_id"], line["date_prefix"], line["outcome"]) == ("run-1", DATE, "below")
