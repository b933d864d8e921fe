"""Step Functions Local: outside of this process, and calling back into the world over HTTP."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import ThreadedMotoServer

from dev.engines.container import address_for_containers, stepfunctions_local
from dev.engines.lambda_endpoint import Invocation, LambdaEndpoint
from dev.simulator.engines import MOTO, Invoke
from dev.simulator.world import FUNCTIONS, client

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

EXECUTION_SECONDS = 150
"""More than the machine's own limit, at which the engine ends it."""
POLL_SECONDS = 0.25


class StepFunctionsLocal:
    """One engine for all worlds, one after the other: it starts slowly, and its endpoints are fixed at its start."""

    def __init__(self, endpoint_url: str, endpoint: LambdaEndpoint) -> None:
        self.endpoint_url = endpoint_url
        self._endpoint = endpoint
        self._machines: dict[str, str] = {}

    @contextmanager
    def attached(self, invoke: Invoke) -> Iterator[None]:
        self._endpoint.functions = {state: partial(_call, invoke, state) for state in FUNCTIONS}
        yield
        self._endpoint.functions = {}

    def create_machine(self, sfn: "SFNClient", definition: str, role: str) -> str:
        if definition not in self._machines:
            created = sfn.create_state_machine(name="manifest-builder", roleArn=role, definition=definition)
            self._machines[definition] = created["stateMachineArn"]
        return self._machines[definition]

    def wait_for_end(self, sfn: "SFNClient", execution_arn: str) -> None:
        deadline = time.monotonic() + EXECUTION_SECONDS
        while sfn.describe_execution(executionArn=execution_arn)["status"] == "RUNNING":
            assert time.monotonic() < deadline, "the execution hangs"
            time.sleep(POLL_SECONDS)


@contextmanager
def started(image: str, mock_config: Path) -> Iterator[StepFunctionsLocal]:
    """The engine in a container. Its functions are the world's; its DynamoDB and its Glue are this process's moto."""
    host = address_for_containers()
    with LambdaEndpoint({}, host) as endpoint, _moto_server(host) as moto_port:
        ports = {"LAMBDA": endpoint.server_port, "DYNAMODB": moto_port, "GLUE": moto_port}
        with stepfunctions_local(image, ports, mock_config) as url:
            yield StepFunctionsLocal(url, endpoint)


def _call(invoke: Invoke, state: str, event: Any) -> Invocation:
    return invoke({"FunctionName": state, "Payload": json.dumps(event)})


@contextmanager
def _moto_server(host: str) -> Iterator[int]:
    """The services of whatever world there is, over HTTP; gives the port."""
    answer = DomainDispatcherApplication.__call__

    def locked(application: DomainDispatcherApplication, *request: Any) -> Any:
        with MOTO:
            return answer(application, *request)

    server = ThreadedMotoServer(host, port=0, verbose=False)
    with mock.patch.object(DomainDispatcherApplication, "__call__", locked):
        server.start()
        try:
            port = server.get_host_and_port()[1]
            # A service's first request takes seconds, which is more than the states that call it have.
            for service, operation in (("dynamodb", "list_tables"), ("glue", "list_jobs")):
                getattr(client(service, f"http://{host}:{port}"), operation)()
            yield port
        finally:
            server.stop()
