"""Fixtures of the unit tests. No test waits, and no call leaves this process."""

from collections.abc import Callable, Iterator
from unittest import mock

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from dev.simulator.telemetry import Telemetry, captured
from manifest_builder.settings import settings
from manifest_builder.telemetry import metrics
from tests.unit.support import Account

hypothesis_settings.register_profile("unit", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("unit")


@pytest.fixture(autouse=True)
def sleeps() -> Iterator[list[float]]:
    """The arguments of all calls to `time.sleep`, in seconds. No call waits."""
    asked: list[float] = []
    with mock.patch("time.sleep", asked.append):
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
def log() -> Iterator[Telemetry]:
    """Log lines and metrics of the functions, from level DEBUG on unless a test sets another level."""
    with captured() as telemetry:
        yield telemetry
