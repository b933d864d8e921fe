"""The state machine for drawing: states, transitions, and the states inside Maps and the Parallel."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Self

from dev.paths import DEFINITION

Kind = Literal["function", "service", "choice", "pass", "succeed", "fail", "map", "parallel"]


@dataclass(frozen=True, slots=True)
class Edge:
    """A transition. `label` is its condition; it is empty if it is the only transition besides those on errors."""

    source: str
    target: str
    label: str = ""
    is_catch: bool = False


@dataclass(frozen=True, slots=True)
class State:
    name: str
    kind: Kind
    inside: "Machine | None"
    comment: str


@dataclass(frozen=True, slots=True)
class Machine:
    start: str
    states: tuple[State, ...]
    edges: tuple[Edge, ...]

    @classmethod
    def load(cls) -> Self:
        """The machine of this repository."""
        return cls.read(json.loads(DEFINITION.read_text()))

    @classmethod
    def read(cls, definition: dict[str, Any]) -> Self:
        states = definition["States"].items()
        return cls(
            start=definition["StartAt"],
            states=tuple(State(name, _kind(state), _inside(state), state.get("Comment", "")) for name, state in states),
            edges=tuple(edge for name, state in states for edge in _edges(name, state)),
        )

    def all_states(self) -> Iterator[State]:
        """Those inside Maps and the Parallel too, each after the state around it."""
        for state in self.states:
            yield state
            if state.inside:
                yield from state.inside.all_states()

    def all_edges(self) -> Iterator[Edge]:
        yield from self.edges
        for state in self.states:
            if state.inside:
                yield from state.inside.all_edges()


def _inside(state: dict[str, Any]) -> Machine | None:
    inside = state.get("Iterator") or next(iter(state.get("Branches", [])), None)
    return Machine.read(inside) if inside else None


def _kind(state: dict[str, Any]) -> Kind:
    if state["Type"] == "Task":
        return "function" if state["Resource"].endswith("FunctionArn}") else "service"
    kind: Kind = state["Type"].lower()
    return kind


def _edges(name: str, state: dict[str, Any]) -> Iterator[Edge]:
    for branch in state.get("Choices", []):
        yield Edge(name, branch["Next"], _condition(branch))
    if "Default" in state:
        yield Edge(name, state["Default"], "else")
    if "Next" in state:
        yield Edge(name, state["Next"])
    for catcher in state.get("Catch", []):
        label = "error" if catcher["ErrorEquals"] == ["States.ALL"] else "busy"
        yield Edge(name, catcher["Next"], label, is_catch=True)


def _condition(branch: dict[str, Any]) -> str:
    rule = branch["And"][-1] if "And" in branch else branch
    field = rule["Variable"].rpartition(".")[2]
    if "NumericGreaterThan" in rule:
        return f"{field} > {rule['NumericGreaterThan']}"
    return f"not {field}" if rule.get("BooleanEquals") is False else str(field)
