"""Drawn schedules, a few; `make faults` and HYPOTHESIS_PROFILE=nightly play ten times as many."""

import os

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from dev.faults.schedules import Schedules


def test_the_promise_holds_for_every_schedule() -> None:
    profile = os.environ.get("HYPOTHESIS_PROFILE", "schedules")
    run_state_machine_as_test(Schedules, settings=settings.get_profile(profile))
