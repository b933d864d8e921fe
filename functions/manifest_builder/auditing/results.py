"""What an audit says of the files of a date. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from manifest_builder import manifests

State = Literal[
    "pending",
    "running",
    "succeeded",
    "failed",
    "quarantined",
    "deleted",
    "expired",
    "young",
    "other",
    "contradicted",
    "missing",
]
"""What became of one version of a file:

pending       waits for a manifest
running       in a manifest whose job has not ended, or waits to be started
succeeded     in a manifest whose run succeeded
failed        in a manifest whose run failed: it waits for an operator
quarantined   refused
deleted       removed before a manifest named it
expired       older than RetentionDays and in no row: its row may have expired
young         not in the table yet, and written, or replaced, too short a time ago to say more
other         no data file: an empty object that stands for a folder
contradicted  its row names a manifest that does not exist, or does not name the file
missing       in the bucket, and neither in the table nor in a manifest
"""
BAD: tuple[State, ...] = ("failed", "contradicted", "missing")

OUTCOMES: dict[manifests.Status, State] = {
    "open": "running",
    "started": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    # Its files are given back.
    "void": "pending",
}
MOST_PROBLEMS = 1000
"""So many problems of a date are told in words. All are counted."""


@dataclass(slots=True)
class DateAudit:
    """The audit of one date. In a bucket with versions, each version that the table knows counts."""

    date: str
    states: Counter[State] = field(default_factory=Counter)
    oldest_pending: str | None = None
    manifests: int = 0
    litter: int = 0
    """Manifest objects that were never committed. Nothing reads them."""
    failed_manifests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What contradicts itself, the first MOST_PROBLEMS."""
    problem_count: int = 0

    @property
    def files(self) -> int:
        return self.states.total()

    @property
    def is_complete(self) -> bool:
        return not self.problem_count and not any(self.states[state] for state in BAD)

    def add_problem(self, what: str) -> None:
        self.problem_count += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(what)
