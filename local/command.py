"""What the commands of this package share: how they start, their exit codes, and how they are ended."""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import FrameType
from typing import NoReturn

from rich.console import Console

from local.deploy import Deployment, deploy
from local.emulator import Emulator
from local.errors import DeployError, EmulatorError, UsageError
from local.report import Steps, print_exports

FAILED, MISTAKE, INTERRUPTED, TERMINATED = 1, 2, 130, 143
PARENT_POLL_SECONDS = 0.5


class Terminated(BaseException):
    """Somebody asks the command to end; like Ctrl-C, not an error."""


class Parser(argparse.ArgumentParser):
    """Flags of `python -m <module>`, which `make <target>` runs."""

    def __init__(self, module: str, target: str, description: str) -> None:
        super().__init__(prog=f"python -m {module}", description=description)
        self._target = target
        self.add_argument("--end-with-parent", action="store_true", help="end when the process that started this ends")

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help, or make {self._target} ARGS=--help, lists the flags)")


def exit_code(command: Callable[[], int]) -> int:
    """The command's own, or that of what has ended it, which is said in one line."""
    try:
        return command()
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return MISTAKE
    except (DeployError, EmulatorError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("\nstopped; nothing is left running", file=sys.stderr)
        return INTERRUPTED
    except Terminated:
        return TERMINATED


def clean_up_when_ended(options: argparse.Namespace) -> None:
    """From here on, signals end the command as Ctrl-C does, and so does its parent's death if it is to follow it."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    if options.end_with_parent:
        _end_with_parent()


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
    """Until Ctrl-C, which is how this ends, so it does not change the exit code."""
    try:
        print_exports(console, emulator, commands)
        while True:
            emulator.check_alive()
            time.sleep(1)
    except KeyboardInterrupt:
        console.print("\nstopped; nothing is left running")


def _terminate(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _end_with_parent() -> None:
    """Watch for the death of the process that started this one, `make` say, and end then."""
    parent = os.getppid()

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch_parent, daemon=True).start()
