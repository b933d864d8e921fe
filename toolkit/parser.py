"""Flags: a parser whose errors are UsageErrors, and types of arguments."""

import argparse
from datetime import date
from typing import NoReturn

from toolkit.errors import UsageError


class Parser(argparse.ArgumentParser):
    """Raises UsageError, where argparse would exit."""

    @property
    def remedy(self) -> str:
        return f"{self.prog} --help explains it"

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.remedy})")


def calendar_date(text: str) -> str:
    """The type of an argument: YYYY-MM-DD."""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2025-12-23") from None
