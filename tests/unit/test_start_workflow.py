"""StartWorkflow: the executions for a batch of messages, the batch item failures, and their visibility timeout."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

import start_workflow
from dev.simulator.telemetry import Telemetry
from manifest_builder.redelivery import MAX_INPUT_BYTES, Message
from tests.unit.support import aws_error, event

URL = "https://aws.example"
LEASE = 300
TOTAL_LIMIT = 256 * 1024


class Machine:
    """Stands for the clients of Step Functions and SQS."""

    def __init__(self) -> None:
        self.inputs: list[dict[str, Any]] = []
        self.raw_inputs: list[str] = []
        self.answer: Callable[[list[str]], dict[str, Any]] = lambda ids: succeeded()
        self.delays: dict[str, int] = {}
        self.visibility_calls: list[dict[str, Any]] = []
        self.visibility_answer: Callable[[], dict[str, Any]] = dict
        self._lock = threading.Lock()

    def start_sync_execution(self, *, stateMachineArn: str, input: str) -> dict[str, Any]:  # noqa: A002
        assert stateMachineArn == start_workflow.START.state_machine_arn
        with self._lock:
            self.raw_inputs.append(input)
            self.inputs.append(json.loads(input))
        return self.answer([message["messageId"] for message in json.loads(input)["messages"]])

    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        assert QueueUrl == start_workflow.START.queue_url
        self.visibility_calls.append({"Entries": Entries})
        for entry in Entries:
            self.delays[entry["ReceiptHandle"].replace("receipt", "message")] = entry["VisibilityTimeout"]
        return self.visibility_answer()

    @property
    def groups(self) -> list[list[str]]:
        return sorted([message["messageId"] for message in given["messages"]] for given in self.inputs)


def succeeded(*failures: str) -> dict[str, Any]:
    output = {"batchItemFailures": [{"itemIdentifier": failure} for failure in failures]}
    return {"executionArn": "arn:execution", "status": "SUCCEEDED", "output": json.dumps(output)}


def ended(status: str, **details: str) -> dict[str, Any]:
    return {"executionArn": "arn:execution", "status": status, **details}


def raising(error: Exception) -> Callable[[list[str]], dict[str, Any]]:
    def answer(ids: list[str]) -> dict[str, Any]:
        raise error

    return answer


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    with (
        mock.patch.object(start_workflow, "stepfunctions", return_value=machine),
        mock.patch.object(start_workflow, "sqs", return_value=machine),
    ):
        yield machine


def record(number: int, body: str = "{}", receives: int = 1) -> dict[str, Any]:
    first: dict[str, Any] = event("sqs_batch.json")["Records"][0]
    return first | {
        "messageId": f"message-{number}",
        "receiptHandle": f"receipt-{number}",
        "body": body,
        "attributes": {"ApproximateReceiveCount": str(receives)},
    }


def deliver(*records: dict[str, Any]) -> list[str]:
    answer = start_workflow.handler({"Records": list(records)}, None)
    assert answer.keys() == {"batchItemFailures"}
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


# What is started


def test_a_batch_is_one_execution_whose_input_has_only_ids_and_bodies(machine: Machine) -> None:
    batch = event("sqs_batch.json")

    assert start_workflow.handler(batch, None) == {"batchItemFailures": []}

    assert machine.inputs == [
        {
            "sweep": False,
            "messages": [
                {"messageId": "message-1", "body": batch["Records"][0]["body"]},
                {"messageId": "message-2", "body": batch["Records"][1]["body"]},
            ],
        }
    ]
    assert machine.visibility_calls == []


def test_a_message_runs_in_its_own_execution_from_its_third_receive_on(machine: Machine) -> None:
    start_workflow.handler(event("sqs_batch_with_poison.json"), None)

    assert machine.groups == [["message-1", "message-3"], ["message-2"]]


@pytest.mark.parametrize(("receives", "executions"), [(1, 1), (2, 1), (3, 3), (5, 3)])
def test_messages_share_an_execution_until_their_second_receive(
    machine: Machine, receives: int, executions: int
) -> None:
    deliver(*[record(number, receives=receives) for number in (1, 2, 3)])

    assert len(machine.inputs) == executions


def test_a_batch_that_exceeds_the_payload_limit_is_split_and_keeps_every_message(machine: Machine) -> None:
    deliver(*[record(number, "x" * 100_000) for number in range(1, 6)])

    assert machine.groups == [["message-1", "message-2"], ["message-3", "message-4"], ["message-5"]]
    assert all(len(text.encode()) <= TOTAL_LIMIT for text in machine.raw_inputs)


@pytest.mark.parametrize("character", ["x", '"', "é", "🦆", "\n", "\\"])
def test_no_input_exceeds_the_payload_limit_with_any_characters_in_the_bodies(machine: Machine, character: str) -> None:
    bodies = [character * 17_000 for _ in range(10)]

    assert deliver(*[record(number, body) for number, body in enumerate(bodies)]) == []

    assert all(len(text.encode()) <= TOTAL_LIMIT for text in machine.raw_inputs)
    assert sorted(name for group in machine.groups for name in group) == sorted(f"message-{n}" for n in range(10))
    assert [m["body"] for given in machine.inputs for m in given["messages"]].count(bodies[0]) == 10


def body_for_input_bytes(size: int) -> str:
    return "x" * (size - Message("message-1", "", 1, "").input_bytes)


def test_the_largest_message_that_fits_is_started(machine: Machine) -> None:
    assert deliver(record(1, body_for_input_bytes(MAX_INPUT_BYTES))) == []

    assert len(machine.inputs) == 1
    assert len(machine.raw_inputs[0].encode()) <= TOTAL_LIMIT


def test_a_message_that_exceeds_the_payload_limit_is_a_batch_item_failure_and_starts_nothing(
    machine: Machine, log: Telemetry
) -> None:
    too_large = record(1, body_for_input_bytes(MAX_INPUT_BYTES + 1))

    assert deliver(too_large, record(2)) == ["message-1"]

    assert machine.groups == [["message-2"]]
    (line,) = log.at_least("ERROR")
    assert line["message_ids"] == ["message-1"]
    assert machine.delays == {"message-1": 60}


# Batch item failures


def test_only_messages_that_the_output_names_are_batch_item_failures(machine: Machine) -> None:
    machine.answer = lambda ids: succeeded("message-2")

    assert deliver(record(1), record(2), record(3)) == ["message-2"]
    assert machine.delays == {"message-2": 60}


def test_an_id_that_is_not_in_the_batch_is_not_reported(machine: Machine) -> None:
    machine.answer = lambda ids: succeeded("message-9")

    assert deliver(record(1)) == []


@pytest.mark.parametrize(
    ("answer", "delay"),
    [
        (ended("FAILED", error="ManifestFailed", cause="the dates say why"), 60),
        (ended("FAILED"), 60),
        (ended("FAILED", error="LockNotReleased"), LEASE + 1),
        (ended("TIMED_OUT"), LEASE + 1),
        (ended("ABORTED"), LEASE + 1),
    ],
)
def test_all_messages_of_an_execution_that_did_not_succeed_are_batch_item_failures(
    machine: Machine, log: Telemetry, answer: dict[str, Any], delay: int
) -> None:
    machine.answer = lambda ids: answer

    assert deliver(record(1), record(2)) == ["message-1", "message-2"]

    assert machine.delays == {"message-1": delay, "message-2": delay}
    (line,) = log.at_least("ERROR")
    assert (line["status"], line["error"] if "error" in answer else None) == (answer["status"], answer.get("error"))
    assert line["message_ids"] == ["message-1", "message-2"]


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (ReadTimeoutError(endpoint_url=URL), LEASE + 1),
        (ConnectTimeoutError(endpoint_url=URL), LEASE + 1),
        (aws_error("InternalServerError"), LEASE + 1),
        (aws_error("ServiceUnavailable"), LEASE + 1),
        (aws_error("ThrottlingException"), 60),
        (aws_error("AccessDeniedException"), 60),
        (aws_error("StateMachineDoesNotExist"), 60),
        (aws_error("InvalidExecutionInput"), 60),
    ],
)
def test_messages_come_back_after_the_lease_only_if_their_execution_may_be_running(
    machine: Machine, log: Telemetry, error: Exception, delay: int
) -> None:
    machine.answer = raising(error)

    assert deliver(record(1), record(2)) == ["message-1", "message-2"]

    assert machine.delays == {"message-1": delay, "message-2": delay}
    (line,) = log.at_least("ERROR")
    assert line["message_ids"] == ["message-1", "message-2"]


def test_an_execution_that_fails_does_not_affect_the_messages_of_others(machine: Machine) -> None:
    machine.answer = lambda ids: ended("TIMED_OUT") if "message-2" in ids else succeeded()

    assert deliver(record(1), record(2, receives=3), record(3)) == ["message-2"]


# Visibility timeout


@pytest.mark.parametrize(("receives", "delay"), [(1, 60), (2, 120), (4, 240)])
def test_the_delay_grows_with_each_receive(machine: Machine, receives: int, delay: int) -> None:
    machine.answer = lambda ids: succeeded(*ids)

    deliver(record(1, receives=receives))

    assert machine.delays == {"message-1": delay}


def test_a_message_comes_back_after_the_lease_at_the_earliest(machine: Machine) -> None:
    machine.answer = lambda ids: ended("TIMED_OUT")

    deliver(record(1, receives=5), record(2, receives=6))

    assert machine.delays == {"message-1": LEASE + 1, "message-2": 360}


def test_no_delay_exceeds_the_maximum_of_sqs(machine: Machine) -> None:
    machine.answer = lambda ids: succeeded(*ids)

    deliver(record(1, receives=1000))

    assert machine.delays == {"message-1": 43200}


def test_visibility_is_changed_for_ten_messages_at_a_time(machine: Machine) -> None:
    machine.answer = lambda ids: ended("FAILED")

    assert len(deliver(*[record(number) for number in range(23)])) == 23

    assert [len(call["Entries"]) for call in machine.visibility_calls] == [10, 10, 3]
    for call in machine.visibility_calls:
        assert len({entry["Id"] for entry in call["Entries"]}) == len(call["Entries"])


@pytest.mark.parametrize(
    "visibility",
    [
        mock.Mock(side_effect=aws_error("AccessDeniedException")),
        mock.Mock(side_effect=ReadTimeoutError(endpoint_url=URL)),
        mock.Mock(return_value={"Failed": [{"Id": "0", "Code": "ReceiptHandleIsInvalid", "SenderFault": True}]}),
    ],
)
def test_an_error_while_changing_the_visibility_is_only_logged(
    machine: Machine, log: Telemetry, visibility: Any
) -> None:
    machine.answer = lambda ids: succeeded("message-1")
    machine.visibility_answer = visibility

    assert deliver(record(1), record(2)) == ["message-1"]

    (line,) = log.at_least("WARNING")
    assert (line["level"], line["message"]) == ("WARNING", "visibility not changed")


def test_batch_item_failures_are_counted(machine: Machine, log: Telemetry) -> None:
    deliver(record(1))
    assert log.metrics == {}

    machine.answer = lambda ids: succeeded(*ids)
    deliver(record(1), record(2))

    assert log.metrics == {"MessagesReturned": 2}


# The client of Step Functions


def test_a_start_is_not_retried_and_its_timeout_is_longer_than_an_execution() -> None:
    start_workflow.stepfunctions.cache_clear()
    config: Any = start_workflow.stepfunctions().meta.config

    assert config.read_timeout > 120
    assert config.read_timeout + config.connect_timeout < 150
    assert config.retries["total_max_attempts"] == 1
    start_workflow.stepfunctions.cache_clear()
