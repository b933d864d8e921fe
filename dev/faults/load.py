"""`make load`: thousands of files on the deployed stack, many of them overwritten, functions killed at random, and an
outage of Lambda in the middle; then the promise is checked.

Exit codes: 0 the promise held, 1 it did not, 130 Ctrl-C, 143 SIGTERM or SIGHUP.
"""

import argparse
import math
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.emulator import feed as feeding
from dev.emulator.deploy import Deployment, deploy
from dev.emulator.emulator import Emulator
from dev.emulator.facts import read_facts, read_table
from dev.emulator.feed import InputFile
from dev.run import watch
from toolkit.ending import end_when_told, exit_code_of
from toolkit.facts import Facts, Upload
from toolkit.verdict import Check, overdue_dates, verify

DATES = ("2025-12-22", "2025-12-23", "2025-12-24")
# Files of 2 KB, about 100 in a manifest: the number of files matters here, not their bytes.
FILE = b'{"order_id": "%012d", "total": 12.34, "currency": "EUR", "city": "Porto"}\n'
ROWS = 27
PARAMETERS = {
    "ExpectedFileSizeMb": "0.002",
    "SizeTolerancePercent": "50",
    "MaxBatchSizeGb": "0.00019",
    "RetryDelaySeconds": "1",
    "LockTtlSeconds": "240",
}
MAX_BATCH_BYTES = int(float(PARAMETERS["MaxBatchSizeGb"]) * 1024**3)
# The template's 900 s are for a function that was killed without a word: here that happens all the time.
VISIBILITY_SECONDS = 20
SWEEP_SECONDS = 30
LEASE_SECONDS = float(PARAMETERS["LockTtlSeconds"])
GIVE_UP_SECONDS = 600
TRIGGER = "-start-workflow"


@dataclass(frozen=True)
class Outcome:
    files: int
    seconds: float
    kills: Counter[str]
    overwrites: int
    duplicates: int
    failed_executions: int
    """During the outage."""
    reading: "Reading"
    checks: list[Check]

    @property
    def files_per_second(self) -> float:
        return (self.files + self.overwrites) / self.seconds

    @property
    def is_kept(self) -> bool:
        return all(check.holds for check in self.checks) and not (self.reading.unread or self.reading.twice)


@dataclass(frozen=True)
class Reading:
    """How many versions the runs of the job have read, by their own output."""

    read: int
    twice: int
    waiting: int
    """Pending: no manifest names them yet."""
    refused: int
    unread: int
    """Neither read, nor pending, nor refused."""

    @classmethod
    def of(cls, facts: Facts) -> "Reading":
        read = Counter(version for result in facts.results.values() for version in result.versions)
        status = {row.version: row.status for row in facts.files}
        uploaded = {upload.version for upload in facts.uploads}
        others = Counter(status.get(version, "lost") for version in uploaded - read.keys())
        waiting, refused = others.pop("pending", 0), others.pop("quarantined", 0)
        twice = sum(times > 1 for times in read.values())
        return cls(len(read), twice, waiting, refused, others.total())


class Killer(threading.Thread):
    """Kills a random function's process now and then, as a machine that fails would."""

    def __init__(self, folder: Path, generator: random.Random, seconds_between: float) -> None:
        super().__init__(daemon=True)
        self.kills: Counter[str] = Counter()
        self._folder, self._random, self._seconds = folder, generator, seconds_between
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(self._random.uniform(0, 2 * self._seconds)):
            workers = self._workers()
            if workers:
                process, box = self._random.choice(workers)
                try:
                    os.kill(process, signal.SIGKILL)
                    self.kills[box] += 1
                except ProcessLookupError:
                    pass

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def _workers(self) -> list[tuple[int, str]]:
        """Processes of functions with the name of their box, each box as likely as any other."""
        found: dict[str, int] = {}
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = entry.read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            for word in words:
                if word.startswith(str(self._folder)) and word.endswith("_worker.py"):
                    box = Path(word).parent.name.removeprefix("ministack-lambda-manifest-builder-").rpartition("-")[0]
                    found[box] = int(entry.parent.name)
        return [(process, box) for box, process in sorted(found.items())]


def burst(generator: random.Random, first: int, number: int) -> list[InputFile]:
    """Files of three dates in no order, every twentieth of them refused."""
    files = []
    for index in range(first, first + number):
        date = generator.choice(DATES)
        refused = index % 20 == 7
        key = f"load/{date}-{index:05}.{'csv' if refused else 'ndjson'}"
        files.append(InputFile(key, FILE % index * ROWS, refused=refused))
    return files


def overwritten(generator: random.Random, uploads: list[Upload], bucket: str, number: int) -> list[InputFile]:
    """New content for some of the files that were uploaded before: some of them wait, others are being read or done."""
    keys = sorted({upload.uri.removeprefix(f"s3://{bucket}/") for upload in uploads if not upload.refused})
    again = generator.sample(keys, min(number, len(keys)))
    return [InputFile(key, FILE % generator.randrange(10**12) * ROWS, refused=False) for key in again]


def send_duplicates(emulator: Emulator, deployment: Deployment, generator: random.Random, number: int) -> int:
    rows = read_table(emulator, deployment).files
    again = generator.sample(rows, min(number, len(rows)))
    for row in again:
        feeding.send(emulator, deployment, feeding.event_of(row))
    return len(again)


