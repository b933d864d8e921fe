"""A test's group reaches the scheduler of pytest-xdist."""

import pytest


@pytest.mark.xdist_group("a group of its own")
def test_the_id_of_a_test_ends_with_its_group(request: pytest.FixtureRequest) -> None:
    in_groups = request.config.getoption("loadgroup", default=False)

    assert request.node.nodeid.endswith("@a group of its own") == in_groups
