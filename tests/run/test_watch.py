"""The condition that ends a run."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from dev.run import watch
from dev.run.watch import Progress
from manifest_builder import redelivery

DONE = Progress(
    files=3,
    files_known=3,
    manifests=1,
    jobs_finished=1,
    messages=0,
    dead_letters=1,
    locks=0,
    manifests_open=0,
    files_pending=1,
)


def test_a_run_is_over_when_every_file_is_known_and_the_poison_is_parked() -> None:
    assert DONE.is_finished(poison=1)


def test_a_run_goes_on_while_anything_is_under_way() -> None:
    under_way = [
        replace(DONE, messages=1),
        replace(DONE, locks=1),
        replace(DONE, manifests_open=1),
        replace(DONE, jobs_finished=0),
        replace(DONE, files_known=2),
        replace(DONE, dead_letters=0),
    ]
    assert not any(progress.is_finished(poison=1) for progress in under_way)


def test_a_run_with_a_file_that_failed_for_good_is_over_too() -> None:
    assert replace(DONE, files_known=2, dead_letters=2).is_finished(poison=1)


class Clock:
    """A clock that only `sleep` advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watch, "time", clock)
    return clock


def seconds_waited(monkeypatch: pytest.MonkeyPatch, clock: Clock, progress: Progress) -> float:
    """For a workflow that stands still."""
    emulator: Any = SimpleNamespace(check_alive=lambda: None)
    deployment: Any = None
    monkeypatch.setattr(watch, "read_progress", lambda *_: progress)
    assert watch.wait(emulator, deployment, [], lambda _: False, lambda _: None, recovery_seconds=300) == progress
    return clock.now


def test_a_run_that_stands_still_with_nothing_left_to_come_is_given_up(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    assert seconds_waited(monkeypatch, clock, DONE) == pytest.approx(watch.STALL_SECONDS, abs=1)


@pytest.mark.parametrize("recovering", [replace(DONE, messages=1), replace(DONE, locks=1)])
def test_what_comes_back_by_itself_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, recovering: Progress
) -> None:
    assert seconds_waited(monkeypatch, clock, recovering) == pytest.approx(300, abs=1)


def test_a_lease_and_the_last_return_of_a_message_are_waited_for() -> None:
    assert watch.longest_recovery_seconds(lock_ttl_seconds=300, retry_delay_seconds=1) > 300
    assert watch.longest_recovery_seconds(lock_ttl_seconds=240, retry_delay_seconds=60) > 60 * 2**4
    assert watch.longest_recovery_seconds(lock_ttl_seconds=240, retry_delay_seconds=900) < 1900


def test_the_longest_delay_is_that_of_the_trigger() -> None:
    assert watch.LONGEST_DELAY_SECONDS == redelivery.LONGEST_DELAY_SECONDS


def test_reading_takes_at_most_a_fifth_of_the_time(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    reading = 0.0

    def read_slowly(*_: object) -> Progress:
        nonlocal reading
        clock.sleep(2)
        reading += 2
        return DONE

    emulator: Any = SimpleNamespace(check_alive=lambda: None)
    deployment: Any = None
    monkeypatch.setattr(watch, "read_progress", read_slowly)
    watch.wait(emulator, deployment, [], lambda _: clock.now > 60, lambda _: None)

    assert reading / clock.now <= 0.25  # no pause after the last read
