"""Tests of one `xdist_group` run in one worker, so their session fixtures are made once.

pytest-xdist 3.8 appends the group to `_nodeid`, which pytest 9.2 does not read any more: without this hook every worker
makes every fixture (https://github.com/pytest-dev/pytest-xdist/issues/1386).
"""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives each test the id that pytest-xdist has made for it. Without pytest-xdist there is none."""
    for item in items:
        with_group = getattr(item, "_nodeid", item.nodeid)
        if with_group != item.nodeid:
            item._id = type(item.id).parse(with_group)
