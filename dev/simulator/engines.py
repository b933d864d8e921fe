"""Engines that run the definition: moto's interpreter, in this process."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol
from unittest import mock

from jsonpath_ng.ext.parser import parse as parse_json_path
from moto.stepfunctions.parser.asl.component.common.path import result_path
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.program import program
from moto.stepfunctions.parser.asl.component.state.exec import execute_state
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration import inline_iteration_component
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel import branch_worker
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_dynamodb,
    state_task_service_glue,
)
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import boto_client, json_path
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker

from dev.simulator.mocked_responses import mocked_responses

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

    from dev.engines.lambda_endpoint import Invocation

MOTO = threading.RLock()
"""Held while moto answers a request: its DynamoDB is not thread-safe, and an engine outside calls from many threads."""
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
    """moto's interpreter, in the thread that waits for the execution, without its waits, parsing nothing twice.

    The items of a Map and the branches of a Parallel run one after the other.
    With a `mock_config`, the ARN of a machine may be followed by `#` and one of its test cases.
    """

    endpoint_url = None

    def __init__(self, mock_config: Path | None = None) -> None:
        self._mock_config = mock_config
        self._started: defaultdict[str, list[ExecutionWorker]] = defaultdict(list)
        """By ARN, which is the same for all executions that were started without a name."""

    @contextmanager
    def attached(self, invoke: Invoke) -> Iterator[None]:
        def start(worker: ExecutionWorker) -> None:
            self._started[worker._evaluation_details.execution_details.arn].append(worker)

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
            patch(ExecutionWorker, "start", start)
            patch(execute_state, "Thread", _CallingThread)
            for module in (program, inline_iteration_component, branch_worker):
                patch(module, "threading", SimpleNamespace(Thread=_CallingThread))
            if self._mock_config:
                stack.enter_context(mocked_responses(self._mock_config))
            yield

    def create_machine(self, sfn: "SFNClient", definition: str, role: str) -> str:
        return sfn.create_state_machine(name="manifest-builder", roleArn=role, definition=definition)["stateMachineArn"]

    def wait_for_end(self, sfn: "SFNClient", execution_arn: str) -> None:
        for worker in self._started.pop(execution_arn, ()):
            worker._execution_logic()  # type: ignore[no-untyped-call]


class _CallingThread:
    """A thread of the interpreter that is none: its work is done when it is started."""

    native_id = None

    def __init__(self, *, target: Callable[..., Any], args: tuple[Any, ...] = (), **_: Any) -> None:
        self.start = partial(target, *args)

    def join(self, timeout: float | None = None) -> None:
        pass

    def is_alive(self) -> bool:
        return False


# moto parses the definition for each execution (0.3 s); what an execution changes is not in the parsed program.
_parse_once = staticmethod(cache(AmazonStateLanguageParser.parse))
_parse_path_once = cache(parse_json_path)


@cache
def _integration_client(region: str, service: str) -> Any:
    return boto_client.boto_client_for(region, service)
