"""One execution on Step Functions Local: `make stepfunctions-local`.

The functions run in processes of this machine, S3, DynamoDB and Glue are the emulator's. The container reaches both.
"""

import argparse
import json
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import DockerException
from rich.console import Console

from dev.emulator.command import CommandParser, exit_code, start_and_deploy
from dev.emulator.deploy import GLUE, Deployment
from dev.emulator.emulator import Emulator
from dev.emulator.errors import EmulatorError
from dev.engines import container, history
from dev.engines.functions import deployed_functions
from dev.engines.lambda_endpoint import LambdaEndpoint
from dev.paths import EVENTS
from manifest_builder.events import read_message
from toolkit.console import make_console
from toolkit.ending import end_when_told
from toolkit.errors import UsageError
from toolkit.exit_codes import FAILED
from toolkit.steps import Steps

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

EVENT = EVENTS / "sqs_batch.json"
PARAMETERS = {"MaxBatchSizeGb": "0.0068359375"}
"""The two files of that event fill a manifest."""
POLL_SECONDS = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    return exit_code(partial(command, arguments))


def command(arguments: Sequence[str] | None) -> int:
    options = parse(arguments)
    messages = read_messages(options.event)
    if missing := container.what_is_missing(container.IMAGE):
        raise UsageError(missing)
    end_when_told(with_parent=options.end_with_parent)
    console = make_console()
    steps = Steps(console)
    host = container.address_for_containers()
    with ExitStack() as stack:
        emulator = Emulator(host=host)
        deployment = start_and_deploy(steps, stack, emulator, PARAMETERS)
        put_objects(emulator, messages)
        functions = stack.enter_context(deployed_functions(emulator, logs=False))
        endpoint = stack.enter_context(LambdaEndpoint(functions, host))
        with steps.step("Starting Step Functions Local") as step:
            ports = {"LAMBDA": endpoint.server_port, "DYNAMODB": emulator.port, "GLUE": emulator.port}
            try:
                url = stack.enter_context(container.stepfunctions_local(container.IMAGE, ports))
            except (DockerException, TimeoutError) as error:
                raise EmulatorError("\n".join([str(error), *getattr(error, "__notes__", [])])) from error
            step.end("Container started", f"{container.IMAGE} on {url}")
        with steps.step(f"Running {options.event.name}") as step:
            sfn = container.stepfunctions_client(url)
            execution = execute(sfn, definition(emulator, deployment), deployment.stack_name, messages)
            succeeded = sfn.describe_execution(executionArn=execution)["status"] == "SUCCEEDED"
            step.end("Execution ended", execution.rpartition(":")[2], went_well=succeeded)
        print_execution(console, sfn, execution)
    return 0 if succeeded else FAILED


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        "dev.engines.stepfunctions_local",
        "stepfunctions-local",
        "Runs one event on Step Functions Local (STEPFUNCTIONS_LOCAL_IMAGE names another image), and prints its "
        "status, its path and its output.",
    )
    parser.add_argument(
        "--event", type=Path, default=EVENT, metavar="FILE", help=f"an event of tests/events (default {EVENT.name})"
    )
    return parser.parse_args(arguments)


def read_messages(event: Path) -> list[dict[str, str]]:
    """The messages of an SQS event, or one message whose body is the event."""
    try:
        text = event.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{event}: {error.strerror}") from None
    try:
        records = json.loads(text).get("Records", [])
    except (ValueError, AttributeError):
        records = []
    batch = [{"messageId": record["messageId"], "body": record["body"]} for record in records if "body" in record]
    return batch or [{"messageId": event.stem, "body": text}]


def put_objects(emulator: Emulator, messages: list[dict[str, str]]) -> None:
    """Uploads the objects that the messages name, so that QuarantineFile and the job find them."""
    for message in messages:
        for _, file in read_message(message["messageId"], message["body"]).files:
            emulator.s3.create_bucket(Bucket=file.bucket)
            emulator.s3.put_object(Bucket=file.bucket, Key=file.key, Body=b"{}\n")


def definition(emulator: Emulator, deployment: Deployment) -> str:
    """As it was deployed, with the Glue integration that the emulator lacks and Step Functions Local has."""
    deployed = emulator.stepfunctions.describe_state_machine(stateMachineArn=deployment.state_machine_arn)
    original, local = (resource.rpartition(":states:")[2] for resource in GLUE)
    return deployed["definition"].replace(local, original)


def execute(sfn: "SFNClient", text: str, name: str, messages: list[dict[str, str]]) -> str:
    """Run the definition to its end; returns the execution's ARN."""
    machine = sfn.create_state_machine(name=name, roleArn="arn:aws:iam::123456789012:role/any", definition=text)
    arn = sfn.start_execution(
        stateMachineArn=machine["stateMachineArn"],
        name=str(uuid.uuid4()),
        input=json.dumps({"sweep": False, "messages": messages}),
    )["executionArn"]
    while sfn.describe_execution(executionArn=arn)["status"] == "RUNNING":
        time.sleep(POLL_SECONDS)
    return arn


def print_execution(console: Console, sfn: "SFNClient", execution_arn: str) -> None:
    execution = sfn.describe_execution(executionArn=execution_arn)
    events = history.read(sfn, execution_arn)
    console.print(f"\n[bold]Status[/]  {execution['status']}")
    console.print(f"[bold]Path[/]    {' → '.join(history.states_entered(events))}")
    console.print("[bold]Output[/]")
    console.print_json(execution.get("output") or json.dumps(history.failure(events)))


if __name__ == "__main__":
    sys.exit(main())
