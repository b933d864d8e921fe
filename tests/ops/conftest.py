"""A simulated account with a stack in it, and the commands run on it as from a shell."""

from collections.abc import Iterator

import pytest

from ops import events
from tests.ops.operator import Operator


@pytest.fixture
def operator(capsys: pytest.CaptureFixture[str]) -> Iterator[Operator]:
    with Operator(capsys) as operator:
        yield operator
    events.sqs.cache_clear()
