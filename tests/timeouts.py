"""The end of a test that exceeds its time limit: processes that the test has started are killed.

pytest-timeout fails such a test, and prints the stacks of all threads.
"""

import os
import signal
from collections import defaultdict
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Runs a test. The processes of fixtures that were set up before it stay."""
    before = descendants()
    try:
        yield
    except pytest.fail.Exception as failure:
        if "pytest-timeout" in str(failure):
            for process in descendants() - before:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        raise


def descendants() -> set[int]:
    """Processes that this process has started, directly or through others. Empty where there is no /proc."""
    children: dict[int, list[int]] = defaultdict(list)
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name, in parentheses, may hold spaces.
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            children[parent].append(int(status.parent.name))
    found: set[int] = set()
    left = [os.getpid()]
    while left:
        for child in children[left.pop()]:
            found.add(child)
            left.append(child)
    return found
