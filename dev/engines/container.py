"""Step Functions Local in a container, wired to servers of this machine."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from docker import DockerClient as DockerSDK
from docker.errors import DockerException, ImageNotFound
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.waiting_utils import WaitStrategy, WaitStrategyTarget

from dev.emulator.emulator import CREDENTIALS, REGION

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

IMAGE = os.environ.get("STEPFUNCTIONS_LOCAL_IMAGE") or "amazon/aws-stepfunctions-local:2.0.0"
PORT = 8083
THIS_MACHINE = "host.docker.internal"
START_SECONDS = 60
MOCK_CONFIG = "/mock_config.json"

# Ryuk removes containers of killed runs, but is an image of its own, with a grip on all containers of this machine.
testcontainers_config.ryuk_disabled = True


@contextmanager
def docker() -> Iterator[DockerSDK]:
    """Raises DockerException if Docker does not answer."""
    with closing(DockerClient().client) as client:
        yield client


def docker_is_missing() -> str | None:
    """The remedy, in one line, if Docker does not answer."""
    try:
        with docker() as client:
            client.ping()
    except DockerException:
        return "Docker does not answer: install and start it (https://docs.docker.com/engine/install)"
    return None


def what_is_missing(image: str) -> str | None:
    """Why the image cannot run here, and the remedy, in one line; None if it can."""
    if missing := docker_is_missing():
        return missing
    try:
        with docker() as client:
            client.images.get(image)
    except ImageNotFound:
        return f"the image {image} is not on this machine: docker pull {image}"
    return None


def address_for_containers() -> str:
    """Where a server of this machine listens so that containers reach it, and nobody from outside.

    On Linux that is the address of Docker's bridge. Docker Desktop keeps its bridge in a virtual machine, and
    passes what containers send to host.docker.internal on to 127.0.0.1.
    """
    with docker() as client:
        bridge = client.networks.get("bridge").attrs["IPAM"]["Config"][0]
    # Without a configured gateway, Docker reports none and uses the first address.
    gateway: str = bridge.get("Gateway") or str(next(ip_network(bridge["Subnet"]).hosts()))
    with socket.socket() as probe:
        try:
            probe.bind((gateway, 0))
        except OSError:
            return "127.0.0.1"
    return gateway


@contextmanager
def stepfunctions_local(image: str, ports: Mapping[str, int], mock_config: Path | None = None) -> Iterator[str]:
    """Start the image and wait until it answers; gives the URL of its API. The container is removed at the end.

    `ports`: local ports that serve an AWS service: {"LAMBDA": 9001}. Raises DockerException, and
    TimeoutError with the container's log as a note.
    """
    endpoints = {f"{service}_ENDPOINT": f"http://{THIS_MACHINE}:{port}" for service, port in ports.items()}
    container = DockerContainer(image).with_envs(**endpoints, **CREDENTIALS)
    if mock_config:
        container.with_volume_mapping(mock_config, MOCK_CONFIG).with_env("SFN_MOCK_CONFIG", MOCK_CONFIG)
    container.with_kwargs(extra_hosts={THIS_MACHINE: "host-gateway"})
    # Docker's choice of a port, but of this machine's own address alone: testcontainers has no method for it.
    container.ports[str(PORT)] = ("127.0.0.1", None)  # type: ignore[assignment]
    container.waiting_for(_Answers().with_startup_timeout(START_SECONDS).with_poll_interval(0.2))
    with container:
        yield _url(container)


def stepfunctions_client(url: str) -> "SFNClient":
    return boto3.client(
        "stepfunctions",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        config=Config(proxies={}, read_timeout=10, retries={"total_max_attempts": 1}),
    )


class _Answers(WaitStrategy):
    """Its port is open long before it answers."""

    def wait_until_ready(self, container: WaitStrategyTarget) -> None:
        self.with_transient_exceptions(BotoCoreError, ClientError)

        def answers() -> bool:
            container.reload()
            if container.status == "exited":
                raise StopIteration
            stepfunctions_client(_url(container)).list_state_machines(maxResults=1)
            return True

        if not self._poll(answers):
            raise TimeoutError(f"Step Functions Local has stopped, or did not answer for {START_SECONDS} s")


def _url(container: WaitStrategyTarget) -> str:
    return f"http://127.0.0.1:{container.get_exposed_port(PORT)}"
