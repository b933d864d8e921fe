"""Engines that run the definition: moto's interpreter, in this process."""

import copy
import marshal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol
from unittest import mock

from jsonpath_ng.ext.parser import parse as parse_json_path
from moto.stepfunctions.parser.asl.component.common.path import result_path
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec import execute_state
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_dynamodb,
    state_task_service_glue,
)
from moto.stepfunctions.parser.asl.eval import states
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import boto_client, json_path
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication

from dev.simulator.mocked_responses import mocked_responses

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

    from dev.engines.lambda_endpoint import Invocation

EXECUTION_SECONDS = 60
MOTO = threading.RLock()
"""Held while moto answers a request: its DynamoDB is not thread-safe, and the branches of a Map are threads."""
Invoke = Callable[[dict[str, Any]], "Invocation"]


class Engine(Protocol):
    """An engine with the API of Step Functions, which calls the functions of one world at a time."""

    @property
    def endpoint_url(self) -> str | None:
        """The endpoint of its API; None if moto answers for AWS."""

    def attached(self, invoke: Invoke) -> AbstractContextManager[None]:
        """In it, states that are functions are answered by `invoke`, which is Lambda's Invoke."""

    def create_machine(self, sfn: "SFNClient", definition: str, role: str) -> str:
        """Returns the state machine's ARN."""

    def wait_for_end(self, sfn: "SFNClient", execution_arn: str) -> None:
        """Raises AssertionError if the execution hangs."""


class Moto:
    """moto's interpreter, without its waits and without parsing anything twice.

    With a `mock_config`, the ARN of a machine may be followed by `#` and one of its test cases.
    """

    endpoint_url = None

    def __init__(self, mock_config: Path | None = None) -> None:
        self._mock_config = mock_config
        self._ends: defaultdict[str, threading.Event] = defaultdict(threading.Event)

    @contextmanager
    def attached(self, invoke: Invoke) -> Iterator[None]:
        terminated = BaseExecutionWorkerCommunication.terminated

        def signal_end(communication: BaseExecutionWorkerCommunication) -> None:
            terminated(communication)
            self._ends[communication.execution.exec_arn].set()

        with ExitStack() as stack:

            def patch(target: Any, name: str, replacement: Any) -> None:
                stack.enter_context(mock.patch.object(target, name, replacement))

            patch(lambda_eval_utils, "_invoke_lambda_function", lambda parameters, **_: invoke(parameters))
            for service in (state_task_service_dynamodb, state_task_service_glue):
                patch(service, "boto_client_for", lambda region, service, **_: _integration_client(region, service))
            patch(retrier_decl, "time", SimpleNamespace(sleep=lambda seconds: None))
            patch(AmazonStateLanguageParser, "parse", _parse_once)
            for module in (json_path, result_path):
                patch(module, "parse", _parse_path_once)
            for module in (execute_state, result_path, states):
                patch(module, "copy", SimpleNamespace(deepcopy=_deep_copy))
            patch(BaseExecutionWorkerCommunication, "terminated", signal_end)
            if self._mock_config:
                stack.enter_context(mocked_responses(self._mock_config))
            yield

    def create_machine(self, sfn: "SFNClient", definition: str, role: str) -> str:
        return sfn.create_state_machine(name="manifest-builder", roleArn=role, definition=definition)["stateMachineArn"]

    def wait_for_end(self, sfn: "SFNClient", execution_arn: str) -> None:
        assert self._ends[execution_arn].wait(EXECUTION_SECONDS), "the execution hangs"


# moto parses the definition for each execution (0.3 s); what an execution changes is not in the parsed program.
_parse_once = staticmethod(cache(AmazonStateLanguageParser.parse))
_parse_path_once = cache(parse_json_path)


def _deep_copy(value: Any) -> Any:
    """Like copy.deepcopy, ten times as fast for JSON. The interpreter copies JSON almost only."""
    try:
        return marshal.loads(marshal.dumps(value))  # of this process alone
    except ValueError:
        return copy.deepcopy(value)


@cache
def _integration_client(region: str, service: str) -> Any:
    return boto_client.boto_client_for(region, service)
