"""Tests of one `xdist_group` run in one worker, so their fixtures are made once. Long tests come first.

pytest-xdist 3.8 appends the group to `_nodeid`, which pytest 9.2 does not read any more: without this hook every worker
makes every fixture (https://github.com/pytest-dev/pytest-xdist/issues/1386).
"""

import pytest

from dev.paths import ROOT

LONG = {
    ROOT / "tests" / path for path in ("faults/test_crashes.py", "faults/test_schedules.py", "stack/test_outcomes.py")
}
"""Files with tests of 20 to 60 s each: one that comes last leaves the other worker idle."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives each test the id that pytest-xdist has made for it. Long tests come first, in their random order."""
    for item in items:
        with_group = getattr(item, "_nodeid", item.nodeid)
        if with_group != item.nodeid:
            item._id = type(item.id).parse(with_group)
    items.sort(key=lambda item: item.path not in LONG)
