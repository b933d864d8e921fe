"""The engines that run the definition: moto always; Step Functions Local if Docker and its image are available."""

from collections.abc import Iterator

import pytest

from dev.engines.container import IMAGE, what_is_missing
from dev.simulator import stepfunctions_local
from dev.simulator.engines import Engine, Moto
from tests.workflow.mocked_cases import MOCK_CONFIG


@pytest.fixture(scope="session")
def container() -> Iterator[Engine]:
    """One engine for all tests, because it starts slowly."""
    if missing := what_is_missing(IMAGE):
        pytest.skip(missing)
    with stepfunctions_local.started(IMAGE, MOCK_CONFIG) as engine:
        yield engine


@pytest.fixture(
    params=["moto", pytest.param("stepfunctions-local", marks=pytest.mark.xdist_group("stepfunctions-local"))]
)
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "moto":
        return Moto(MOCK_CONFIG)
    engine: Engine = request.getfixturevalue("container")
    return engine
