"""Files a second of the embedded run on this machine, and which process spends the time."""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from dev.emulator import feed
from dev.emulator.deploy import deploy
from dev.emulator.emulator import Emulator
from dev.emulator.facts import read_facts
from dev.emulator.feed import InputFile
from dev.run import watch
from toolkit.verdict import verify

FILES = 2_000
# Files of 2 KB, about a hundred in a manifest: the workflow is timed, not the copying of bytes.
ROW = b'{"order_id": "%012d", "total": 12.34, "currency": "EUR", "city": "Porto"}\n'
ROWS = 27
PARAMETERS = {"ExpectedFileSizeMb": "0.002", "SizeTolerancePercent": "50", "MaxBatchSizeGb": "0.00019"}
MAX_BATCH_BYTES = int(float(PARAMETERS["MaxBatchSizeGb"]) * 1024**3)
POLL_SECONDS = 0.5
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
WORKER = "_worker.py"
EMULATOR = "emulator"
JOB = "Glue job's stand-in"


def measure() -> dict[str, dict[str, float]]:
    """Times 2,000 files in the embedded run, from the first upload to the end of all work."""
    files = [InputFile(f"folder1/2025-12-23-file{index:06}.ndjson", ROW % index * ROWS) for index in range(FILES)]
    with Emulator() as emulator:
        deployment = deploy(emulator, PARAMETERS)
        with _CpuProfile() as profile:
            started = time.perf_counter()
            uploads = feed.upload(emulator, deployment, files)
            watch.wait(emulator, deployment, uploads, lambda progress: progress.is_finished(0), lambda _: None)
            seconds = time.perf_counter() - started
        checks = verify(read_facts(emulator, deployment, uploads, []), MAX_BATCH_BYTES)
    assert all(check.holds for check in checks), checks
    return {"seconds": {"all": seconds}, "files a second": {"all": FILES / seconds}, "CPU seconds": profile.seconds()}


class _CpuProfile(threading.Thread):
    """CPU seconds of this process and of those below it, by role, while the block runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()
        self._before = dict(_usage())
        self._latest = dict(self._before)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            self._latest |= dict(_usage())

    def seconds(self) -> dict[str, float]:
        """By role, the dearest first. Runs of the job end too soon to be seen: they are what the emulator's ended
        children took, less the functions' processes among those."""
        alive = dict(_usage())
        used: dict[str, float] = defaultdict(float)
        for key, ticks in (self._latest | alive).items():
            spent = (ticks - self._before.get(key, 0)) / TICKS_PER_SECOND
            has_ended = key not in alive
            if key[1] != JOB or not has_ended:
                used[key[1]] += spent
            if has_ended and key[1] != JOB:
                used[JOB] -= spent
        return {role: used[role] for role in sorted(used, key=lambda role: -used[role]) if used[role] > 0}


def _usage() -> Iterator[tuple[tuple[int, str], int]]:
    """((process, role), ticks) of this process and all below it."""
    parents, statistics = {}, {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        process = int(entry.parent.name)
        parents[process], statistics[process] = int(fields[1]), fields
    for process, fields in statistics.items():
        if _is_below(process, os.getpid(), parents):
            role = _role(process)
            yield (process, role), int(fields[11]) + int(fields[12])
            if role == EMULATOR:
                yield (-process, JOB), int(fields[13]) + int(fields[14])


def _is_below(process: int, ancestor: int, parents: dict[int, int]) -> bool:
    while process not in (ancestor, 0):
        process = parents.get(process, 0)
    return process == ancestor


def _role(process: int) -> str:
    if process == os.getpid():
        return "feeding and watching"
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return JOB
    worker = next((Path(word).parent.name for word in words if word.endswith(WORKER)), None)
    if worker:
        return worker.removeprefix("ministack-lambda-manifest-builder-").rpartition("-")[0]
    return EMULATOR if "ministack" in words else JOB
