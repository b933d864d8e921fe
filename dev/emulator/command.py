"""Parts shared by the commands that start the emulator: flags, exit codes, the start, and staying up."""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from rich.console import Console

from dev.emulator.deploy import Deployment, deploy
from dev.emulator.emulator import Emulator
from dev.emulator.errors import DeployError, EmulatorError
from toolkit.ending import exit_code_of
from toolkit.errors import UsageError
from toolkit.exit_codes import FAILED, MISTAKE
from toolkit.parser import Parser
from toolkit.steps import Steps


class CommandParser(Parser):
    """Flags of `python -m <module>`, which `make <target>` runs."""

    def __init__(self, module: str, target: str, description: str) -> None:
        super().__init__(prog=f"python -m {module}", description=description)
        self._target = target
        self.add_argument("--end-with-parent", action="store_true", help="end when the process that started this ends")

    @property
    def remedy(self) -> str:
        return f"{self.prog} --help, or make {self._target} ARGS=--help, lists the flags"


def exit_code(command: Callable[[], int]) -> int:
    """The command's exit code. An error, or a signal, that ended the command is reported in one line."""
    try:
        return exit_code_of(command)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return MISTAKE
    except (DeployError, EmulatorError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED


def start_and_deploy(steps: Steps, stack: ExitStack, emulator: Emulator, parameters: Mapping[str, str]) -> Deployment:
    """The emulator runs until the end of `stack`. Raises EmulatorError and DeployError."""
    with steps.step("Starting the emulator") as step:
        stack.enter_context(emulator)
        step.end("Emulator started", f"MiniStack on {emulator.endpoint}")
    with steps.step("Deploying template.yaml") as step:
        deployment = deploy(emulator, parameters)
        step.end("template.yaml deployed", f"{deployment.resources} resources through CloudFormation")
    return deployment


def stay_up(console: Console, emulator: Emulator, commands: list[str]) -> None:
    """Waits until Ctrl-C. Ctrl-C is the normal end here, so the exit code is 0."""
    try:
        print_exports(console, emulator, commands)
        while True:
            emulator.check_alive()
            time.sleep(1)
    except KeyboardInterrupt:
        console.print("\nstopped; nothing is left running")


def print_exports(console: Console, emulator: Emulator, commands: list[str]) -> None:
    console.print("\n[bold]The emulator stays up until Ctrl-C.[/] In another terminal:\n")
    exports = [f"export {name}={value}" for name, value in emulator.environment().items()]
    for line in [*exports, "unset AWS_PROFILE AWS_SESSION_TOKEN", "", *commands]:
        console.print(f"  {line}", markup=False, soft_wrap=True)
