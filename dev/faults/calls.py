"""The calls of a scenario, and the faults that can strike them."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal

Source = Literal["function", "integration", "invocation", "trigger"]


class Kind(StrEnum):
    """The kind of a fault. The values are the words of the report."""

    FAILS = "fails before effect"
    LOST = "done, answer lost"
    THROTTLED = "throttled"
    KILLED_BEFORE = "function killed before"
    KILLED_AFTER = "function killed after"
    TIMES_OUT = "function times out"
    ABORTED = "execution aborted"
    CONFLICT = "transaction conflict"
    ZOMBIE_AFTER_RETRY = "given up, lands after the retry"
    ZOMBIE_AFTER_RELEASE = "given up, lands after the release"
    ZOMBIE_AFTER_NEXT_HOLDER = "given up, lands after the next holder's step"
    ZOMBIE_AT_THE_END = "given up, lands when all is settled"
    LATE_RUNS = "Glue does not know the run yet"
    CLOCK_AHEAD = "from here on its clock is 5 minutes ahead"
    CLOCK_BEHIND = "from here on its clock is 5 minutes behind"
    PREEMPTED = "stopped while a rival runs to its end"
    PREEMPTED_PAST_LEASE = "stopped past its lease while a rival runs"


ZOMBIES = {
    Kind.ZOMBIE_AFTER_RETRY,
    Kind.ZOMBIE_AFTER_RELEASE,
    Kind.ZOMBIE_AFTER_NEXT_HOLDER,
    Kind.ZOMBIE_AT_THE_END,
}
SKEW = timedelta(minutes=5)
SKEWS = {Kind.CLOCK_AHEAD: SKEW, Kind.CLOCK_BEHIND: -SKEW}
PREEMPTIONS = {Kind.PREEMPTED, Kind.PREEMPTED_PAST_LEASE}
READS = {"Query", "Scan", "GetItem", "GetObject", "HeadObject", "GetJobRuns", "GetJobRun"}
CONFLICTING = {"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"}


@dataclass(frozen=True)
class Call:
    """The `number`th call of a scenario; attempts of the SDK to make it are one call."""

    number: int
    source: Source
    service: str
    operation: str

    def __str__(self) -> str:
        return f"call {self.number}: {self.service} {self.operation} by {self.source}"

    def suffers(self, kind: Kind) -> bool:
        """Whether the kind means anything for this call."""
        inside = self.source != "trigger"
        meaning = {
            Kind.KILLED_BEFORE: self.source != "integration",
            Kind.KILLED_AFTER: self.source != "integration",
            Kind.TIMES_OUT: inside,
            Kind.ABORTED: inside,
            Kind.CONFLICT: self.service == "dynamodb" and self.operation in CONFLICTING,
            Kind.CLOCK_AHEAD: self.source == "invocation",
            Kind.CLOCK_BEHIND: self.source == "invocation",
            Kind.LATE_RUNS: self.operation in ("GetJobRuns", "GetJobRun"),
        }
        meaning |= dict.fromkeys(PREEMPTIONS, inside)
        meaning |= dict.fromkeys(ZOMBIES, inside and self.operation not in READS)
        return meaning.get(kind, True)

    def lasts(self, kind: Kind) -> bool:
        """Whether it makes a difference if all attempts suffer."""
        once = {Kind.KILLED_BEFORE, Kind.KILLED_AFTER, Kind.TIMES_OUT, Kind.ABORTED}
        return kind not in once | PREEMPTIONS | SKEWS.keys() | (ZOMBIES if self.source == "invocation" else set())


@dataclass(frozen=True)
class Fault:
    """A fault of one call: of its first attempt, or of all attempts of the SDK or of the state's Retry."""

    call: int
    kind: Kind
    lasting: bool = False

    def __str__(self) -> str:
        return f"call {self.call} {self.kind}{', every attempt' if self.lasting else ''}"


class Killed(BaseException):
    """The function's process is gone: no handler, no answer. (A BaseException passes `except Exception`.)"""


class TimedOut(BaseException):
    """The function did not answer before its timeout; its effects stay."""
