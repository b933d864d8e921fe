"""The steps of a long command on the screen."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.status import Status

QUIET_SECONDS = 20
"""Without news before the screen says so."""


class Steps:
    """Prints one line per step: its result and its duration."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.started = time.monotonic()

    @contextmanager
    def step(self, doing: str) -> Iterator["Step"]:
        started = time.monotonic()
        with self.console.status(f"{doing} ...") as status:
            step = Step(doing, status)
            yield step
        mark = "[green]✓[/]" if step.went_well else "[red]✗[/]"
        seconds = time.monotonic() - started
        room = min(66, self.console.width - 39)
        self.console.print(f"{mark} {step.done:<26} [dim]{step.detail:<{room}}[/] {seconds:5.1f} s", soft_wrap=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class Step:
    def __init__(self, doing: str, status: Status) -> None:
        self.doing = doing
        self.status = status
        self.done = doing
        self.detail = ""
        self.went_well = True
        self._seen: object = None
        self._moved_at = time.monotonic()

    def end(self, done: str, detail: str = "", *, went_well: bool = True) -> None:
        self.done, self.detail, self.went_well = done, escape(detail), went_well

    def show(self, news: object) -> None:
        """Show the news as text beside the step; news that equal the last ones are no news."""
        if news != self._seen:
            self._seen, self._moved_at = news, time.monotonic()
        still = time.monotonic() - self._moved_at
        waiting = f"; nothing new for {still:.0f} s" if still >= QUIET_SECONDS else ""
        self.status.update(f"{self.doing}: {news}{waiting}")
