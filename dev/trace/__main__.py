"""`make trace`: executions of the real definition and functions on a simulated account, as one page to look at.

Exit codes: 0 the page is written, 2 a mistake in the call.
"""

import argparse
import sys
from pathlib import Path

from dev.paths import BUILD
from dev.trace.page import write_page
from dev.trace.tour import trace_event, trace_tour
from toolkit.texts import short_path

PAGE = BUILD / "trace.html"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.trace", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--event", type=Path, metavar="FILE", help="run this event alone (tests/events has some), with the real limits"
    )
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="where to write (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.event and not arguments.event.is_file():
        parser.error(f"there is no file {arguments.event}: name an event, of tests/events say")
    title, executions = trace_event(arguments.event) if arguments.event else trace_tour()
    write_page(arguments.page, title, executions, table_read="Afterwards")
    print(f"open {short_path(arguments.page)} in a browser")
    return 0


if __name__ == "__main__":
    sys.exit(main())
