"""The emulator's parent: however the run ends, nothing that it started stays behind.

Run as `python -m dev.emulator.guard <folder> <program> <argument> ...`. The program gets a process group of its own.
The guard ends it when its own standard input closes; the kernel closes it even if the run is killed. The guard then
deletes the folder.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading

STOP_SECONDS = 3
PR_SET_PDEATHSIG = 1


def main() -> int:
    folder, *command = sys.argv[1:]
    # The terminal's Ctrl-C goes to the run, which decides; the guard follows its pipe alone.
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_IGN)
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=_die_with_the_guard,  # noqa: PLW1509 - no other thread is there yet
        process_group=0,
    )
    threading.Thread(target=_stop_at_end_of_input, args=(child,), daemon=True).start()
    code = child.wait()
    # Workers of the functions and runs of the job are in the same group.
    _signal_group(child.pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    return code


def _die_with_the_guard() -> None:
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _stop_at_end_of_input(child: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 4096):
        pass
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        _signal_group(child.pid, signal.SIGKILL)


def _signal_group(group: int, signal_number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal_number)


if __name__ == "__main__":
    sys.exit(main())
