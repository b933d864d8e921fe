"""Tests of one `xdist_group` run in one worker, so their fixtures are made once. Long tests come first.

pytest-xdist 3.8 appends the group to `_nodeid`, which pytest 9.2 does not read any more: without this hook every worker
makes every fixture (https://github.com/pytest-dev/pytest-xdist/issues/1386).
"""

import pytest

from dev.paths import ROOT

LONGEST_FIRST = [
    ROOT / "tests" / path
    for path in (
        "stack/test_run.py",
        "stack/test_stack.py",
        "faults/test_crashes.py",
        "glue/test_ndjson_to_parquet.py",
        "faults/test_forks.py",
        "faults/test_schedules.py",
        "stack/test_outcomes.py",
        "permissions/test_least_privilege.py",
    )
]
"""Files with groups, or tests, that take 20 to 180 s: one that comes last leaves the other workers idle. Those that
wait for a stack or for Spark are spread out, so that others use the processor meanwhile."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives each test the id that pytest-xdist has made for it. Long tests come first, in their random order."""
    for item in items:
        with_group = getattr(item, "_nodeid", item.nodeid)
        if with_group != item.nodeid:
            item._id = type(item.id).parse(with_group)
    ranks = {path: rank for rank, path in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))
