"""How a long command is ended from outside: by a signal, or by the death of the process that started it."""

import os
import signal
import threading
import time
from types import FrameType
from typing import NoReturn

PARENT_POLL_SECONDS = 0.5


class Terminated(BaseException):
    """Somebody asks the command to end; like Ctrl-C, not an error."""


def end_when_told(*, with_parent: bool) -> None:
    """From here on, SIGTERM and SIGHUP raise Terminated as Ctrl-C raises KeyboardInterrupt.

    `with_parent`: the death of the parent process does so too.
    """
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    if with_parent:
        _end_with_parent()


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
