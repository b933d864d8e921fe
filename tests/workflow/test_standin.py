"""The container's path, shown on an image made of local files: start, wait, ports, calls to this machine, clean-up."""

import io
import socket
import sys
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from testcontainers.core.docker_client import DockerClient

from local.container import docker_is_missing, stepfunctions_local, what_is_missing
from tests.simulator import stepfunctions_local as engines
from tests.simulator.world import World
from tests.standin import image
from tests.workflow.mocked_cases import MOCK_CONFIG, MOCKED_CASES
from tests.workflow.scenarios import SCENARIOS
from tests.workflow.test_scenarios import play

pytestmark = [
    pytest.mark.xdist_group("stepfunctions-local"),
    pytest.mark.skipif(sys.platform != "linux", reason="the image is made of this machine's files, for Linux"),
]


@pytest.fixture(scope="session")
def standin() -> Iterator[str]:
    if missing := docker_is_missing():
        pytest.skip(missing)
    name = f"{image.IMAGE}-of-{uuid.uuid4().hex[:8]}"
    image.make(name)
    yield name
    DockerClient().client.images.remove(name)


def containers_of(image_name: str) -> list[Any]:
    """Running or not."""
    return list(DockerClient().client.containers.list(all=True, filters={"ancestor": image_name}))


def test_an_execution_in_a_container_reaches_functions_and_services_of_this_machine(standin: str) -> None:
    with engines.started(standin, MOCK_CONFIG) as engine:
        (scenario,) = (scenario for scenario in SCENARIOS if scenario.name == "two dates")
        for each in (scenario, *MOCKED_CASES):
            with World(environment=each.environment, engine=engine) as world:
                play(each, world)


def test_a_container_listens_on_this_machine_only_and_is_gone_at_its_end(standin: str) -> None:
    with stepfunctions_local(standin, {}) as url:
        (container,) = containers_of(standin)
        (published,) = container.ports["8083/tcp"]
        assert published == {"HostIp": "127.0.0.1", "HostPort": str(urlsplit(url).port)}
    assert containers_of(standin) == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(published["HostPort"]))) != 0


def test_an_image_that_stops_is_reported_with_its_log_and_cleaned_up(standin: str) -> None:
    images = DockerClient().client.images
    dockerfile = f'FROM {standin}\nCMD ["{image.INTERPRETER}", "-c", "raise SystemExit(\'out of order\')"]\n'
    broken, _ = images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=f"{standin}-out-of-order", rm=True)
    with pytest.raises(TimeoutError) as failure, stepfunctions_local(broken.tags[0], {}):
        pass
    assert "out of order" in "".join(failure.value.__notes__)
    assert containers_of(broken.id) == []
    images.remove(broken.id)


def test_an_image_that_is_not_here_is_named_with_the_command_that_gets_it(standin: str) -> None:
    assert what_is_missing(standin) is None
    missing = what_is_missing("nobody/has-this:1.0.0")
    assert missing == "the image nobody/has-this:1.0.0 is not on this machine: docker pull nobody/has-this:1.0.0"
