"""The deployed functions, run by processes of this machine behind Lambda's API."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from dev.engines.functions import deployed_functions
from dev.engines.lambda_endpoint import LambdaEndpoint
from tests.stack.stack import Stack

pytestmark = pytest.mark.xdist_group("stack")

Call = Callable[[str, Any], Any]


@pytest.fixture(scope="module")
def call(stack: Stack) -> Iterator[Call]:
    """Invoke a function by its name in kebab case."""
    with deployed_functions(stack.emulator) as functions, LambdaEndpoint(functions) as endpoint:
        lambda_ = boto3.client(
            "lambda",
            endpoint_url=endpoint.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(proxies={}),
        )

        def invoke(box: str, event: Any) -> Any:
            answer = lambda_.invoke(FunctionName=f"{stack.deployment.stack_name}-{box}", Payload=json.dumps(event))
            return answer.get("FunctionError"), json.load(answer["Payload"])

        yield invoke


def test_a_function_has_the_settings_of_the_stack_and_reaches_its_table(call: Call, stack: Stack) -> None:
    lock = {"run_id": "run 1", "date_prefix": "2025-12-01"}
    error, first = call("acquire-lock", lock)
    assert error is None
    assert first["acquired"]
    assert call("acquire-lock", lock | {"run_id": "run 2"}) == (None, {"acquired": False, "token": None})
    assert stack.facts().locks.count("manifest-2025-12-01") == 1
    call("release-lock", lock | {"token": first["token"]})
    assert stack.facts().locks.count("manifest-2025-12-01") == 0


def test_a_function_that_fails_says_so_and_goes_on_serving(call: Call) -> None:
    assert call("acquire-lock", {}) == ("Unhandled", {"errorType": "KeyError", "errorMessage": "'date_prefix'"})
    error, parsed = call("parse-event", {"messages": [{"messageId": "1", "body": "no event"}]})
    assert error is None
    assert [rejected["messageId"] for rejected in parsed["rejected"]] == ["1"]
