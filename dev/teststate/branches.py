"""The branches of a definition's states: success, each error of a Catch, each rule of a Choice and its default."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dev.template import all_states

SUCCESS, DEFAULT, FAILURE = "success", "default", "failure"
UNFORESEEN_ERROR = "Unforeseen.Error"
"""Stands for any error where a Catch says States.ALL. No Retry names it."""


@dataclass(frozen=True)
class Branch:
    """One way out of a state. `next` is None where the state ends its machine."""

    state: str
    name: str
    next: str | None
    error: str | None = None
    """The error that a Catch handles on this branch."""
    error_path: str | None = None
    """The field of the output that holds the caught error."""

    def __str__(self) -> str:
        return f"{self.state}, {self.name}"


def rule(number: int) -> str:
    """The name of a Choice's branch; the first rule has the number 1."""
    return f"rule {number}"


def branches(machine: Mapping[str, Any]) -> list[Branch]:
    """The branches of all states, those inside of Map and Parallel states too."""
    return [branch for name, state in all_states(dict(machine)).items() for branch in _branches_of(name, state)]


def _branches_of(name: str, state: Mapping[str, Any]) -> Iterator[Branch]:
    match state["Type"]:
        case "Choice":
            for number, choice in enumerate(state["Choices"], start=1):
                yield Branch(name, rule(number), choice["Next"])
            if "Default" in state:
                yield Branch(name, DEFAULT, state["Default"])
        case "Fail":
            yield Branch(name, FAILURE, None, state["Error"])
        case _:
            yield Branch(name, SUCCESS, state.get("Next"))
            for catcher in state.get("Catch", []):
                path = catcher["ResultPath"].removeprefix("$.")
                for error in catcher["ErrorEquals"]:
                    error_name = UNFORESEEN_ERROR if error == "States.ALL" else error
                    yield Branch(name, f"catch {error}", catcher["Next"], error_name, path)
