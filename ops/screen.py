"""The output of a command: tables and lines for a person, or one JSON document for a script."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from rich.console import Console

from toolkit.console import make_console
from toolkit.errors import UsageError
from toolkit.texts import printable


class PipedConsole(Console):
    def on_broken_pipe(self) -> NoReturn:
        # Rich would end with exit code 1, which is an answer here.
        raise BrokenPipeError


def _console() -> Console:
    return make_console(PipedConsole)


@dataclass(frozen=True, slots=True)
class Screen:
    """With `as_json`, only the document is written to the standard output."""

    as_json: bool
    yes: bool
    console: Console = field(default_factory=_console)

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Screen":
        return cls(options.json, getattr(options, "yes", False))

    def say(self, text: Any) -> None:
        """Prints a text or a table for a person; nothing with `--json`."""
        if not self.as_json:
            with written():
                self.console.print(printable(text) if isinstance(text, str) else text, soft_wrap=isinstance(text, str))

    def answer(self, document: dict[str, Any]) -> None:
        """Prints the document with `--json`; nothing otherwise."""
        if self.as_json:
            with written():
                print(json.dumps(document, indent=1, ensure_ascii=False), flush=True)

    def warn(self, text: str) -> None:
        """Prints a text for a person on the standard error, since a script may read the standard output."""
        with written():
            print(printable(text), file=sys.stderr)

    def confirm(self, plan: str) -> bool:
        """`ask`, and if the answer is no, it is the command's."""
        if self.ask(plan):
            return True
        self.answer({"done": False, "reason": "not confirmed", "plan": plan})
        return False

    def ask(self, plan: str) -> bool:
        """Says what the command will do, and asks unless `--yes` was given. Raises UsageError without a terminal."""
        self.require_answer(plan)
        self.warn(f"{plan}.")
        if self.yes or self._agreed():
            return True
        self.warn("nothing was done")
        return False

    def require_answer(self, plan: str) -> None:
        """Raises UsageError if nobody can answer: there is neither `--yes` nor a terminal."""
        if not self.yes and (sys.stdin is None or not sys.stdin.isatty()):
            raise UsageError(f"{plan}: there is no terminal to confirm it; add --yes")

    def _agreed(self) -> bool:
        with written():
            print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
        try:
            return sys.stdin.readline().strip().lower() in ("y", "yes")
        except KeyboardInterrupt:
            raise KeyboardInterrupt("nothing was done") from None


@contextmanager
def written() -> Iterator[None]:
    """Turns a failed write into a UsageError. A broken pipe stays one: its reader has ended on purpose."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"the output cannot be written: {error.strerror}") from None
    except UnicodeEncodeError as error:
        raise UsageError(f"the output's encoding, {error.encoding}, cannot spell it: set PYTHONUTF8=1") from None
