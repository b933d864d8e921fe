"""`python -m dev.faults`: the sweep. Its command is imported when a signal can end it: the import takes seconds."""

import sys

from toolkit.ending import end_when_told, exit_code_of


def main() -> int:
    from dev.faults.command import main

    return main()


if __name__ == "__main__":
    end_when_told()
    sys.exit(exit_code_of(main))
