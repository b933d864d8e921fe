"""The lock of a date. The names of these tests specify the lock."""

from collections.abc import Callable
from typing import Any

import pytest

import acquire_lock
import release_lock
from dev.simulator.telemetry import Telemetry
from dev.simulator.world import TRACKING_TABLE
from manifest_builder import aws
from manifest_builder.tracking import pending, table
from tests.unit.support import DATE, Account, answer_lost, aws_error, failing

CONFLICT = aws_error("TransactionConflictException", "PutItem")
TTL = 300


def acquire(run_id: str = "run-1", date_prefix: str = DATE) -> dict[str, Any]:
    return acquire_lock.handler({"run_id": run_id, "date_prefix": date_prefix}, None)


@pytest.mark.parametrize("minutes", [-60, -5, 5, 60])
def test_a_lease_is_measured_by_the_clock_of_the_machine(account: Account, minutes: int) -> None:
    """Whatever the clocks of the functions say that write it and judge it."""

    def acquired(run_id: str, seconds: int) -> bool:
        entered_at = account.moment(minutes=minutes, seconds=seconds)
        event = {"run_id": run_id, "date_prefix": DATE, "entered_at": entered_at}
        answer: bool = acquire_lock.handler(event, None)["acquired"]
        return answer

    assert acquired("run-1", seconds=0)
    assert not acquired("run-2", seconds=300)
    assert acquired("run-2", seconds=301)


def release(run_id: str = "run-1", token: str | None = None) -> dict[str, Any]:
    return release_lock.handler({"run_id": run_id, "date_prefix": DATE, "token": token}, None)


def test_a_free_lock_is_acquired_for_its_lease(account: Account) -> None:
    answer = acquire()

    assert answer["acquired"] is True
    assert account.lock() == {
        "date_prefix": "LOCK#manifest-2025-12-23",
        "file_name": "LOCK",
        "lock_id": "run-1",
        "token": answer["token"],
        "ttl": int(account.now().timestamp()) + TTL,
        "created_at": "2025-12-23T12:00:00.000000Z",
    }


def test_a_lock_held_by_another_run_is_not_acquired_and_not_touched(account: Account) -> None:
    acquire("run-1")
    before = account.lock()

    assert acquire("run-2") == {"acquired": False, "token": None}
    assert account.lock() == before


def test_the_locks_of_two_dates_are_two_locks(account: Account) -> None:
    assert acquire("run-1", "2025-12-23")["acquired"]
    assert acquire("run-2", "2025-12-24")["acquired"]


def test_a_run_acquires_its_own_lock_again_as_after_a_lost_answer(account: Account) -> None:
    with answer_lost(aws.dynamodb(), "put_item"), pytest.raises(Exception, match="Read timeout"):
        acquire("run-1")

    assert acquire("run-1")["acquired"] is True


def test_each_acquisition_has_a_fresh_token_so_that_the_one_before_is_void(account: Account) -> None:
    first, second = acquire("run-1"), acquire("run-1")

    assert first["token"] != second["token"]
    assert account.lock()["token"] == second["token"]
    release("run-1", first["token"])
    assert account.lock()["token"] == second["token"]


def test_acquiring_again_begins_the_lease_again(account: Account) -> None:
    acquire("run-1")
    account.wait(seconds=100)

    acquire("run-1")

    assert account.lock()["ttl"] == int(account.now().timestamp()) + TTL


@pytest.mark.parametrize(("waited", "acquired"), [(0, False), (TTL - 1, False), (TTL, False), (TTL + 1, True)])
def test_an_expired_lease_is_taken_over_though_dynamodb_has_not_deleted_it(
    account: Account, waited: int, acquired: bool
) -> None:
    acquire("run-1")
    account.wait(seconds=waited)

    assert acquire("run-2")["acquired"] is acquired

    assert account.lock()["lock_id"] == ("run-2" if acquired else "run-1")


def test_the_lease_lasts_as_long_as_the_setting_says(environment: Callable[..., None], account: Account) -> None:
    environment(LOCK_TTL_SECONDS="600")

    acquire()

    assert account.lock()["ttl"] == int(account.now().timestamp()) + 600


def test_a_lock_is_released_by_its_token(account: Account) -> None:
    token = acquire()["token"]

    assert release("run-1", token) == {"acquired": False, "token": None}
    assert account.locks() == []


