"""A simulated account with a deployed stack, and the operators' commands as a shell runs them."""

from collections.abc import Iterator

import pytest

from manifest_builder import announcements
from tests.ops.operator import Operator


@pytest.fixture
def operator(capsys: pytest.CaptureFixture[str]) -> Iterator[Operator]:
    with Operator(capsys) as operator:
        yield operator
    announcements.sqs.cache_clear()
