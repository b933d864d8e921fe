"""Requests and answers as they pass between botocore and moto."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from moto.core.botocore_stubber import MockRawResponse


def body_of(request: Any) -> bytes:
    body = request.body
    if hasattr(body, "read"):
        body.seek(0)
        body = body.read()
    return body.encode() if isinstance(body, str) else bytes(body or b"")


def response(request: Any, status: int, headers: Mapping[str, Any], body: str | bytes) -> AWSResponse:
    found = HTTPHeaders()
    for name, value in headers.items():
        found[name] = str(value)
    return AWSResponse(request.url, status, found, MockRawResponse(body))


def answer(request: Any, status: int, document: Mapping[str, Any]) -> AWSResponse:
    """The response of a service with a JSON protocol."""
    return response(request, status, {"content-type": "application/x-amz-json-1.0"}, json.dumps(document))
