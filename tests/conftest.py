"""Importing a function checks its settings, so the environment variables are set first."""

import gc
import os

from dev.simulator.world import ENVIRONMENT
from tests.groups import pytest_collection_modifyitems  # noqa: F401 - a hook of pytest
from tests.timeouts import pytest_runtest_call  # noqa: F401 - a hook of pytest

os.environ.update(ENVIRONMENT)


def pytest_collection_finish() -> None:
    """Modules and collected tests live until the end: exclude them from garbage collection, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
