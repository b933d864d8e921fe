"""The structure of the definition: required fields of every state, transitions, and timeouts."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.session import get_session

from check_threshold import LATEST_START_SECONDS
from dev.paths import DEFINITION
from dev.template import all_states, template

STATES = all_states()
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
LAMBDAS = {name: state for name, state in TASKS.items() if state["Resource"].endswith("FunctionArn}")}
SERVICES = {
    "${GlueStartJobRunResource}": ("glue", "StartJobRun"),
    "${DynamoDbUpdateItemResource}": ("dynamodb", "UpdateItem"),
}
ENDED_WITHOUT_ANSWER = {"Lambda.Unknown", "Runtime.ExitError", "Sandbox.Timedout"}
"""Errors of a function whose time or memory was used up."""
MACHINE_SECONDS = json.loads(DEFINITION.read_text())["TimeoutSeconds"]
CRITICAL_SECTION = ["AcquireLock", "CreateManifest", "UpdateStatus", "StartGlueJob", "RecordJobRun", "ReleaseLock"]
CRITICAL_SECTION_SECONDS = 70


def function_seconds(state: str) -> int:
    return int(template()["Resources"][f"{state}Function"]["Properties"]["Timeout"])


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_timeout_and_retries_no_more_than_transient_errors(name: str) -> None:
    task = TASKS[name]
    assert task["TimeoutSeconds"] > 0
    assert task["Retry"], f"{name} retries nothing"
    errors = {error for retrier in task["Retry"] for error in retrier["ErrorEquals"]}
    blanket = {"States.ALL", "States.TaskFailed"}
    assert not errors & blanket, f"{name} retries what may not be transient"
    transient = ("Lambda.", "Glue.", "DynamoDB.")
    waited_for = {"RunNotRecorded"} if name == "RecordOutcome" else set()
    assert all(error.startswith(transient) for error in errors - ENDED_WITHOUT_ANSWER - {"States.Timeout"} - waited_for)


TOO_LONG_TO_REPEAT = {"FindStalledDates", "QuarantineFile"}
"""Two attempts of their full time exceed the execution. The next sweep, or the queue, repeats them."""


@pytest.mark.parametrize("name", sorted(LAMBDAS.keys() - TOO_LONG_TO_REPEAT))
def test_a_function_that_ended_without_an_answer_is_called_once_more(name: str) -> None:
    """Every box may run twice. Where time is short, a box that does not answer in its state's time is not repeated."""
    retried = [set(retrier["ErrorEquals"]) for retrier in LAMBDAS[name]["Retry"] if retrier["MaxAttempts"] == 1]
    expected = ENDED_WITHOUT_ANSWER if name in CRITICAL_SECTION else ENDED_WITHOUT_ANSWER | {"States.Timeout"}
    assert [errors & (ENDED_WITHOUT_ANSWER | {"States.Timeout"}) for errors in retried] == [expected]


@pytest.mark.parametrize("name", sorted(TOO_LONG_TO_REPEAT))
def test_a_box_that_takes_long_is_not_repeated_after_its_full_time(name: str) -> None:
    errors = {error for retrier in LAMBDAS[name]["Retry"] for error in retrier["ErrorEquals"]}
    assert not errors & (ENDED_WITHOUT_ANSWER | {"States.Timeout"})
    assert 2 * function_seconds(name) >= MACHINE_SECONDS


@pytest.mark.parametrize("name", ["ParseEvent", "ValidateFile", "TrackFile", "RecordRemoval"])
def test_a_box_before_the_threshold_may_be_repeated_and_leaves_time_for_the_build(name: str) -> None:
    full_time = LAMBDAS[name]["TimeoutSeconds"]
    assert 2 * full_time + 1 <= LATEST_START_SECONDS


@pytest.mark.parametrize("name", LAMBDAS)
def test_a_task_outlives_its_function_by_ten_seconds(name: str) -> None:
    assert LAMBDAS[name]["TimeoutSeconds"] == function_seconds(name) + 10


@pytest.mark.parametrize("name", [name for name, state in STATES.items() if state["Type"] == "Choice"])
def test_every_choice_has_a_default(name: str) -> None:
    assert STATES[name]["Default"] in STATES


@pytest.mark.parametrize("name", ["ValidateFile", "QuarantineFile", "TrackFile", "RecordRemoval"])
def test_a_bad_file_never_stops_its_neighbours(name: str) -> None:
    assert [catcher["Next"] for catcher in STATES[name]["Catch"]] == ["FileFailed"]
    assert STATES[name]["Catch"][0]["ErrorEquals"] == ["States.ALL"]


def test_every_way_out_of_the_critical_section_leads_through_release_lock() -> None:
    build = STATES["BuildManifest"]
    assert build["Next"] == "ReleaseLock"
    assert build["Catch"] == [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "ReleaseLock"}]
    assert len(build["Branches"]) == 1
    acquire = STATES["AcquireLock"]
    assert acquire["Catch"] == [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "ReleaseLock"}]
    assert STATES["IsLockAcquired"]["Choices"][0]["Next"] == "BuildManifest"
    # Only the end of the branch or an error leaves the branch.
    inside = build["Branches"][0]["States"]
    assert all(successor in inside for state in inside.values() for successor in successors(state))
    assert all(state["Type"] != "Fail" for state in inside.values())


