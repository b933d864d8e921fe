"""Fixtures of the unit tests. No test waits, and no call leaves this process."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from dev.simulator.telemetry import Telemetry, captured
from manifest_builder import aws
from manifest_builder.settings import settings
from manifest_builder.telemetry import metrics
from tests.documents import schemas
from tests.unit.support import Account, intercepted

hypothesis_settings.register_profile("unit", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("unit")


@pytest.fixture(autouse=True)
def sleeps() -> Iterator[list[float]]:
    """The arguments of all calls to `time.sleep`, in seconds. No call waits.

    Threads of other tests' fixtures, for example of an emulator, still sleep.
    """
    asked: list[float] = []
    others, really_sleep = set(threading.enumerate()) - {threading.current_thread()}, time.sleep

    def sleep(seconds: float) -> None:
        if threading.current_thread() in others:
            really_sleep(seconds)
        else:
            asked.append(seconds)

    with mock.patch("time.sleep", sleep):
        yield asked


@pytest.fixture(autouse=True)
def no_metrics_left_over() -> Iterator[None]:
    metrics.clear_metrics()
    yield
    metrics.clear_metrics()


@pytest.fixture
def account() -> Iterator[Account]:
    with Account() as account:
        yield account


@pytest.fixture
def environment() -> Iterator[Callable[..., None]]:
    """Set environment variables for the settings of this test."""
    with mock.patch.dict("os.environ"):

        def change(**variables: str) -> None:
            import os

            os.environ.update(variables)
            settings.cache_clear()

        yield change
    settings.cache_clear()


@pytest.fixture
def events(account: Account) -> Iterator[list[dict[str, Any]]]:
    """The events that were sent, each checked against its schema."""
    sent: list[dict[str, Any]] = []

    def remember(proceed: Callable[[], Any], number: int, arguments: dict[str, Any]) -> Any:
        for entry in arguments["Entries"]:
            event = {"bus": entry["EventBusName"], "source": entry["Source"], "detail-type": entry["DetailType"]}
            sent.append(event | {"detail": json.loads(entry["Detail"])})
            schemas.check(sent[-1])
        return proceed()

    with intercepted(aws.events(), "put_events", remember):
        yield sent


@pytest.fixture
def log() -> Iterator[Telemetry]:
    """Log lines and metrics of the functions, from level DEBUG on unless a test sets another level."""
    with captured() as telemetry:
        yield telemetry
