"""Worker processes end when their parent says so, whatever they are waiting for."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from dev.paths import ROOT

WAITING = """
import ctypes, os, signal
from toolkit.ending import leave_signals_to_the_parent

leave_signals_to_the_parent()
# A wait that goes on after a handler, like one that begins just after the signal.
signal.siginterrupt(signal.SIGTERM, False)
reading, writing = os.pipe()
os.fork()
print("waits", flush=True)
ctypes.CDLL(None).read(reading, ctypes.create_string_buffer(1), 1)
"""


@pytest.mark.parametrize("blocked", [set(), {signal.SIGTERM}], ids=["running", "being started"])
def test_a_worker_that_waits_ends_with_what_it_has_forked(blocked: set[signal.Signals]) -> None:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        worker = subprocess.Popen([sys.executable, "-c", WAITING], cwd=ROOT, stdout=subprocess.PIPE)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    with worker:
        assert worker.stdout
        assert [worker.stdout.readline() for _ in range(2)] == [b"waits\n"] * 2
        try:
            worker.terminate()
            # The pipe's end comes when neither process is left.
            rest, _ = worker.communicate(timeout=20)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
    assert rest == b""
    assert worker.returncode == -signal.SIGKILL
