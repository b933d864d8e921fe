"""The data of the page: the state machine, and the states, history and outcome of each execution."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dev.trace.history import Event, History, Visit, details, explain, read_history
from dev.trace.machine import Machine
from dev.trace.outcome import Outcome, read_outcome, subject
from toolkit.facts import FileRow, Manifest, short_manifest_names
from toolkit.texts import plural

MAX_EXECUTIONS = 60
SEVERITY = ("run", "stopped", "caught", "failed")
"""Of a state that was visited several times, the worst visit gives its colour."""
PLAIN_OUTCOMES = {"tracked", "duplicate"}


@dataclass(frozen=True, slots=True)
class LogLine:
    at: datetime
    state: str
    level: str
    message: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution with the tracking table as it was after it, or as it was read later."""

    status: str
    events: Sequence[Event]
    files: Sequence[FileRow]
    manifests: Sequence[Manifest]
    title: str = ""
    """If empty, the page names the execution by its outcome."""
    note: str = ""
    log: Mapping[str, Sequence[LogLine]] = field(default_factory=dict)
    """By run."""
    state_of_resource: Mapping[str, str] = field(default_factory=dict)
    """For engines that report calls instead of states."""


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    execution: Execution
    history: History
    outcome: Outcome

    @property
    def is_plain(self) -> bool:
        """Nothing but files that were made pending, or were so already."""
        outcomes = {file.outcome for file in self.outcome.files}
        is_special = self.outcome.manifests or self.outcome.rejected or outcomes - PLAIN_OUTCOMES
        return self.execution.status == "SUCCEEDED" and not is_special


def page_data(title: str, executions: Iterable[Execution], table_read: str) -> dict[str, Any]:
    """Leaves out the executions with the least content if there are too many for a page."""
    machine = Machine.load()
    readings = [_read(execution, machine) for execution in executions]
    creators: dict[str, _Reading] = {}
    for reading in readings:
        for manifest in reading.outcome.manifests:
            creators.setdefault(manifest.path, reading)
    most_telling = sorted(readings, key=lambda reading: reading.is_plain)[:MAX_EXECUTIONS]
    texts = _Texts()
    return {
        "title": title,
        "madeAt": datetime.now(UTC).isoformat(timespec="seconds"),
        "tableRead": table_read,
        "machine": _machine(machine),
        "executions": [
            _execution(reading, machine, texts, creators) for reading in readings if reading in most_telling
        ],
        "leftOut": len(readings) - len(most_telling),
        "texts": texts.all,
    }


def _read(execution: Execution, machine: Machine) -> _Reading:
    with_catch = {edge.source for edge in machine.all_edges() if edge.is_catch}
    history = read_history(execution.events, execution.state_of_resource, with_catch)
    outcome = read_outcome(history, execution.files, execution.manifests, execution.status == "SUCCEEDED")
    return _Reading(execution, history, outcome)


