"""The ends of a long command from outside: a signal, or the death of the process that started it."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from toolkit.exit_codes import INTERRUPTED, TERMINATED

PARENT_POLL_SECONDS = 0.5
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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


def exit_code_of(command: Callable[[], int]) -> int:
    """The command's exit code; 130 after SIGINT, 143 after SIGTERM, SIGHUP, or the end of the parent."""
    try:
        return command()
    except KeyboardInterrupt:
        print("\nstopped; nothing is left running", file=sys.stderr)
        return INTERRUPTED
    except Terminated:
        return TERMINATED


@contextmanager
def held_signals() -> Iterator[None]:
    """In this block, signals wait; they take effect at its end. Threads and processes started here still hold them."""
    came: list[int] = []
    # The mask is inherited. It does not suffice: another thread of this process may take a signal.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    handlers = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if came:
            signal.raise_signal(came[0])


def leave_signals_to_the_parent() -> None:
    """For worker processes: Ctrl-C in a terminal reaches them too, but their parent ends them, by SIGTERM.

    A worker leads a process group, so that the processes that it has forked end with it. A thread waits for SIGTERM: a
    handler runs in Python's main thread, and not at all while that waits for a lock which it began to wait for just
    after the signal came.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_group_when_told, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGHUP})


def _end_group_when_told() -> None:
    signal.sigwait({signal.SIGTERM})
    os.killpg(0, signal.SIGKILL)


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
