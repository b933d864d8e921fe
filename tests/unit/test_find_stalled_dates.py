"""FindStalledDates: which dates a sweep chooses, in which order, and the metrics of the backlog."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from unittest import mock

import pytest

import find_stalled_dates
from dev.simulator.telemetry import Telemetry
from manifest_builder import aws, batching, clock
from manifest_builder.settings import settings
from manifest_builder.tracking import file_rows, locks, manifest_records, marking, pending, table, turns
from tests.unit.support import DATE, NOON, Account, a_file, a_manifest, commit, track

MAX = 751_619_276
DAY = 1440 * 60


def sweep() -> list[dict[str, Any]]:
    answer = find_stalled_dates.handler({"sweep": True}, None)
    dates: list[dict[str, Any]] = answer["dates"]
    return dates


def dates_of_sweep() -> list[str]:
    return [found["date_prefix"] for found in sweep()]


def found_date(flush_before: str | None) -> dict[str, Any]:
    return {"date_prefix": DATE, "files": [], "flush_before": flush_before}


def days(number: int) -> list[str]:
    return [(date(2025, 11, 1) + timedelta(days=day)).isoformat() for day in range(number)]


def test_with_nothing_pending_a_sweep_finds_no_date(account: Account) -> None:
    answer = find_stalled_dates.handler({"sweep": True}, None)

    assert (answer["dates"], answer["rejected"], answer["ignored"]) == ([], [], 0)


def test_each_sweep_has_its_own_run_id(account: Account) -> None:
    assert len({find_stalled_dates.handler({"sweep": True}, None)["run_id"] for _ in range(3)}) == 3


@pytest.mark.parametrize(("waited", "found"), [(DAY - 1, False), (DAY, True), (7 * DAY, True)])
def test_a_date_whose_oldest_file_has_reached_the_flush_age_is_flushed(
    account: Account, waited: int, found: bool
) -> None:
    track(1)
    account.wait(seconds=waited)
    file_rows.track_file(DATE, a_file("in/young.ndjson", 1))

    assert sweep() == ([found_date(account.moment(seconds=-DAY))] if found else [])


def test_the_flush_age_follows_the_setting(environment: Callable[..., None], account: Account) -> None:
    environment(FLUSH_AFTER_MINUTES="0")
    track(1)

    assert sweep() == [found_date(account.moment())]


@pytest.mark.parametrize(("size", "found"), [(MAX - 1, False), (MAX, True)])
def test_a_date_that_has_reached_the_size_limit_is_found_and_not_flushed(
    account: Account, size: int, found: bool
) -> None:
    track(size - 10, 10)

    assert sweep() == ([found_date(None)] if found else [])


def test_a_date_that_has_reached_the_maximum_number_of_files_is_found(account: Account) -> None:
    with mock.patch.object(batching, "MAX_BATCH_FILES", 3):
        track(1, 1)
        assert sweep() == []
        file_rows.track_file(DATE, a_file("in/third.ndjson", 1))
        assert sweep() == [found_date(None)]


def test_a_date_with_an_open_manifest_is_found_and_not_flushed(account: Account) -> None:
    commit(a_manifest())

    assert sweep() == [found_date(None)]


def test_a_date_with_an_open_manifest_and_old_files_is_found_once_and_flushed(account: Account) -> None:
    track(1)
    commit(a_manifest())
    account.wait(seconds=DAY)

    assert sweep() == [found_date(account.moment(seconds=-DAY))]


def test_a_date_with_only_manifested_and_quarantined_files_and_a_lock_is_not_found(account: Account) -> None:
    track(MAX)
    rows = list(pending.pending_files(DATE))
    marking.mark_manifested(DATE, rows, "s3://m", account.moment(), until=NOON + timedelta(days=1))
    file_rows.record_quarantine(DATE, a_file("x.csv"), "Invalid extension", None)
    locks.acquire(DATE, "run-1", "token-1", clock.now())
    account.wait(seconds=2 * DAY)

    assert sweep() == []


def test_a_sweep_takes_the_twenty_oldest_dates_oldest_first(account: Account) -> None:
    for day in reversed(days(25)):
        track(1, date_prefix=day)
        account.wait(seconds=1)
    account.wait(seconds=DAY)

    assert dates_of_sweep() == list(reversed(days(25)))[:20]


def test_the_oldest_work_asks_glue_first_whether_its_date_was_tried_before_or_not(account: Account) -> None:
    for day, age in (("2025-12-20", 300), ("2025-12-21", 100)):
        commit(a_manifest(date_prefix=day, created_at=account.moment(seconds=-age)))
    sweep()
    account.wait(minutes=15)
    commit(a_manifest(date_prefix="2025-12-22", created_at=account.moment(seconds=-1)))

    assert dates_of_sweep() == ["2025-12-20", "2025-12-21", "2025-12-22"]


def test_a_search_that_takes_too_long_is_logged_as_an_error(account: Account, log: Telemetry) -> None:
    track(1)
    account.tick = timedelta(seconds=31)

    sweep()

    assert [line["message"] for line in log.at_least("ERROR")] == ["the search for stalled dates took too long"]


def test_dates_are_ordered_by_their_oldest_file_or_open_manifest(account: Account) -> None:
    commit(a_manifest(date_prefix="2025-12-20", created_at=account.moment(seconds=-100)))
    commit(a_manifest(date_prefix="2025-12-22", created_at=account.moment(seconds=-300)))
    track(MAX, date_prefix="2025-12-21")
    commit(a_manifest("token-2", date_prefix="2025-12-21", created_at=account.moment(seconds=50)))

    assert dates_of_sweep() == ["2025-12-22", "2025-12-20", "2025-12-21"]


def test_twenty_dates_that_cannot_be_finished_hide_no_healthy_one(account: Account) -> None:
    for day in days(20):
        commit(a_manifest(date_prefix=day, created_at=account.moment(seconds=-9 * DAY)))
    assert dates_of_sweep() == days(20)

    track(1, date_prefix="2025-12-24")
    account.wait(seconds=DAY)

    assert "2025-12-24" in dates_of_sweep()


def test_a_date_that_three_sweeps_have_tried_counts_as_failing_until_it_gets_on(
    account: Account, log: Telemetry
) -> None:
    commit(a_manifest())
    for _ in range(4):
        account.wait(minutes=15)
        sweep()
    commit(a_manifest("token-2", date_prefix="2025-12-20"))
    (record,) = manifest_records.open_manifests(DATE)
    aws.dynamodb().delete_item(
        TableName=settings().tracking_table, Key=table.key(f"MANIFEST#{DATE}", record.record_name)
    )
    sweep()

    (failing,) = [values for (_, name, _), values in log.metric_values.items() if name == "DatesFailing"]
    assert failing == [0, 0, 0, 1, 0]


def test_an_idle_sweep_asks_for_no_turns(account: Account) -> None:
    calls: list[str] = []
    aws.dynamodb().meta.events.register("before-call.dynamodb", lambda model, **_: calls.append(model.name))

    sweep()

    assert calls == ["Scan"]


def test_a_turn_expires_after_a_week(account: Account) -> None:
    commit(a_manifest())
    sweep()

    item = table.get(turns.PARTITION, DATE)
    assert item is not None
    assert int(item["ttl"]) == pytest.approx(clock.now().timestamp() + 7 * DAY, abs=1)


def test_the_metrics_of_the_backlog_cover_all_dates_stalled_or_not(account: Account, log: Telemetry) -> None:
    track(10, 20, date_prefix="2025-12-22")
    account.wait(seconds=90)
    track(5, date_prefix="2025-12-23")
    commit(a_manifest(date_prefix="2025-12-21", created_at=account.moment(seconds=-900), file_size_bytes=777))
    commit(a_manifest(token="token-2", created_at=account.moment(seconds=-800)))

    sweep()

    assert log.metrics == {
        "PendingBytes": 35,
        "OldestPendingSeconds": 90,
        "OldestOverdueSeconds": 0,
        "OldestOpenManifestSeconds": 900,
        "DatesFailing": 0,
    }


def test_the_overdue_time_of_a_file_is_its_age_less_the_flush_age(account: Account, log: Telemetry) -> None:
    track(10)
    account.wait(hours=24, seconds=90)

    sweep()

    assert log.metrics["OldestPendingSeconds"] == 24 * 3600 + 90
    assert log.metrics["OldestOverdueSeconds"] == 90


def test_an_empty_backlog_is_measured_as_zero(account: Account, log: Telemetry) -> None:
    sweep()

    assert log.metrics == {
        "PendingBytes": 0,
        "OldestPendingSeconds": 0,
        "OldestOverdueSeconds": 0,
        "OldestOpenManifestSeconds": 0,
        "DatesFailing": 0,
    }


def test_the_backlog_is_read_page_by_page(account: Account) -> None:
    track(*[MAX // 8 + 1] * 8)
    scans: list[dict[str, Any]] = []

    def one_row_at_a_time(params: dict[str, Any], **_: Any) -> None:
        params["Limit"] = 3
        scans.append(params)

    aws.dynamodb().meta.events.register("provide-client-params.dynamodb.Scan", one_row_at_a_time)

    assert dates_of_sweep() == [DATE]
    assert len(scans) >= 3
    assert {scan["IndexName"] for scan in scans} == {"pending-index"}


def test_a_sweep_logs_its_run_and_its_dates(account: Account, log: Telemetry) -> None:
    commit(a_manifest())

    answer = find_stalled_dates.handler({"sweep": True}, None)

    (line,) = log.lines
    assert line["run_id"] == answer["run_id"]
    assert (line["dates_pending"], line["dates_stalled"], line["dates_chosen"]) == (1, 1, [DATE])
