"""Puts the pending files of a date into manifests now, before the oldest reaches the flush age.

Waits until they are, and says so; --no-wait leaves at once. Refused while another run holds the date's lock: the
execution would find the lock held, and end. If another run takes it in between, the command says that nothing was done.
"""

import argparse
import time
from collections.abc import Collection
from dataclasses import asdict

from manifest_builder import clock
from manifest_builder.batching import PendingFile
from manifest_builder.tracking.pending import pending_files
from ops import machine, shell
from ops.screen import Screen
from ops.stack import Stack
from ops.status import describe_lock, read_lock
from toolkit.parser import calendar_date
from toolkit.texts import plural, size

EXAMPLES = ("flush 2025-12-23", "flush 2025-12-23 --yes")
NOT_FLUSHED = 1
LONGEST_WAIT_SECONDS = 140
"""An execution ends after 120 s, and may have to wait for its functions to start."""
POLL_SECONDS = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("date", type=calendar_date, metavar="DATE")
    parser.add_argument("--no-wait", action="store_true", help="do not wait for the manifests")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(stack: Stack, options: argparse.Namespace, screen: Screen) -> int:
    pending = list(pending_files(options.date))
    total_bytes = sum(file.size_bytes for file in pending)
    lock = read_lock(options.date) if pending else None
    is_held = lock is not None and not lock.is_over
    execution, left = None, len(pending)
    if pending and not is_held:
        if not screen.confirm(
            f"Puts {plural(len(pending), 'pending file')} of {options.date} ({size(total_bytes)}) into manifests now"
        ):
            return NOT_FLUSHED
        # The clock here may be behind those of the functions that wrote the rows.
        flush_before = max(clock.to_text(clock.now()), *(file.pending_since for file in pending))
        execution = machine.start(stack, options.date, flush_before=flush_before)
        if not options.no_wait:
            try:
                left = wait_until_flushed(options.date, pending, screen)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"stopped waiting; the execution goes on: {execution}") from None
    screen.answer(
        {
            "stack": stack.name,
            "date": options.date,
            "pending_files": len(pending),
            "pending_bytes": total_bytes,
            "lock": asdict(lock) if lock else None,
            "execution": execution,
            "left": left,
        }
    )
    if is_held:
        screen.say(f"not flushed: the lock of {options.date} is {describe_lock(lock)}: try again then")
        return NOT_FLUSHED
    if execution is None:
        screen.say(f"nothing of {options.date} is pending")
        return 0
    if options.no_wait:
        screen.say(f"started: {execution}")
    elif left:
        screen.say(
            f"not flushed: {left:,} of {plural(len(pending), 'file')} still pending; the lock of "
            f"{options.date} is {describe_lock(read_lock(options.date))}"
        )
    else:
        screen.say(f"flushed: {plural(len(pending), 'file')}")
    screen.say(f"see: {shell.command(stack, 'status', options.date)}")
    return NOT_FLUSHED if left and not options.no_wait else 0


def wait_until_flushed(date_prefix: str, files: Collection[PendingFile], screen: Screen) -> int:
    """Waits until none of these files is pending any more; returns how many still are when the execution has ended."""
    screen.warn(f"Waiting for the execution, {LONGEST_WAIT_SECONDS} s at most.")
    wanted = {(file.file_path, file.pending_since) for file in files}
    for _ in range(0, LONGEST_WAIT_SECONDS, POLL_SECONDS):
        time.sleep(POLL_SECONDS)
        pending = {(file.file_path, file.pending_since) for file in pending_files(date_prefix)}
        if not wanted & pending:
            return 0
    return len(wanted & pending)
