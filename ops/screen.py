"""What a command says: tables and lines for a person, or one JSON document for a script."""

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
    """With `as_json` nothing but the document is written to the standard output."""

    as_json: bool
    yes: bool
    console: Console = field(default_factory=_console)

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Screen":
        return cls(options.json, getattr(options, "yes", False))

    def say(self, text: Any) -> None:
        """For a person only."""
        if not self.as_json:
            with written():
                self.console.print(printable(text) if isinstance(text, str) else text, soft_wrap=isinstance(text, str))

    def answer(self, document: dict[str, Any]) -> None:
        """For a script only."""
        if self.as_json:
            with written():
                print(json.dumps(document, indent=1, ensure_ascii=False), flush=True)

    def warn(self, text: str) -> None:
        """For a person, where the standard output is a script's."""
        with written():
            print(printable(text), file=sys.stderr)

    def confirm(self, plan: str) -> bool:
        """Say what is about to be done, and ask unless `--yes` was given. Raises UsageError where nobody can answer."""
        if not self.yes and (sys.stdin is None or not sys.stdin.isatty()):
            raise UsageError(f"{plan}: nobody is there to confirm it; add --yes")
        self.warn(f"{plan}.")
        if self.yes:
            return True
        if self._agreed():
            return True
        self.warn("nothing was done")
        self.answer({"done": False, "reason": "not confirmed", "plan": plan})
        return False

    def _agreed(self) -> bool:
        with written():
            print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
        try:
            return sys.stdin.readline().strip().lower() in ("y", "yes")
        except KeyboardInterrupt:
            raise KeyboardInterrupt("nothing was done") from None


@contextmanager
def written() -> Iterator[None]:
    """What cannot be written is the user's to mend; but a reader who has gone knows it himself."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"the output cannot be written: {error.strerror}") from None
    except UnicodeEncodeError as error:
        raise UsageError(f"the output's encoding, {error.encoding}, cannot spell it: set PYTHONUTF8=1") from None
