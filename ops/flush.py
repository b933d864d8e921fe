"""The pending files of a date go into manifests now, instead of when the oldest has reached the flush age."""

import argparse

from local.report import plural, size
from manifest_builder import clock, tracking
from ops import machine
from ops.keys import calendar_date
from ops.screen import Screen
from ops.stack import Stack

EXAMPLES = ("flush 2025-12-23", "flush 2025-12-23 --yes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("date", type=calendar_date, metavar="DATE")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(stack: Stack, options: argparse.Namespace, screen: Screen) -> int:
    pending = list(tracking.pending_files(options.date))
    total_bytes = sum(file.size_bytes for file in pending)
    execution = None
    if pending:
        if not screen.confirm(
            f"Puts {plural(len(pending), 'pending file')} of {options.date} ({size(total_bytes)}) into manifests now"
        ):
            return 1
        execution = machine.start(stack, execution_input(options.date))
    screen.answer(
        {
            "stack": stack.name,
            "date": options.date,
            "pending_files": len(pending),
            "pending_bytes": total_bytes,
            "execution": execution,
        }
    )
    screen.say(f"started: {execution}" if execution else f"nothing of {options.date} is pending")
    return 0


def execution_input(date_prefix: str) -> dict[str, object]:
    """What FindStalledDates would say if this date's files had reached the flush age now."""
    return {
        "sweep": False,
        "dates": [{"date_prefix": date_prefix, "files": [], "flush_before": clock.to_text(clock.now())}],
        "job_runs": [],
        "rejected": [],
        "ignored": 0,
    }
