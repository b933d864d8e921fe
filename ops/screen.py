"""What a command says: tables and lines for a person, or one JSON document for a script."""

import argparse
import json
import sys
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from local.errors import UsageError
from local.report import make_console


@dataclass(frozen=True, slots=True)
class Screen:
    """With `as_json` nothing but the document is written to the standard output."""

    as_json: bool
    yes: bool
    console: Console = field(default_factory=make_console)

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Screen":
        return cls(options.json, getattr(options, "yes", False))

    def say(self, text: Any) -> None:
        """For a person only."""
        if not self.as_json:
            self.console.print(text, soft_wrap=isinstance(text, str))

    def answer(self, document: dict[str, Any]) -> None:
        """For a script only."""
        if self.as_json:
            print(json.dumps(document, indent=1, ensure_ascii=False))

    def confirm(self, plan: str) -> bool:
        """Say what is about to be done, and ask unless `--yes` was given. Raises UsageError where nobody can answer."""
        if not self.yes and not sys.stdin.isatty():
            raise UsageError(f"{plan}: nobody is there to confirm it; add --yes")
        # The standard output may be a script's.
        print(f"{plan}.", file=sys.stderr)
        if self.yes:
            return True
        print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
        agreed = sys.stdin.readline().strip().lower() in ("y", "yes")
        if not agreed:
            print("nothing was done", file=sys.stderr)
        return agreed
