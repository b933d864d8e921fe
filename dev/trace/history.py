"""An execution's history, event by event as GetExecutionHistory gives it, read as visits of states."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Event = Mapping[str, Any]
Status = Literal["run", "caught", "failed", "stopped"]
FAILURES = ("Failed", "TimedOut")


@dataclass(slots=True)
class Visit:
    """One time that a state was entered.

    A `call` is less: the engine told of no state, only of the answer to the call of a function or a service.
    """

    state: str
    events: list[Event]
    came_from: "Visit | None" = None
    is_call: bool = False
    is_caught: bool = False
    """For a call: its state has a Catch. Whether it caught anything is told of a state only."""

    @property
    def entered_at(self) -> datetime:
        return _moment(self.events[0])

    @property
    def exited_at(self) -> datetime | None:
        return None if self.is_call or self.exit is None else _moment(self.exit)

    @property
    def exit(self) -> Event | None:
        return next((event for event in reversed(self.events) if "stateExitedEventDetails" in event), None)

    @property
    def failure(self) -> Event | None:
        """The error of the last attempt, if it failed."""
        failure = None
        for event in self.events:
            if event["type"].endswith(FAILURES) and not event["type"].startswith("MapIteration"):
                failure = event
            elif event["type"].endswith(("Scheduled", "Succeeded")):
                failure = None
        return failure

    @property
    def status(self) -> Status:
        if self.events[0]["type"] == "FailStateEntered":
            return "failed"
        if self.failure:
            return "caught" if self.exit or self.is_caught else "failed"
        return "run" if self.exit or self.is_call else "stopped"

    @property
    def retries(self) -> int:
        return max(0, len([event for event in self.events if event["type"].endswith("Scheduled")]) - 1)

    @property
    def error(self) -> str | None:
        """Name and message of the error in one line."""
        found = details(self.failure) if self.failure else {}
        return explain(found["error"], found.get("cause")) if "error" in found else None

    @property
    def input(self) -> str | None:
        """JSON; of a call it is not known."""
        return details(self.events[0]).get("input")

    @property
    def output(self) -> str | None:
        """JSON of the state's output; of a call, of its answer."""
        last = self.events[0] if self.is_call else self.exit
        return details(last).get("output") if last else None


@dataclass(slots=True)
class History:
    """`is_whole` is False where the engine told of calls inside Maps and Parallels, and not of states."""

    visits: list[Visit]
    own_events: list[Event] = field(default_factory=list)
    """The execution's own: its start and its end."""
    is_whole: bool = True


def read_history(
    events: Sequence[Event], state_of_resource: Mapping[str, str], states_with_catch: Collection[str]
) -> History:
    """Read events in their order. Those of some engines do not say which event each one follows."""
    if all("previousEventId" in event for event in events):
        return _read_tree(events)
    return _read_line(events, state_of_resource, states_with_catch)


def _read_tree(events: Sequence[Event]) -> History:
    """Each event names the one before it: what is open after that one is where this one happens."""
    history = History([])
    after: dict[int, tuple[Visit, ...]] = {0: ()}
    """The open visits after an event, from the outermost to the innermost."""
    left: dict[int, Visit] = {}
    for event in sorted(events, key=lambda event: event["id"]):
        previous, kind = event["previousEventId"], event["type"]
        place = after[previous]
        if kind.startswith("Execution"):
            history.own_events.append(event)
        elif kind.endswith("StateEntered"):
            place = (*place, Visit(details(event)["name"], [event], came_from=left.get(previous)))
            history.visits.append(place[-1])
        else:
            # An error ends a state without ending the states inside it.
            while not _belongs_to(event, place[-1]):
                place = place[:-1]
            place[-1].events.append(event)
            if kind.endswith("StateExited"):
                left[event["id"]] = place[-1]
                place = place[:-1]
        after[event["id"]] = place
    return history


def _belongs_to(event: Event, visit: Visit) -> bool:
    kind = event["type"]
    if kind.endswith("StateExited") or kind.startswith("MapIteration"):
        return bool(details(event)["name"] == visit.state)
    if kind.startswith(("MapState", "ParallelState")):
        return bool(visit.events[0]["type"] == kind[: kind.index("State")] + "StateEntered")
    return True


def _read_line(
    events: Sequence[Event], state_of_resource: Mapping[str, str], states_with_catch: Collection[str]
) -> History:
    """States of the top level one after the other, with calls of what is inside them in between."""
    history = History([], is_whole=False)
    current: Visit | None = None
    for event in events:
        found = details(event)
        inner = state_of_resource.get(found.get("resource", ""))
        if "stateEnteredEventDetails" in event:
            current = Visit(found["name"], [event], came_from=current)
            history.visits.append(current)
        elif event["type"].startswith("Execution") or current is None:
            history.own_events.append(event)
        elif inner in (None, current.state):
            current.events.append(event)
        elif not event["type"].endswith("Scheduled"):
            history.visits.append(Visit(inner, [event], is_call=True, is_caught=inner in states_with_catch))
    return history


def details(event: Event) -> Mapping[str, Any]:
    """The details of an event, without its type and time."""
    return next((value for name, value in event.items() if name.endswith("EventDetails")), {})


def explain(error: str, cause: str | None) -> str:
    """The message of a function's error: its cause is JSON with the message and a stack trace."""
    try:
        message = json.loads(cause or "")["errorMessage"]
    except (ValueError, TypeError, KeyError):
        message = cause
    return f"{error}: {message}" if message else error


def _moment(event: Event) -> datetime:
    moment: datetime = event["timestamp"]
    return moment
