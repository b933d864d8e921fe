"""The ends of a long command from outside: a signal, or the death of the process that started it."""

import os
import signal
import threading
import time
from types import FrameType
from typing import NoReturn

PARENT_POLL_SECONDS = 0.5


class Terminated(BaseException):
    """SIGTERM or SIGHUP asked the command to end. Like KeyboardInterrupt, this is not an error."""


def end_when_told(*, with_parent: bool = False) -> None:
    """From here on, SIGTERM and SIGHUP raise Terminated, and SIGINT raises KeyboardInterrupt.

    SIGINT needs a handler too: a shell starts a background job with SIGINT ignored, and Python then installs none.
    `with_parent`: the death of the parent process raises Terminated too.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    if with_parent:
        _end_with_parent()


def _terminate(signal_number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _end_with_parent() -> None:
    """Watches for the death of the process that started this one, for example `make`, and ends then."""
    parent = os.getppid()

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch_parent, daemon=True).start()
