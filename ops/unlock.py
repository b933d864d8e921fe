"""Shows who holds a lock and when it expires. Locks expire on their own, so nothing has to be unlocked."""

import argparse
from dataclasses import asdict

from ops.screen import Screen
from ops.stack import Stack
from ops.status import dates_with_work, describe_lock, read_lock
from toolkit.parser import calendar_date

EXAMPLES = ("unlock 2025-12-23", "unlock")
WHY = (
    "nothing to unlock: a lock is a lease. Any run may take the date once it is over, and a run that outlives its "
    "lease can commit nothing."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("date", nargs="?", type=calendar_date, metavar="DATE", help="else every unfinished date")


def run(stack: Stack, options: argparse.Namespace, screen: Screen) -> int:
    dates = [options.date] if options.date else sorted(dates_with_work())
    locks = {date_prefix: read_lock(date_prefix) for date_prefix in dates}
    screen.answer(
        {
            "stack": stack.name,
            "locks": [{"date": date, "lock": asdict(lock) if lock else None} for date, lock in locks.items()],
        }
    )
    screen.say(WHY)
    for date_prefix, lock in locks.items():
        screen.say(f"{date_prefix}  {describe_lock(lock)}")
    return 0