@contextmanager
def outage(emulator: Emulator, seconds: float) -> Iterator[None]:
    """Lambda throttles every call by Step Functions, from the beginning of the block and for that time at least."""
    functions = [
        function["FunctionName"]
        for page in emulator.lambda_.get_paginator("list_functions").paginate()
        for function in page["Functions"]
        if not function["FunctionName"].endswith(TRIGGER)
    ]
    ends_at = time.monotonic() + seconds
    for function in functions if seconds else []:
        emulator.lambda_.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    try:
        yield
        time.sleep(max(0, ends_at - time.monotonic()))
    finally:
        for function in functions if seconds else []:
            emulator.lambda_.delete_function_concurrency(FunctionName=function)


def count_failed(emulator: Emulator, deployment: Deployment) -> int:
    pages = emulator.stepfunctions.get_paginator("list_executions").paginate(
        stateMachineArn=deployment.state_machine_arn, statusFilter="FAILED"
    )
    return sum(len(page["executions"]) for page in pages)


def settle(emulator: Emulator, deployment: Deployment, uploads: list[Upload]) -> None:
    """Wait until nothing moves any more. Sweeps run more often than the schedule has them, but none while a lock is
    held: a date that is tried three times in vain rests for half an hour (`manifest_builder.turns`)."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while time.monotonic() < deadline:
        progress = watch.wait(
            emulator,
            deployment,
            uploads,
            lambda progress: progress.is_finished(0),
            lambda _: None,
            stall_seconds=SWEEP_SECONDS,
            recovery_seconds=LEASE_SECONDS + SWEEP_SECONDS,
        )
        if progress.is_finished(0) and not overdue_dates(read_table(emulator, deployment).files, MAX_BATCH_BYTES):
            return
        emulator.stepfunctions.start_execution(stateMachineArn=deployment.state_machine_arn, input='{"sweep": true}')


def load(
    files: int, overwrites: int, bursts: int, seed: int, seconds_between_kills: float, outage_seconds: float
) -> Outcome:
    generator = random.Random(seed)
    with Emulator() as emulator:
        deployment = deploy(emulator, PARAMETERS)
        emulator.sqs.set_queue_attributes(
            QueueUrl=deployment.input_queue_url, Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)}
        )
        started = time.monotonic()
        killer = Killer(emulator.folder, generator, seconds_between_kills)
        killer.start()
        uploads: list[Upload] = []
        duplicates = failed_executions = 0
        try:
            for number in range(bursts):
                size = files // bursts + (number < files % bursts)
                again = overwritten(
                    generator, uploads, deployment.input_bucket, math.ceil(overwrites / max(1, bursts - 1))
                )
                of_burst = burst(generator, len(uploads), size) + again
                generator.shuffle(of_burst)
                if number == bursts // 2:
                    with outage(emulator, outage_seconds):
                        uploads += feeding.upload(emulator, deployment, of_burst)
                    failed_executions = count_failed(emulator, deployment)
                else:
                    uploads += feeding.upload(emulator, deployment, of_burst)
                watch.wait(
                    emulator,
                    deployment,
                    uploads,
                    lambda progress: progress.files_known > progress.files * 0.7,
                    lambda _: None,
                )
                duplicates += send_duplicates(emulator, deployment, generator, size // 10)
        finally:
            killer.stop()
        settle(emulator, deployment, uploads)
        seconds = time.monotonic() - started
        facts = read_facts(emulator, deployment, uploads, [])
    number = len({upload.uri for upload in uploads})
    return Outcome(
        files=number,
        seconds=seconds,
        kills=killer.kills,
        overwrites=len(uploads) - number,
        duplicates=duplicates,
        failed_executions=failed_executions,
        reading=Reading.of(facts),
        checks=verify(facts, MAX_BATCH_BYTES),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.faults.load", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=2000, help="how many (default 2000)")
    parser.add_argument("--overwrites", type=int, default=1000, help="of files, at random moments (default 1000)")
    parser.add_argument("--bursts", type=int, default=5, help="in how many bursts (default 5)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (default 1)")
    parser.add_argument("--kill-every", type=float, default=3, metavar="SECONDS", help="on average (default 3)")
    parser.add_argument(
        "--outage", type=float, default=30, metavar="SECONDS", help="of Lambda, in the middle (default 30; 0: none)"
    )
    options = parser.parse_args()
    outcome = load(options.files, options.overwrites, options.bursts, options.seed, options.kill_every, options.outage)
    kills = ", ".join(f"{box} {number}" for box, number in sorted(outcome.kills.items()))
    print(f"{outcome.files:,} files, {outcome.overwrites:,} overwrites, {outcome.duplicates} events delivered twice")
    print(f"{outcome.kills.total()} functions killed ({kills})")
    print(f"Lambda out for {options.outage:.0f} s; executions that had failed by its end: {outcome.failed_executions}")
    reading = outcome.reading
    print(
        f"versions that the job has read: {reading.read:,}, twice: {reading.twice}; "
        f"pending: {reading.waiting}, refused: {reading.refused}, unread: {reading.unread}"
    )
    for check in outcome.checks:
        print("✓" if check.holds else "✗", check.clause, *check.problems[:10], sep="\n    " if check.problems else " ")
    print(f"{'promise kept' if outcome.is_kept else 'promise NOT kept'}: {outcome.files_per_second:.1f} files/s")
    return 0 if outcome.is_kept else 1


if __name__ == "__main__":
    end_when_told()
    sys.exit(exit_code_of(main))
