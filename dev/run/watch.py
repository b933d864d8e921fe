"""Waits until the workflow has processed all files."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from dev.emulator.deploy import Deployment
from dev.emulator.emulator import Emulator
from dev.emulator.facts import FINISHED_STATES, count_messages, read_runs, read_table
from toolkit.facts import Upload
from toolkit.texts import plural

POLL_SECONDS = 0.3
PAUSES_PER_READ = 4
# Above the longest pause of a healthy run in which nothing failed: a held-back start of a job.
STALL_SECONDS = 75
LONGEST_DELAY_SECONDS = 1800
"""Of a message that has failed: see `manifest_builder.redelivery`."""
FAILURES = 5
"""After so many failures of a message, one more is taken for a standstill."""


@dataclass(frozen=True, slots=True)
class Progress:
    files: int
    files_known: int
    manifests: int
    jobs_finished: int
    messages: int
    dead_letters: int
    locks: int
    manifests_open: int
    files_pending: int
    manifests_started: int = 0
    """Those whose run has no recorded outcome."""

    def __str__(self) -> str:
        return f"{self.summary}, {plural(self.messages, 'message')}"

    @property
    def summary(self) -> str:
        parked = f", {self.dead_letters} parked" if self.dead_letters else ""
        return (
            f"{self.files_known}/{self.files} files known, {plural(self.manifests, 'manifest')}, "
            f"{plural(self.jobs_finished, 'job')} finished{parked}"
        )

    @property
    def is_everything_known(self) -> bool:
        return self.files_known == self.files

    @property
    def is_recovering(self) -> bool:
        """Something failed, and comes back by itself: a message after its delay, a date after its lock's lease."""
        return self.messages > 0 or self.locks > 0

    @property
    def is_quiet(self) -> bool:
        """No build is under way; messages may be."""
        return not (self.locks or self.manifests_open or self.jobs_finished < self.manifests)

    def is_finished(self, poison: int) -> bool:
        """Every file is known, or its message parked beside the poison, and nothing is under way."""
        parked = self.dead_letters - poison
        return self.is_quiet and not self.messages and parked >= (not self.is_everything_known)


def read_progress(emulator: Emulator, deployment: Deployment, uploads: list[Upload]) -> Progress:
    # The queue is read first: a message that leaves it later is in the table when that is read, or back in the queue.
    messages = count_messages(emulator, deployment.input_queue_url)
    dead_letters = count_messages(emulator, deployment.dead_letter_queue_url)
    latest = {upload.uri: upload.etag for upload in uploads}
    tracked = read_table(emulator, deployment)
    runs = read_runs(emulator, deployment)
    return Progress(
        files=len(latest),
        files_known=sum(latest.get(row.uri) == row.etag for row in tracked.files),
        manifests=len(tracked.manifests),
        jobs_finished=sum(run.state in FINISHED_STATES for run in runs),
        messages=messages,
        dead_letters=dead_letters,
        locks=len(tracked.locks),
        manifests_open=sum(row["status"] == "open" for row in tracked.manifests),
        files_pending=sum(row.status == "pending" for row in tracked.files),
        manifests_started=sum(row["status"] == "started" for row in tracked.manifests),
    )


def longest_recovery_seconds(lock_ttl_seconds: float, retry_delay_seconds: float) -> float:
    """The longest that a healthy workflow stands still after a failure."""
    longest_delay = min(retry_delay_seconds * 2.0 ** (FAILURES - 1), LONGEST_DELAY_SECONDS)
    return max(lock_ttl_seconds, longest_delay) + STALL_SECONDS


def wait(
    emulator: Emulator,
    deployment: Deployment,
    uploads: list[Upload],
    is_done: Callable[[Progress], bool],
    show: Callable[[Progress], None],
    stall_seconds: float = STALL_SECONDS,
    recovery_seconds: float = 0,
) -> Progress:
    """Poll until `is_done`, or nothing has moved for `stall_seconds`: what is left is for the report.

    While something is recovering, `recovery_seconds` is what counts, if it is longer.
    """
    seen: Progress | None = None
    moved_at = time.monotonic()
    while True:
        emulator.check_alive()
        started = time.monotonic()
        progress = read_progress(emulator, deployment, uploads)
        if progress != seen:
            seen, moved_at = progress, time.monotonic()
        show(progress)
        patience = max(stall_seconds, recovery_seconds if progress.is_recovering else 0)
        if is_done(progress) or time.monotonic() - moved_at > patience:
            return progress
        # A large table takes long to read; the workflow needs the emulator's time more than we do.
        time.sleep(max(POLL_SECONDS, PAUSES_PER_READ * (time.monotonic() - started)))
