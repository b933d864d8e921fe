"""Work that botocore and moto repeat for each request, though its result is always the same or is never read here."""

import copy
import pickle
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from unittest import mock

from botocore.signers import RequestSigner
from botocore.useragent import UserAgentString
from moto.core import responses, utils
from moto.stepfunctions.parser.asl.component.common.path import result_path
from moto.stepfunctions.parser.asl.component.common.string import string_expression
from moto.stepfunctions.parser.asl.component.state.exec import execute_state
from moto.stepfunctions.parser.asl.eval import environment, states

_sign_always = RequestSigner.handler
_method_names = cache(utils.method_names_from_class)


@contextmanager
def shortcuts() -> Iterator[None]:
    """In it, requests to moto in this process are not signed, and the interpreter copies JSON in a faster way."""
    with ExitStack() as stack:

        def patch(target: Any, name: str, replacement: Any) -> None:
            stack.enter_context(mock.patch.object(target, name, replacement))

        patch(RequestSigner, "handler", _sign)
        patch(UserAgentString, "to_string", lambda _: "simulator")
        patch(responses, "method_names_from_class", _method_names)
        for module in (environment, execute_state, result_path, states, string_expression):
            patch(module, "copy", _Copy)
        yield


def _sign(signer: Any, request: Any, **context: Any) -> None:
    # The signature of a request to S3 says how its body is encoded. A server outside finds the service by it.
    if signer._service_id == "S3" or "amazonaws.com" not in request.url:
        _sign_always(signer, request=request, **context)


class _Copy:
    """The part of the module `copy` that the interpreter uses."""

    @staticmethod
    def deepcopy(value: Any) -> Any:
        """A copy by way of bytes, which is faster for JSON. The interpreter copies little else."""
        try:
            return pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))  # noqa: S301
        except (TypeError, AttributeError, pickle.PicklingError):
            return copy.deepcopy(value)
