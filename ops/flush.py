"""Puts the pending files of a date into manifests now, before the oldest reaches the flush age.

Refused while another run holds the date's lock: the execution would find the lock held, and end.
"""

import argparse
from dataclasses import asdict

from manifest_builder import clock
from manifest_builder.tracking.pending import pending_files
from ops import machine, shell
from ops.screen import Screen
from ops.stack import Stack
from ops.status import describe_lock, read_lock
from toolkit.parser import calendar_date
from toolkit.texts import plural, size

EXAMPLES = ("flush 2025-12-23", "flush 2025-12-23 --yes")
NOT_FLUSHED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("date", type=calendar_date, metavar="DATE")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(stack: Stack, options: argparse.Namespace, screen: Screen) -> int:
    pending = list(pending_files(options.date))
    total_bytes = sum(file.size_bytes for file in pending)
    lock = read_lock(options.date) if pending else None
    is_held = lock is not None and not lock.is_over
    execution = None
    if pending and not is_held:
        if not screen.confirm(
            f"Puts {plural(len(pending), 'pending file')} of {options.date} ({size(total_bytes)}) into manifests now"
        ):
            return NOT_FLUSHED
        execution = machine.start(stack, options.date, flush_before=clock.to_text(clock.now()))
    screen.answer(
        {
            "stack": stack.name,
            "date": options.date,
            "pending_files": len(pending),
            "pending_bytes": total_bytes,
            "lock": asdict(lock) if lock else None,
            "execution": execution,
        }
    )
    if is_held:
        screen.say(f"not flushed: the lock of {options.date} is {describe_lock(lock)}: try again then")
        return NOT_FLUSHED
    if execution is None:
        screen.say(f"nothing of {options.date} is pending")
        return 0
    screen.say(f"started: {execution}")
    screen.say(f"see: {shell.command(stack, 'status', options.date)}")
    return 0
