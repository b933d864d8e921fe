"""The deployed functions behind Lambda's Invoke API: `make lambda-endpoint`.

They run in processes of this machine; S3, DynamoDB and Glue are the emulator's, where the template is deployed.
"""

import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from typing import Any

from dev.emulator.command import CommandParser, exit_code, start_and_deploy, stay_up
from dev.emulator.deploy import Deployment
from dev.emulator.emulator import Emulator
from dev.engines.lambda_endpoint import Function, Invocation, LambdaEndpoint, invoke
from dev.paths import CODE
from toolkit.console import make_console
from toolkit.ending import end_when_told
from toolkit.errors import UsageError
from toolkit.steps import Steps
from toolkit.texts import plural

PROCESSES = 4
PORT = 9001


@contextmanager
def deployed_functions(emulator: Emulator, *, logs: bool = True) -> Iterator[dict[str, Function]]:
    """The functions of the stack by name, with their environment. As on Lambda, a process runs one call at a time.

    Their log lines and metrics go to the standard output, unless without `logs`.
    """
    pages = emulator.lambda_.get_paginator("list_functions").paginate()
    configurations = [configuration for page in pages for configuration in page["Functions"]]
    environment = emulator.environment() | {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    for configuration in configurations:
        environment |= configuration["Environment"]["Variables"]
    with ProcessPoolExecutor(PROCESSES, get_context("spawn"), _start_process, (environment, logs)) as pool:
        yield {
            configuration["FunctionName"]: partial(_submit, pool, configuration["Handler"])
            for configuration in configurations
        }


def _submit(pool: ProcessPoolExecutor, handler: str, event: Any) -> Invocation:
    return pool.submit(_run, handler, event).result()


def _start_process(environment: dict[str, str], logs: bool) -> None:
    # The terminal's Ctrl-C goes to the command, which ends the pool.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if not logs:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, str(CODE))


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
    os._exit(1)


def _run(handler: str, event: Any) -> Invocation:
    module, _, name = handler.rpartition(".")

    def function(event: Any) -> Any:
        return getattr(importlib.import_module(module), name)(event, None)

    return invoke(function, event)


def main(arguments: Sequence[str] | None = None) -> int:
    return exit_code(partial(command, arguments))


def command(arguments: Sequence[str] | None) -> int:
    parser = CommandParser(
        "dev.engines.functions",
        "lambda-endpoint",
        "Deploys template.yaml to an emulator of AWS here, and serves its functions as Lambda does, until Ctrl-C.",
    )
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help=f"listen on this port (default {PORT})")
    options = parser.parse_args(arguments)
    end_when_told(with_parent=options.end_with_parent)
    console = make_console()
    with ExitStack() as stack:
        emulator = Emulator()
        deployment = start_and_deploy(Steps(console), stack, emulator, {})
        functions = stack.enter_context(deployed_functions(emulator))
        try:
            endpoint = stack.enter_context(LambdaEndpoint(functions, port=options.port))
        except OSError as error:
            raise UsageError(f"port {options.port}: {error.strerror}; take another one by ARGS='--port N'") from None
        console.print(f"\n[bold]{plural(len(functions), 'function')} on {endpoint.url}[/]")
        stay_up(console, emulator, commands(endpoint.url, deployment))
    return 0


def commands(endpoint_url: str, deployment: Deployment) -> list[str]:
    """Commands that use the endpoint, directly and through Step Functions Local."""
    name = deployment.stack_name
    local = "aws stepfunctions --endpoint-url http://127.0.0.1:8083"
    return [
        "mkdir -p build && jq '{messages: [.Records[] | {messageId, body}]}' tests/events/sqs_batch.json "
        "> build/input.json",
        f"aws lambda invoke --endpoint-url {endpoint_url} --function-name {name}-parse-event "
        "--payload fileb://build/input.json /dev/stdout",
        "",
        "docker run --rm --detach --network host --env AWS_ACCESS_KEY_ID --env AWS_SECRET_ACCESS_KEY "
        f"--env AWS_DEFAULT_REGION --env LAMBDA_ENDPOINT={endpoint_url} --env DYNAMODB_ENDPOINT=$AWS_ENDPOINT_URL "
        "--env GLUE_ENDPOINT=$AWS_ENDPOINT_URL amazon/aws-stepfunctions-local:2.0.0",
        f"aws stepfunctions describe-state-machine --state-machine-arn {deployment.state_machine_arn} "
        "--query definition --output text | sed s/aws-sdk:glue/glue/ > build/definition.json",
        f"{local} create-state-machine --name {name} --definition file://build/definition.json "
        "--role-arn arn:aws:iam::123456789012:role/any",
        f"{local} start-execution --name first --input file://build/input.json "
        f"--state-machine-arn arn:aws:states:us-east-1:123456789012:stateMachine:{name}",
        f"{local} describe-execution --execution-arn arn:aws:states:us-east-1:123456789012:execution:{name}:first",
    ]


if __name__ == "__main__":
    sys.exit(main())