def test_a_lock_whose_token_was_lost_is_released_by_its_run(account: Account) -> None:
    acquire("run-1")

    release("run-1", None)

    assert account.locks() == []


@pytest.mark.parametrize("token", ["someone-elses", None])
def test_a_lock_of_another_run_is_not_released(account: Account, log: Telemetry, token: str | None) -> None:
    acquire("run-2")

    release("run-1", token)

    assert account.lock()["lock_id"] == "run-2"
    assert len(log.at_least("WARNING")) == 1
    assert log.at_least("ERROR") == []


def test_a_token_counts_alone_so_that_a_late_release_of_an_earlier_round_does_nothing(account: Account) -> None:
    late = acquire("run-1")["token"]
    acquire("run-1")

    release("run-1", late)

    assert account.lock()["lock_id"] == "run-1"


def test_releasing_a_lock_that_was_lost_is_logged_and_no_error(account: Account, log: Telemetry) -> None:
    token = acquire("run-1")["token"]
    account.wait(seconds=TTL + 1)
    acquire("run-2")

    assert release("run-1", token) == {"acquired": False, "token": None}

    assert account.lock()["lock_id"] == "run-2"
    (line,) = log.at_least("WARNING")
    assert (line["level"], line["run_id"], line["date_prefix"]) == ("WARNING", "run-1", DATE)


@pytest.mark.parametrize("token", ["token-1", None])
def test_releasing_a_lock_that_is_not_there_is_no_error(account: Account, token: str | None) -> None:
    assert release("run-1", token) == {"acquired": False, "token": None}


def test_releasing_twice_is_releasing_once(account: Account) -> None:
    token = acquire()["token"]
    with answer_lost(aws.dynamodb(), "delete_item"), pytest.raises(Exception, match="Read timeout"):
        release("run-1", token)

    release("run-1", token)

    assert account.locks() == []


def test_a_released_lock_is_free_for_the_next(account: Account) -> None:
    release("run-1", acquire("run-1")["token"])

    assert acquire("run-2")["acquired"] is True


@pytest.mark.parametrize("conflicts", [1, table.CONFLICT_ATTEMPTS - 1])
def test_a_conflict_with_a_transaction_is_tried_again(account: Account, sleeps: list[float], conflicts: int) -> None:
    with failing(aws.dynamodb(), "put_item", *[CONFLICT] * conflicts) as calls:
        assert acquire()["acquired"] is True

    assert calls.call_count == conflicts + 1
    assert len(sleeps) == conflicts


def test_a_lasting_conflict_means_not_acquired_within_a_second(account: Account, sleeps: list[float]) -> None:
    with failing(aws.dynamodb(), "put_item", *[CONFLICT] * 99) as calls:
        assert acquire() == {"acquired": False, "token": None}

    assert calls.call_count == table.CONFLICT_ATTEMPTS
    assert sum(sleeps) < 1
    assert account.locks() == []


def test_a_release_that_meets_a_conflict_is_tried_again_and_raised_if_it_lasts(account: Account) -> None:
    token = acquire()["token"]
    with (
        failing(aws.dynamodb(), "delete_item", *[CONFLICT] * 99),
        pytest.raises(Exception, match="TransactionConflict"),
    ):
        release("run-1", token)

    with failing(aws.dynamodb(), "delete_item", CONFLICT):
        release("run-1", token)
    assert account.locks() == []


@pytest.mark.parametrize("code", ["AccessDeniedException", "ProvisionedThroughputExceededException"])
def test_any_other_refusal_is_an_error_and_not_a_lock_held(account: Account, code: str) -> None:
    with failing(aws.dynamodb(), "put_item", aws_error(code)), pytest.raises(Exception, match=code):
        acquire()
    with failing(aws.dynamodb(), "delete_item", aws_error(code)), pytest.raises(Exception, match=code):
        release()


def test_a_lock_that_is_held_is_counted(account: Account, log: Telemetry) -> None:
    acquire("run-1")
    assert "LocksContended" not in log.metrics

    acquire("run-2")

    assert log.metrics["LocksContended"] == 1


def test_a_lock_is_no_unfinished_work(account: Account) -> None:
    acquire()

    assert list(pending.scan_unfinished()) == []
    assert account.dynamodb.scan(TableName=TRACKING_TABLE)["Count"] == 1
