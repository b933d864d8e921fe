"""What runs in the stand-in's container: moto's interpreter behind its API, on Step Functions Local's port."""

import json
import os
import threading
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import quote, urlsplit

import boto3
from moto import server
from moto.core.config import default_user_config
from moto.stepfunctions.parser.asl.utils import boto_client
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker

from dev.simulator.engines import Moto

if TYPE_CHECKING:
    from dev.engines.lambda_endpoint import Invocation

PORT = 8083


def main() -> None:
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    mock_config = os.environ.get("SFN_MOCK_CONFIG")
    engine = Moto(Path(mock_config) if mock_config else None)
    with (
        mock.patch.object(boto_client, "boto_client_for", _client_for),
        engine.attached(_invoke),
        mock.patch.object(ExecutionWorker, "start", _start),
    ):
        server.main(["--host", "0.0.0.0", "--port", str(PORT)])


def _start(worker: ExecutionWorker) -> None:
    """A server runs executions while its clients ask for their status."""
    threading.Thread(target=worker._execution_logic, daemon=True).start()


def _client_for(region: str, service: str, state_credentials: Any = None) -> Any:
    client: Any = boto3.client
    return client(service, region_name=region, endpoint_url=os.environ[f"{service.upper()}_ENDPOINT"])


def _invoke(parameters: dict[str, Any]) -> "Invocation":
    """Invokes like Step Functions Local: with the function's whole ARN and a chunked body."""
    path = f"/2015-03-31/functions/{quote(parameters['FunctionName'])}/invocations"
    with closing(HTTPConnection(urlsplit(os.environ["LAMBDA_ENDPOINT"]).netloc)) as connection:
        connection.request("POST", path, iter([parameters["Payload"]]))
        response = connection.getresponse()
        answer: Invocation = {"Payload": json.load(response)}
        if error := response.headers["X-Amz-Function-Error"]:
            answer["FunctionError"] = error
        return answer


if __name__ == "__main__":
    main()
