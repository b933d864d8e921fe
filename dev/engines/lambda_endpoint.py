"""Lambda's Invoke API over local functions, for Step Functions Local and `aws lambda invoke`.

POST /2015-03-31/functions/<name or ARN>/invocations
"""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NotRequired, Self, TypedDict
from urllib.parse import unquote, urlsplit

# A name, a partial ARN or an ARN, each with a version or an alias or without.
INVOCATIONS = re.compile(
    r"/2015-03-31/functions/(?:arn:[\w-]+:lambda:[\w-]*:)?(?:\d{12}:)?(?:function:)?(?P<name>[\w-]+)"
    r"(?::[\w$-]+)?/invocations"
)


class Invocation(TypedDict):
    """The response of Invoke. After a failure it has `FunctionError`, and `Payload` describes the error."""

    Payload: Any
    FunctionError: NotRequired[str]


Function = Callable[[Any], Invocation]


def invoke(function: Callable[[Any], Any], event: Any) -> Invocation:
    """Call a function as Lambda does: its answer goes through JSON, and an exception becomes an answer."""
    try:
        return {"Payload": json.loads(json.dumps(function(event)))}
    except Exception as error:
        failure = {"errorType": type(error).__name__, "errorMessage": str(error)}
        return {"Payload": failure, "FunctionError": "Unhandled"}


class LambdaEndpoint(ThreadingHTTPServer):
    """Serves `functions` by name, each request in a thread of its own. Use as a context manager.

    There is no authentication, so no other machine may reach it: it listens on 127.0.0.1, or on the address at which
    containers of this machine reach it. Port 0 is a free one.
    """

    def __init__(self, functions: Mapping[str, Function], host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), _Handler)
        self.functions = functions
        self.url = f"http://{host}:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: LambdaEndpoint

    def do_POST(self) -> None:
        body = self._read_body()
        path = INVOCATIONS.fullmatch(unquote(urlsplit(self.path).path))
        function = self.server.functions.get(path["name"]) if path else None
        if function is None:
            return self._refuse(HTTPStatus.NOT_FOUND, "ResourceNotFoundException", f"Function not found: {self.path}")
        try:
            event = json.loads(body or b"{}")
        except ValueError as error:
            return self._refuse(HTTPStatus.BAD_REQUEST, "InvalidRequestContentException", f"Not JSON: {error}")
        answer = function(event)
        failure = {"X-Amz-Function-Error": answer["FunctionError"]} if "FunctionError" in answer else {}
        return self._answer(HTTPStatus.OK, answer["Payload"], {"X-Amz-Executed-Version": "$LATEST", **failure})

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # the trailer

    def _refuse(self, status: HTTPStatus, error: str, message: str) -> None:
        self._answer(status, {"Type": "User", "Message": message}, {"X-Amzn-ErrorType": error})

    def _answer(self, status: HTTPStatus, payload: Any, headers: Mapping[str, str]) -> None:
        body = json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing: the functions have logs of their own."""
