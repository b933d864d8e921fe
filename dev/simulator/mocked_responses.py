"""Step Functions Local's SFN_MOCK_CONFIG for moto, whose interpreter knows mocked responses, but not its API."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from moto.stepfunctions.parser.backend import execution
from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
from moto.stepfunctions.parser.mocking.mock_config import (
    MockedResponse,
    MockedResponseReturn,
    MockedResponseThrow,
    MockTestCase,
    StateMockedResponses,
)
from moto.stepfunctions.parser.models import StepFunctionsParserBackend


@contextmanager
def mocked_responses(config: Path) -> Iterator[None]:
    """In it, an execution of `<machine's ARN>#<test case>` gets the responses of that case."""
    start = StepFunctionsParserBackend.start_execution

    def start_execution(backend: StepFunctionsParserBackend, machine: str, *arguments: Any) -> execution.Execution:
        machine, _, name = machine.partition("#")
        case = _test_case(json.loads(config.read_text()), machine.rpartition(":")[2], name) if name else None
        worker = partial(ExecutionWorker, mock_test_case=case)
        with mock.patch.object(execution, "ExecutionWorker", worker):
            return start(backend, machine, *arguments)

    with mock.patch.object(StepFunctionsParserBackend, "start_execution", start_execution):
        yield


def _test_case(config: dict[str, Any], machine: str, name: str) -> MockTestCase:
    states = config["StateMachines"][machine]["TestCases"][name]
    return MockTestCase(
        machine,
        name,
        [
            StateMockedResponses(state, responses, _responses(config["MockedResponses"][responses]))
            for state, responses in states.items()
        ],
    )


def _responses(numbered: dict[str, Any]) -> list[MockedResponse]:
    found: list[MockedResponse] = []
    for numbers, response in numbered.items():
        first, _, last = numbers.partition("-")
        attempts = int(first), int(last or first)
        if "Throw" in response:
            found.append(MockedResponseThrow(*attempts, response["Throw"]["Error"], response["Throw"]["Cause"]))
        else:
            # A function's ARN as the resource: the interpreter takes the answer of Invoke, not the result of the state.
            found.append(MockedResponseReturn(*attempts, {"Payload": response["Return"]}))
    return found
