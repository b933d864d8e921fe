"""The deployed template on an emulator that enforces the functions' policies: one per worker, shared by its tests.

Each test uses its own dates, so tests do not disturb each other.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.emulator.deploy import deploy
from dev.emulator.emulator import Emulator
from dev.run.files import SAMPLE_PARAMETERS
from tests.stack.stack import Stack
from tests.workflow.mocked_cases import MOCK_CONFIG

HERE = Path(__file__).parent
DEPLOYING_SECONDS = 420
"""Time limit of a test, the deployment included. A lease that a busy machine leaves takes 300 s."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.stack)
            item.add_marker(pytest.mark.timeout(DEPLOYING_SECONDS))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    # Mocked responses apply to executions that name a test case. Every execution retries without waiting.
    settings = {"SFN_MOCK_CONFIG": str(MOCK_CONFIG), "SFN_WAIT_SCALE": "0"}
    with Emulator(enforce_policies=True, settings=settings) as emulator:
        yield Stack(emulator, deploy(emulator, SAMPLE_PARAMETERS))
