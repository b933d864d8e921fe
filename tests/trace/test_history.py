"""Histories as visits of states, from engines with and without `previousEventId`."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from dev.trace.data import Execution
from dev.trace.history import Event, History, Visit, read_history
from tests.trace.emulated import STATE_OF_RESOURCE, told

START = datetime(2025, 12, 23, 12, tzinfo=UTC)


def tree(*events: tuple[int, str] | tuple[int, str, dict[str, Any]]) -> History:
    """A history of events, numbered from 1: previous event, type, details."""
    read: list[Event] = [
        {
            "id": number,
            "previousEventId": previous,
            "type": kind,
            "timestamp": START + timedelta(seconds=number),
            **({details_name(kind): rest[0]} if rest else {}),
        }
        for number, (previous, kind, *rest) in enumerate(events, start=1)
    ]
    return read_history(read, {}, ())


def details_name(kind: str) -> str:
    if "StateE" in kind:
        return "stateEnteredEventDetails" if kind.endswith("Entered") else "stateExitedEventDetails"
    return f"{kind[0].lower()}{kind[1:]}EventDetails"


def named(name: str) -> dict[str, Any]:
    return {"name": name, "input": "{}", "output": "{}"}


FAILURE = {"error": "RuntimeError", "cause": '{"errorMessage": "it broke", "stackTrace": []}'}


def of(history: History, state: str) -> Visit:
    (visit,) = [visit for visit in history.visits if visit.state == state]
    return visit


def test_every_event_of_real_executions_belongs_to_one_visit(tour_executions: list[Execution]) -> None:
    for execution in tour_executions:
        history = read_history(execution.events, {}, ())
        entered = Counter(
            event["stateEnteredEventDetails"]["name"]
            for event in execution.events
            if "stateEnteredEventDetails" in event
        )
        events = [event for visit in history.visits for event in visit.events] + history.own_events
        assert history.is_whole
        assert Counter(visit.state for visit in history.visits) == entered
        assert sorted(event["id"] for event in events) == [event["id"] for event in execution.events]


def test_items_of_a_map_are_told_apart_though_their_events_are_mixed() -> None:
    history = tree(
        (0, "MapStateEntered", named("Each")),
        (1, "MapStateStarted", {"length": 2}),
        (2, "MapIterationStarted", {"name": "Each", "index": 0}),
        (2, "MapIterationStarted", {"name": "Each", "index": 1}),
        (3, "PassStateEntered", named("Inside")),
        (4, "PassStateEntered", named("Inside")),
        (6, "PassStateExited", named("Inside")),
        (5, "PassStateExited", named("Inside")),
        (7, "MapIterationSucceeded", {"name": "Each", "index": 1}),
        (8, "MapIterationSucceeded", {"name": "Each", "index": 0}),
        (10, "MapStateSucceeded"),
        (10, "MapStateExited", named("Each")),
        (12, "SucceedStateEntered", named("Done")),
    )
    seconds = [
        (visit.exited_at - visit.entered_at).seconds
        for visit in history.visits
        if visit.state == "Inside" and visit.exited_at
    ]
    assert seconds == [3, 1]
    assert len(of(history, "Each").events) == 8
    assert of(history, "Done").came_from is of(history, "Each")


def test_a_call_that_succeeds_at_its_second_attempt_was_run_and_retried() -> None:
    history = tree(
        (0, "TaskStateEntered", named("Task")),
        (1, "LambdaFunctionScheduled"),
        (2, "LambdaFunctionFailed", FAILURE),
        (3, "LambdaFunctionScheduled"),
        (4, "LambdaFunctionSucceeded"),
        (5, "TaskStateExited", named("Task")),
    )
    task = of(history, "Task")
    assert (task.status, task.retries, task.error) == ("run", 1, None)


def test_an_error_that_is_caught_says_what_it_was() -> None:
    history = tree(
        (0, "TaskStateEntered", named("Task")),
        (1, "LambdaFunctionScheduled"),
        (2, "LambdaFunctionFailed", FAILURE),
        (3, "TaskStateExited", named("Task")),
        (4, "PassStateEntered", named("Caught")),
    )
    task = of(history, "Task")
    assert (task.status, task.retries, task.error) == ("caught", 0, "RuntimeError: it broke")
    assert of(history, "Caught").came_from is task


def test_an_error_inside_a_parallel_fails_its_state_and_is_caught_around_it() -> None:
    history = tree(
        (0, "ParallelStateEntered", named("Try")),
        (1, "ParallelStateStarted"),
        (2, "TaskStateEntered", named("Task")),
        (3, "TaskScheduled"),
        (4, "TaskTimedOut", {"error": "States.Timeout"}),
        (5, "ParallelStateFailed"),
        (6, "ParallelStateExited", named("Try")),
        (7, "PassStateEntered", named("Finally")),
    )
    assert (of(history, "Task").status, of(history, "Task").error) == ("failed", "States.Timeout")
    assert of(history, "Try").status == "caught"


def test_an_item_that_fails_fails_its_map_and_leaves_its_neighbour_stopped() -> None:
    history = tree(
        (0, "MapStateEntered", named("Each")),
        (1, "MapStateStarted", {"length": 2}),
        (2, "MapIterationStarted", {"name": "Each", "index": 0}),
        (2, "MapIterationStarted", {"name": "Each", "index": 1}),
        (3, "TaskStateEntered", named("Task")),
        (4, "TaskStateEntered", named("Neighbour")),
        (5, "TaskFailed", FAILURE),
        (7, "MapIterationFailed", {"name": "Each", "index": 0}),
        (6, "MapIterationAborted", {"name": "Each", "index": 1}),
        (8, "MapStateFailed"),
        (10, "ExecutionFailed", FAILURE),
    )
    assert {visit.state: (visit.status, len(visit.events)) for visit in history.visits} == {
        "Each": ("failed", 7),
        "Task": ("failed", 2),
        "Neighbour": ("stopped", 1),
    }


def test_a_state_that_an_execution_left_open_was_stopped() -> None:
    history = tree(
        (0, "ExecutionStarted", {"input": "{}"}),
        (1, "TaskStateEntered", named("Task")),
        (2, "TaskScheduled"),
        (3, "ExecutionTimedOut"),
    )
    assert of(history, "Task").status == "stopped"
    assert [event["type"] for event in history.own_events] == ["ExecutionStarted", "ExecutionTimedOut"]


def test_a_fail_state_has_failed() -> None:
    assert of(tree((0, "FailStateEntered", named("Broken"))), "Broken").status == "failed"


def test_calls_inside_a_map_are_told_apart_from_the_states_around_them() -> None:
    history = read_history(told(), STATE_OF_RESOURCE, {"CheckThreshold"})
    assert not history.is_whole
    calls = [visit for visit in history.visits if visit.is_call]
    assert Counter((visit.state, visit.status) for visit in calls) == {
        ("ValidateFile", "run"): 2,
        ("TrackFile", "run"): 1,
        ("QuarantineFile", "run"): 1,
        ("CheckThreshold", "caught"): 1,
        ("CheckThreshold", "run"): 1,
    }
    states = [visit.state for visit in history.visits if not visit.is_call]
    assert states == ["Source", "ParseEvent", "ForEachDate", "ReportResult"]
    assert of(history, "ReportResult").came_from is of(history, "ForEachDate")
    assert calls[0].input is None
    assert calls[0].output == '{"valid": true, "reason": null}'