class _Texts:
    """Each text once: the output of a state is the input of the next."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    @property
    def all(self) -> list[str]:
        return list(self._numbers)

    def number(self, text: str | None) -> int | None:
        return None if text is None else self._numbers.setdefault(text, len(self._numbers))


def _machine(machine: Machine) -> dict[str, Any]:
    return {
        "start": machine.start,
        "states": [
            {
                "name": state.name,
                "kind": state.kind,
                "comment": state.comment,
                "inside": _machine(state.inside) if state.inside else None,
            }
            for state in machine.states
        ],
        "edges": [
            {"from": edge.source, "to": edge.target, "label": edge.label, "isCatch": edge.is_catch}
            for edge in machine.edges
        ],
    }


def _execution(reading: _Reading, machine: Machine, texts: _Texts, creators: Mapping[str, _Reading]) -> dict[str, Any]:
    execution, history, outcome = reading.execution, reading.history, reading.outcome
    names = short_manifest_names(list(execution.manifests))
    started = history.own_events[0]["timestamp"]
    last = details(history.own_events[-1])
    entries = _Entries(started, texts)
    return {
        "title": execution.title or _title(outcome),
        "note": execution.note,
        "status": execution.status,
        "error": explain(last["error"], last.get("cause")) if "error" in last else None,
        "startedAt": started.isoformat(timespec="milliseconds"),
        "seconds": entries.seconds(max(event["timestamp"] for event in execution.events)),
        "messagesBack": outcome.messages_back,
        "rejected": outcome.rejected,
        "locksTaken": outcome.locks_taken,
        "locksReleased": outcome.locks_released,
        "states": _states(history) | _untold(machine, history, outcome),
        "edges": _edges(history),
        "entries": entries.all(history, execution.log.get(outcome.run_id or "", ())),
        "files": list(_files(outcome, names)),
        "manifests": [
            {**manifest, "isResumed": creators[manifest["path"]] is not reading}
            for manifest in _manifests(outcome, names)
        ],
    }


def _title(outcome: Outcome) -> str:
    counts = {
        "file": len(outcome.files),
        "manifest": len(outcome.manifests),
        "rejected message": len(outcome.rejected),
    }
    return ", ".join(plural(number, noun) for noun, number in counts.items() if number) or "nothing to do"


def _states(history: History) -> dict[str, dict[str, Any]]:
    """For each visited state: the number of visits, and how they ended."""
    visits: defaultdict[str, list[Visit]] = defaultdict(list)
    for visit in history.visits:
        visits[visit.state].append(visit)
    return {
        name: {
            "status": max((visit.status for visit in of_state), key=SEVERITY.index),
            "visits": len(of_state),
            "ends": Counter(visit.status for visit in of_state),
            "retries": sum(visit.retries for visit in of_state),
            "items": sum(details(event).get("length", 0) for visit in of_state for event in visit.events),
        }
        for name, of_state in visits.items()
    }


def _untold(machine: Machine, history: History, outcome: Outcome) -> dict[str, dict[str, Any]]:
    """States in a Map with items that call nothing, where the engine tells of no states in it, but of calls."""
    if history.is_whole or not outcome.dates:
        return {}
    visited = {visit.state for visit in history.visits}
    return {
        inner.name: {"status": "untold", "visits": 0}
        for state in machine.states
        if state.inside and state.name in visited
        for inner in state.inside.all_states()
        if inner.kind not in ("function", "service")
    }


def _edges(history: History) -> list[dict[str, Any]]:
    """The ways that were taken."""
    taken = {
        (visit.came_from.state, visit.state, visit.came_from.status == "caught")
        for visit in history.visits
        if visit.came_from
    }
    return [{"from": source, "to": target, "isCatch": is_catch} for source, target, is_catch in sorted(taken)]


@dataclass(frozen=True, slots=True)
class _Entries:
    """The entries of the history panel."""

    started: datetime
    texts: _Texts

    def all(self, history: History, log: Sequence[LogLine]) -> list[dict[str, Any]]:
        """In the order of time."""
        entries = [self._of_visit(visit) for visit in history.visits]
        entries += [self._of_execution(event) for event in history.own_events]
        entries += [self._of_log(line) for line in log]
        return sorted(entries, key=lambda entry: (entry["at"], entry["order"]))

    def seconds(self, moment: datetime) -> float:
        return round((moment - self.started).total_seconds(), 6)

    def _of_visit(self, visit: Visit) -> dict[str, Any]:
        entered, exited = visit.entered_at, visit.exited_at
        return {
            "kind": "call" if visit.is_call else "visit",
            "order": visit.events[0]["id"],
            "state": visit.state,
            "status": visit.status,
            "subject": subject(visit),
            "error": visit.error,
            "retries": visit.retries,
            "at": self.seconds(entered),
            "seconds": (exited - entered).total_seconds() if exited else None,
            "input": self.texts.number(visit.input),
            "output": self.texts.number(visit.output),
            "events": [self._event(event) for event in visit.events],
        }

    def _event(self, event: Event) -> dict[str, Any]:
        """Input and output of the state are the entry's; those of its task are the event's."""
        found = {} if "StateE" in event["type"] else details(event)
        data = next((found[name] for name in ("input", "parameters", "output", "cause") if name in found), None)
        at = self.seconds(event["timestamp"])
        return {"id": event["id"], "type": event["type"], "at": at, "data": self.texts.number(data)}

    def _of_execution(self, event: Event) -> dict[str, Any]:
        found = details(event)
        return {
            "kind": "execution",
            "order": event["id"],
            "status": "failed" if "error" in found else "run",
            "message": event["type"],
            "error": explain(found["error"], found.get("cause")) if "error" in found else None,
            "at": self.seconds(event["timestamp"]),
            "input": self.texts.number(found.get("input")),
            "output": self.texts.number(found.get("output")),
            "events": [],
        }

    def _of_log(self, line: LogLine) -> dict[str, Any]:
        said = (line.message.removeprefix(f"{line.state} "), line.fields.get("outcome"))
        return {
            "kind": "log",
            "order": 0,
            "state": line.state,
            "status": "run",
            "message": f"{line.level.lower()}: {', '.join(filter(None, said))}",
            "subject": line.fields.get("file_path", line.fields.get("date_prefix")),
            "at": self.seconds(line.at),
            "output": self.texts.number(json.dumps(line.fields)),
            "events": [],
        }


def _files(outcome: Outcome, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for file in outcome.files:
        manifest_path = file.row.manifest_path if file.row else None
        yield {
            "uri": file.uri,
            "version": file.row.version_id if file.row else None,
            "size": file.size_bytes,
            "outcome": file.outcome,
            "why": file.why,
            "status": file.row.status if file.row else "not in the table",
            "manifest": names.get(manifest_path, manifest_path) if manifest_path else None,
            "manifestPath": manifest_path,
        }


def _manifests(outcome: Outcome, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for each in outcome.manifests:
        yield {
            "name": names.get(each.path, "?"),
            "path": each.path,
            "size": each.size_bytes,
            "fileCount": each.file_count,
            "jobRunId": each.manifest.job_run_id if each.manifest else None,
            "versions": (each.manifest and each.manifest.versions) or [],
        }
