"""Lambda's Invoke API as clients of Lambda see it."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import cache, partial
from typing import Any

import boto3
import pytest
from botocore.config import Config

from dev.engines.lambda_endpoint import Invocation, LambdaEndpoint, invoke

CONCURRENT = 8
together = threading.Barrier(CONCURRENT, timeout=30)


def echo(event: Any) -> Any:
    return {"got": event}


def wait_for_the_others(event: Any) -> Any:
    return together.wait()


def fail(event: Any) -> Any:
    raise KeyError("missing")


FUNCTIONS = {name.__name__: partial(invoke, name) for name in (echo, wait_for_the_others, fail)}


@pytest.fixture
def endpoint() -> Iterator[LambdaEndpoint]:
    with LambdaEndpoint(FUNCTIONS) as endpoint:
        yield endpoint


@cache
def session() -> boto3.Session:
    return boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name="us-east-1")


def client(endpoint: LambdaEndpoint) -> Any:
    config = Config(proxies={}, retries={"total_max_attempts": 1}, max_pool_connections=CONCURRENT)
    return session().client("lambda", endpoint_url=endpoint.url, config=config)


@contextmanager
def connection(endpoint: LambdaEndpoint) -> Iterator[Callable[..., http.client.HTTPResponse]]:
    """Requests on one HTTP connection, without an AWS SDK."""
    client = http.client.HTTPConnection("127.0.0.1", endpoint.server_port, timeout=30)

    def post(function: str, body: Any) -> http.client.HTTPResponse:
        client.request("POST", f"/2015-03-31/functions/{function}/invocations", body)
        return client.getresponse()

    with closing(client):
        yield post


@pytest.mark.parametrize(
    "name",
    [
        "echo",
        "echo:$LATEST",
        "123456789012:function:echo",
        "arn:aws:lambda:us-east-1:123456789012:function:echo",
        "arn:aws-cn:lambda:cn-north-1:123456789012:function:echo:live",
    ],
)
def test_a_function_is_called_by_its_name_or_its_arn(endpoint: LambdaEndpoint, name: str) -> None:
    answer = client(endpoint).invoke(FunctionName=name, Payload=json.dumps({"key": "ä"}))
    assert answer["StatusCode"] == 200
    assert "FunctionError" not in answer
    assert json.load(answer["Payload"]) == {"got": {"key": "ä"}}


def test_a_body_may_come_in_chunks_of_unknown_total_length(endpoint: LambdaEndpoint) -> None:
    document = json.dumps({"key": "x" * 100_000}).encode()
    pieces = (document[start : start + 7_000] for start in range(0, len(document), 7_000))
    with connection(endpoint) as post:
        assert json.load(post("echo", pieces)) == {"got": json.loads(document)}  # an iterator is sent in chunks


def test_a_connection_is_used_again_after_a_body_in_chunks(endpoint: LambdaEndpoint) -> None:
    with connection(endpoint) as post:
        for number in range(3):
            pieces = iter([b'{"number": ', str(number).encode(), b"}"])
            assert json.load(post("echo", pieces)) == {"got": {"number": number}}


def test_a_failure_is_an_answer_with_its_header(endpoint: LambdaEndpoint) -> None:
    with connection(endpoint) as post:
        response = post("fail", b"{}")
        assert response.status == 200
        assert response.headers["X-Amz-Function-Error"] == "Unhandled"
        assert json.load(response) == {"errorType": "KeyError", "errorMessage": "'missing'"}


def test_an_answer_that_is_no_json_is_a_failure_as_on_lambda() -> None:
    answer: Invocation = invoke(lambda event: {1, 2}, {})
    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"]["errorType"] == "TypeError"


def test_an_unknown_function_is_not_found(endpoint: LambdaEndpoint) -> None:
    lambda_ = client(endpoint)
    with pytest.raises(lambda_.exceptions.ResourceNotFoundException, match="Function not found"):
        lambda_.invoke(FunctionName="nobody")


def test_a_body_that_is_no_json_is_refused(endpoint: LambdaEndpoint) -> None:
    lambda_ = client(endpoint)
    with pytest.raises(lambda_.exceptions.InvalidRequestContentException, match="Not JSON"):
        lambda_.invoke(FunctionName="echo", Payload="{")


def test_requests_are_served_at_the_same_time(endpoint: LambdaEndpoint) -> None:
    lambda_ = client(endpoint)

    def call(_: int) -> int:
        place: int = json.load(lambda_.invoke(FunctionName="wait_for_the_others")["Payload"])
        return place

    with ThreadPoolExecutor(CONCURRENT) as pool:
        assert sorted(pool.map(call, range(CONCURRENT))) == list(range(CONCURRENT))


def test_it_listens_on_this_machine_only_unless_told_otherwise(endpoint: LambdaEndpoint) -> None:
    assert endpoint.server_address[0] == "127.0.0.1"


def test_nothing_listens_any_more_after_its_end() -> None:
    with LambdaEndpoint(FUNCTIONS) as endpoint:
        pass
    with connection(endpoint) as post, pytest.raises(ConnectionRefusedError):
        post("echo", b"{}")
