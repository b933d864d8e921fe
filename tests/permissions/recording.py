"""Records AWS calls: the caller (a function or the state machine) and the arguments."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Self
from unittest import mock

import boto3
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_dynamodb,
    state_task_service_glue,
)

from dev.simulator.world import FUNCTIONS, Function
from tests.permissions.needs import Call

MACHINE = "ManifestStateMachine"
HANDLERS = {**FUNCTIONS, "StartWorkflow": "start_workflow", "AuditFiles": "audit_files"}


class Recording:
    """Adds to `calls` what is called in a `World`; to be entered in it, before any function has made its clients.

    What tests call themselves is left out.
    """

    def __init__(self, calls: list[Call]) -> None:
        self._calls = calls
        # One function runs at a time, with its threads. The trigger waits for the executions that it starts.
        self._running: list[str] = []
        self._integrations: dict[str, Any] = {}
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        self._replace(boto3, "client", lambda make, *service, **options: self._watched(make(*service, **options)))
        for name, module in HANDLERS.items():
            self._replace(importlib.import_module(module), "handler", partial(self._run, name))
        self._replace(lambda_eval_utils, "_invoke_lambda_function", self._invoke)
        for integration in (state_task_service_dynamodb, state_task_service_glue):
            self._replace(integration, "boto_client_for", self._integration_client)
        return self

    def __exit__(self, *exception: object) -> None:
        self._exit.close()

    def _replace(self, owner: Any, name: str, replacement: Callable[..., Any]) -> None:
        """`replacement` gets the original as its first argument."""
        self._exit.enter_context(mock.patch.object(owner, name, partial(replacement, getattr(owner, name))))

    @contextmanager
    def calls_of(self, name: str) -> Iterator[None]:
        """In this block, `name` is the caller of every call."""
        self._running.append(name)
        try:
            yield
        finally:
            self._running.pop()

    def _run(self, name: str, function: Function, event: dict[str, Any], context: Any) -> dict[str, Any]:
        with self.calls_of(name):
            return function(event, context)

    def _invoke(self, invoke: Callable[..., Any], parameters: dict[str, Any], *context: Any, **options: Any) -> Any:
        self._calls.append(Call(MACHINE, "lambda", "Invoke", {"FunctionName": parameters["FunctionName"]}, 200))
        return invoke(parameters, *context, **options)

    def _integration_client(self, make: Callable[..., Any], region: str, service: str, **options: Any) -> Any:
        if service not in self._integrations:
            self._integrations[service] = self._watched(make(region, service, **options), MACHINE)
        return self._integrations[service]

    def _watched(self, client: Any, caller: str | None = None) -> Any:
        """The calls belong to `caller`, or to the running function if `caller` is None."""
        key = "arguments of the recorded call"

        def asked(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
            context[key] = dict(params)

        def answered(http_response: Any, model: Any, context: dict[str, Any], **_: Any) -> None:
            by = caller or (self._running[-1] if self._running else None)
            if by:
                service = model.service_model.service_name
                self._calls.append(Call(by, service, model.name, context[key], http_response.status_code))

        events = client.meta.events
        for event, handler in {"provide-client-params": asked, "after-call": answered}.items():
            events.register(event, handler)
            # The simulator reuses the clients of service integrations in the next world.
            self._exit.callback(events.unregister, event, handler)
        return client
