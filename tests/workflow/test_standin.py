"""The container's life, with an image made of local files: start, wait, ports, calls to this machine, clean-up."""

import io
import json
import os
import socket
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from dev.engines.container import docker, docker_is_missing, stepfunctions_local, what_is_missing
from dev.paths import ROOT
from dev.simulator import stepfunctions_local as engines
from dev.simulator.world import World
from tests.standin import image
from tests.workflow.mocked_cases import MOCK_CONFIG, MOCKED_CASES
from tests.workflow.scenarios import BUILD, GREEN, NO, SCENARIOS, START, TRACK, states, times
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
    with docker() as client:
        client.images.remove(name)


def containers_of(image_name: str) -> list[Any]:
    """All containers, running or not."""
    with docker() as client:
        return list(client.containers.list(all=True, filters={"ancestor": image_name}))


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
    dockerfile = f'FROM {standin}\nCMD ["{image.INTERPRETER}", "-c", "raise SystemExit(\'out of order\')"]\n'
    broken = f"{standin}-out-of-order"
    with docker() as client:
        client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=broken, rm=True)
        with pytest.raises(TimeoutError) as failure, stepfunctions_local(broken, {}):
            pass
        assert "out of order" in "".join(failure.value.__notes__)
        assert containers_of(broken) == []
        client.images.remove(broken)


def test_an_image_that_is_not_here_is_named_with_the_command_that_gets_it(standin: str) -> None:
    assert what_is_missing(standin) is None
    missing = what_is_missing("nobody/has-this:1.0.0")
    assert missing == "the image nobody/has-this:1.0.0 is not on this machine: docker pull nobody/has-this:1.0.0"


def test_the_command_prints_status_path_and_output(standin: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "dev.engines.stepfunctions_local"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "functions", "STEPFUNCTIONS_LOCAL_IMAGE": standin},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    status, printed = ended.stdout.split("\nStatus  ")[1].split("\n", 1)
    path, output = printed.removeprefix("Path").split("\nOutput\n")
    assert status == "SUCCEEDED"
    assert path.replace("→", " ").split()[:3] == ["Source", "ParseEvent", "ForEachDate"]
    assert Counter(path.replace("→", " ").split()) == states(START, times(2, TRACK), BUILD, NO, GREEN)
    assert json.loads(output)["files"]["tracked"] == 2
    assert containers_of(standin) == []