def test_a_failed_date_aborts_no_other_dates_critical_section() -> None:
    inside_the_map = all_states(STATES["ForEachDate"]["Iterator"])
    assert all(state["Type"] != "Fail" for state in inside_the_map.values())


def test_an_ambiguous_start_is_not_retried_in_place() -> None:
    said_not_started = {
        "Glue.ConcurrentRunsExceededException",
        "Glue.ResourceNumberLimitExceededException",
        "Glue.ThrottlingException",
    }
    start = STATES["StartGlueJob"]
    assert {error for retrier in start["Retry"] for error in retrier["ErrorEquals"]} == said_not_started
    # Step Functions uses this name for errors that Glue's model does not define, such as throttling.
    may_be_throttling = {"Glue.AWSGlueException"}
    (busy,) = start["Catch"]
    assert (set(busy["ErrorEquals"]), busy["Next"]) == (said_not_started | may_be_throttling, "JobWaiting")
    assert retry_waits(start) <= 10


def test_the_critical_section_fits_its_time_budget() -> None:
    # A retried attempt answers within its function's timeout. One that never answers takes the task's timeout, and
    # is followed by ReleaseLock alone, which may not answer either.
    to_the_end = sum(seconds_when_answered(name) for name in CRITICAL_SECTION[:-1])
    unanswered = [
        sum(seconds_when_answered(name) for name in CRITICAL_SECTION[:index]) + seconds_when_unanswered(state)
        for index, state in enumerate(CRITICAL_SECTION[:-1])
    ]
    worst = max(to_the_end, *unanswered) + seconds_when_unanswered("ReleaseLock")
    assert worst <= CRITICAL_SECTION_SECONDS


def test_an_execution_started_late_still_ends_before_the_machine_is_stopped() -> None:
    assert LATEST_START_SECONDS + CRITICAL_SECTION_SECONDS <= MACHINE_SECONDS
    assert MACHINE_SECONDS < function_seconds("StartWorkflow")
    lease = template()["Parameters"]["LockTtlSeconds"]
    assert function_seconds("StartWorkflow") < lease["MinValue"] <= lease["Default"]


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task["Resource"] in SERVICES])
def test_service_integrations_pass_arguments_that_the_service_knows(name: str) -> None:
    service, operation = SERVICES[TASKS[name]["Resource"]]
    check(TASKS[name]["Parameters"], service_shape(service, operation), name)


def test_integrations_give_every_required_argument() -> None:
    for name, task in TASKS.items():
        if task["Resource"] in SERVICES:
            shape = service_shape(*SERVICES[task["Resource"]])
            assert isinstance(shape, StructureShape)
            given = {key.removesuffix(".$") for key in task["Parameters"]}
            assert set(shape.required_members) <= given, name


def test_every_state_is_reached() -> None:
    machines = [json.loads(DEFINITION.read_text())]
    starts = set()
    while machines:
        machine = machines.pop()
        starts.add(machine["StartAt"])
        for state in machine["States"].values():
            machines += [state["Iterator"]] if "Iterator" in state else state.get("Branches", [])
    reached = starts | {successor for state in STATES.values() for successor in successors(state)}
    assert reached == set(STATES)


def successors(state: dict[str, Any]) -> Iterator[str]:
    yield from (value for key, value in state.items() if key in ("Next", "Default"))
    yield from (branch["Next"] for key in ("Choices", "Catch") for branch in state.get(key, []))


def retry_waits(state: dict[str, Any]) -> float:
    return sum(
        float(retrier["IntervalSeconds"]) * float(retrier["BackoffRate"]) ** attempt
        for retrier in state["Retry"]
        for attempt in range(retrier["MaxAttempts"])
    )


def attempt_seconds(name: str) -> int:
    return function_seconds(name) if name in LAMBDAS else int(TASKS[name]["TimeoutSeconds"])


def seconds_when_answered(name: str) -> float:
    retries = sum(int(retrier["MaxAttempts"]) for retrier in TASKS[name]["Retry"])
    return attempt_seconds(name) * (1 + retries) + retry_waits(TASKS[name])


def seconds_when_unanswered(name: str) -> float:
    return seconds_when_answered(name) - attempt_seconds(name) + float(TASKS[name]["TimeoutSeconds"])


@cache
def service_shape(service: str, operation: str) -> Shape:
    shape = get_session().get_service_model(service).operation_model(operation).input_shape
    assert shape is not None
    return shape


def check(value: Any, shape: Shape, where: str) -> None:
    """Every name in `value` is a member of `shape`, at every depth."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        for key, inner in value.items():
            member = key.removesuffix(".$")
            assert member in shape.members, f"{where}: {shape.name} has no {member}"
            check(inner, shape.members[member], f"{where}.{member}")
    elif isinstance(shape, MapShape) and isinstance(value, dict):
        for key, inner in value.items():
            check(inner, shape.value, f"{where}.{key}")
    elif isinstance(shape, ListShape) and isinstance(value, list):
        for inner in value:
            check(inner, shape.member, where)
