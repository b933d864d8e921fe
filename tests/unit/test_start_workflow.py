"""StartWorkflow: the executions for a batch of messages, the batch item failures, and their visibility timeout."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

import start_workflow
from dev.simulator.context import AT_ITS_BEGINNING, Context
from dev.simulator.telemetry import Telemetry
from manifest_builder import clock, queues, redelivery
from manifest_builder.redelivery import MAX_INPUT_BYTES, MAX_RECORDS, Failure, Message, delay_seconds
from manifest_builder.settings import start_settings
from tests.unit.support import aws_error, event

URL = "https://aws.example"
LEASE = 300
NOW = datetime(2025, 12, 23, 10, tzinfo=UTC)
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
        self.dead_letters: dict[str, dict[str, str]] = {}
        """By body: the attributes."""
        self.sent: list[str] = []
        """The bodies of messages that were sent to the input queue."""
        self.refuses_messages = False

    def start_sync_execution(self, *, stateMachineArn: str, input: str) -> dict[str, Any]:  # noqa: A002
        assert stateMachineArn == start_settings().state_machine_arn
        self.raw_inputs.append(input)
        self.inputs.append(json.loads(input))
        return self.answer([message["messageId"] for message in json.loads(input)["messages"]])

    def change_message_visibility_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        assert QueueUrl == start_settings().queue_url
        self.visibility_calls.append({"Entries": Entries})
        for entry in Entries:
            self.delays[entry["ReceiptHandle"].replace("receipt", "message")] = entry["VisibilityTimeout"]
        return self.visibility_answer()

    def send_message(self, *, QueueUrl: str, MessageBody: str, MessageAttributes: Any = None) -> None:
        if self.refuses_messages:
            raise aws_error("RequestThrottled")
        if QueueUrl == start_settings().queue_url:
            self.sent.append(MessageBody)
        else:
            assert QueueUrl == start_settings().dead_letter_queue_url
            assert all(attribute["DataType"] == "String" for attribute in MessageAttributes.values())
            self.dead_letters[MessageBody] = {
                name: attribute["StringValue"] for name, attribute in MessageAttributes.items()
            }

    @property
    def groups(self) -> list[list[str]]:
        return [[message["messageId"] for message in given["messages"]] for given in self.inputs]


def succeeded(*failures: str, refused: dict[str, str] | None = None, error: str = "KeyError") -> dict[str, Any]:
    reasons = refused or {}
    output = {
        "batchItemFailures": [
            *({"itemIdentifier": failure, "error": error} for failure in failures),
            *({"itemIdentifier": message} for message in reasons),
        ],
        "refused": [{"messageId": message, "reason": reason} for message, reason in reasons.items()],
    }
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
        mock.patch.object(queues, "sqs", return_value=machine),
        mock.patch.object(redelivery, "random", mock.Mock(uniform=lambda least, most: most)),
        mock.patch.object(clock, "now", return_value=NOW),
    ):
        yield machine


def record(number: int, body: str = "{}", receives: int = 1, age: timedelta = timedelta(0)) -> dict[str, Any]:
    first: dict[str, Any] = event("sqs_batch.json")["Records"][0]
    sent_at = str(int((NOW - age).timestamp() * 1000))
    return first | {
        "messageId": f"message-{number}",
        "receiptHandle": f"receipt-{number}",
        "body": body,
        "attributes": {"ApproximateReceiveCount": str(receives), "SentTimestamp": sent_at},
    }


def deliver(*records: dict[str, Any], context: Context = AT_ITS_BEGINNING) -> list[str]:
    answer = start_workflow.handler({"Records": list(records)}, context)
    assert answer.keys() == {"batchItemFailures"}
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def s3_event(*keys: str, padding: str = "") -> str:
    records = [
        {
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "b"}, "object": {"key": key}},
        }
        for key in keys
    ]
    return json.dumps({"Records": [given | {"padding": padding} for given in records]})


def keys_of(body: str) -> list[str]:
    return [record["s3"]["object"]["key"] for record in json.loads(body)["Records"]]


# What is started


def test_a_batch_is_one_execution_whose_input_has_only_ids_and_bodies(machine: Machine) -> None:
    batch = event("sqs_batch.json")

    assert start_workflow.handler(batch, AT_ITS_BEGINNING) == {"batchItemFailures": []}

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


@pytest.mark.parametrize("receives", [1, 3, 5, 100])
def test_messages_share_an_execution_however_often_they_have_failed(machine: Machine, receives: int) -> None:
    """An outage makes all messages fail: it must not lead to more executions than there were."""
    deliver(*[record(number, receives=receives) for number in (1, 2, 3)])

    assert machine.groups == [["message-1", "message-2", "message-3"]]


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
    return "x" * (size - Message("message-1", "", 1, NOW, "").input_bytes)


def test_the_largest_message_that_fits_is_started(machine: Machine) -> None:
    assert deliver(record(1, body_for_input_bytes(MAX_INPUT_BYTES))) == []

    assert len(machine.inputs) == 1
    assert len(machine.raw_inputs[0].encode()) <= TOTAL_LIMIT


def test_a_message_that_no_execution_can_take_is_a_dead_letter_at_once_and_starts_nothing(machine: Machine) -> None:
    body = body_for_input_bytes(MAX_INPUT_BYTES + 1)

    assert deliver(record(1, body), record(2)) == []

    assert machine.groups == [["message-2"]]
    assert machine.dead_letters == {
        body: {
            "message_id": "message-1",
            "reason": "an execution takes 261,120 bytes of messages, and as much of data; "
            "this message has 261,121 bytes, and no records to divide",
        }
    }


@pytest.mark.parametrize(
    "wrap", [str, lambda body: json.dumps({"Type": "Notification", "TopicArn": "t", "Message": body})]
)
@pytest.mark.parametrize("keys", [2, 500, 1280, 5000])
def test_a_large_message_goes_back_to_the_queue_in_parts_that_fit(
    machine: Machine, wrap: Callable[[str], str], keys: int
) -> None:
    padding = "x" * (400_000 // keys)
    names = [f"{number}.ndjson" for number in range(keys)]

    assert deliver(record(1, wrap(s3_event(*names, padding=padding))), record(2)) == []

    assert machine.groups == [["message-2"]]
    assert [key for part in machine.sent for key in keys_of(part)] == names
    parts = [Message("message-1", "", 1, NOW, part) for part in machine.sent]
    assert all(part.fits and part.records <= MAX_RECORDS for part in parts)
    assert len(parts) > 1
    assert machine.dead_letters == {}


def test_parts_can_be_sent_whatever_characters_the_message_holds(machine: Machine) -> None:
    escaped = s3_event("\ud800", "\x01é🦆", padding="x" * 200_000)

    assert deliver(record(1, escaped)) == []

    assert [keys_of(part) for part in machine.sent] == [["\ud800"], ["\x01é🦆"]]
    assert all(part.isascii() for part in machine.sent)


def test_a_record_that_is_too_large_goes_back_alone_and_is_a_dead_letter_then(machine: Machine) -> None:
    document = json.loads(s3_event("a", "b", "c"))
    document["Records"][1]["padding"] = "x" * MAX_INPUT_BYTES

    assert deliver(record(1, json.dumps(document))) == []
    assert [keys_of(part) for part in machine.sent] == [["a"], ["b"], ["c"]]

    assert deliver(*[record(number, part) for number, part in enumerate(machine.sent, start=2)]) == []
    assert machine.groups == [["message-2", "message-4"]]
    assert [keys_of(body) for body in machine.dead_letters] == [["b"]]


def test_a_message_of_one_record_with_many_keys_is_run(machine: Machine) -> None:
    assert deliver(record(1, s3_event("a", padding='"key"' * 1000))) == []

    assert machine.groups == [["message-1"]]
    assert (machine.sent, machine.dead_letters) == ([], {})


def test_a_large_message_that_could_not_be_divided_comes_back(machine: Machine, log: Telemetry) -> None:
    machine.refuses_messages = True

    assert deliver(record(1, s3_event("a", "b", padding="x" * 200_000))) == ["message-1"]

    assert machine.delays == {"message-1": 60}
    assert [line["message"] for line in log.at_least("ERROR")] == ["a large message was not divided"]


def test_attributes_are_left_out_where_the_message_has_no_room_for_them(machine: Machine) -> None:
    largest = "x" * 1024 * 1024

    assert deliver(record(1, largest)) == []

    assert machine.dead_letters == {largest: {}}


# Messages because of which an execution fails


@pytest.mark.parametrize("error", ["States.Runtime", "States.DataLimitExceeded", "RecursionError"])
def test_a_message_because_of_which_the_execution_fails_is_found_by_halves_and_its_neighbours_are_done(
    machine: Machine, error: str
) -> None:
    machine.answer = lambda ids: ended("FAILED", error=error) if "message-7" in ids else succeeded()

    back = deliver(*[record(number) for number in range(10)])

    done = [name for ids in machine.groups if "message-7" not in ids for name in ids]
    assert sorted(done) == [f"message-{number}" for number in range(10) if number != 7]
    assert len(machine.groups) <= 2 * 4 + 1
    if error == "States.DataLimitExceeded":
        assert back == []
        assert list(machine.dead_letters) == ["{}"]
    else:
        assert back == ["message-7"]


def test_a_message_whose_files_exceed_the_limit_of_data_goes_back_in_parts(machine: Machine) -> None:
    machine.answer = lambda ids: ended("FAILED", error="States.DataLimitExceeded")

    assert deliver(record(1, s3_event("a", "b", "c"))) == []

    assert [keys_of(part) for part in machine.sent] == [["a"], ["b", "c"]]
    assert machine.dead_letters == {}


def test_an_input_that_step_functions_refuses_is_divided_likewise(machine: Machine) -> None:
    def answer(ids: list[str]) -> dict[str, Any]:
        if "message-2" in ids:
            raise aws_error("InvalidExecutionInput")
        return succeeded()

    machine.answer = answer

    assert deliver(record(1), record(2), record(3)) == ["message-2"]


@pytest.mark.parametrize(
    "error",
    [
        "ManifestFailed",
        "LockNotReleased",
        "Lambda.TooManyRequestsException",
        "Lambda.ServiceException",
        "Lambda.Unknown",
        "Sandbox.Timedout",
        "Runtime.ExitError",
        "States.Timeout",
    ],
)
def test_an_execution_that_fails_with_a_service_is_not_repeated_in_parts(machine: Machine, error: str) -> None:
    machine.answer = lambda ids: ended("FAILED", error=error)

    assert len(deliver(*[record(number) for number in range(10)])) == 10

    assert len(machine.groups) == 1


def test_no_execution_is_started_without_the_time_for_it_and_its_messages_come_back_soon(machine: Machine) -> None:
    batch = [record(number, "x" * 200_000, receives=9) for number in (1, 2)]

    assert deliver(*batch, context=Context(126_999)) == ["message-2"]

    assert machine.groups == [["message-1"]]
    assert machine.delays == {"message-2": 60}


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

    assert deliver(*[record(number, "x" * 200_000) for number in (1, 2, 3)]) == ["message-2"]


# Dead letters


def test_a_message_that_is_no_event_is_a_dead_letter_at_once_with_its_reason(machine: Machine, log: Telemetry) -> None:
    machine.answer = lambda ids: succeeded(refused={"message-2": "the body is not JSON\x00 ü"})

    assert deliver(record(1), record(2, "garbage"), record(3)) == []

    assert machine.dead_letters == {"garbage": {"message_id": "message-2", "reason": "the body is not JSON? ü"}}
    assert log.metrics == {"MessagesDeadLettered": 1}


def test_a_message_that_could_not_be_sent_to_the_dead_letters_comes_back(machine: Machine) -> None:
    machine.answer = lambda ids: succeeded(refused={"message-2": "the body is not JSON"})
    machine.refuses_messages = True

    assert deliver(record(1), record(2)) == ["message-2"]


def test_the_output_of_an_earlier_release_is_understood(machine: Machine) -> None:
    output = json.dumps({"batchItemFailures": [{"itemIdentifier": "message-2"}]})
    machine.answer = lambda ids: {"executionArn": "arn", "status": "SUCCEEDED", "output": output}

    assert deliver(record(1), record(2)) == ["message-2"]


@pytest.mark.parametrize(("age", "is_dead"), [(timedelta(hours=19.9), False), (timedelta(hours=20), True)])
def test_a_file_that_fails_by_itself_is_a_dead_letter_within_a_day_and_alone(
    machine: Machine, age: timedelta, is_dead: bool
) -> None:
    machine.answer = lambda ids: succeeded("message-2")

    back = deliver(
        *[record(number, body, age=age, receives=40) for number, body in ((1, "{}"), (2, "bad luck"), (3, "{}"))]
    )

    assert back == ([] if is_dead else ["message-2"])
    reason = {"bad luck": {"message_id": "message-2", "reason": "failed for 20 hours, the last time with KeyError"}}
    assert machine.dead_letters == (reason if is_dead else {})


SERVICE_FAILURES = [
    ended("FAILED", error="Lambda.TooManyRequestsException"),
    ended("FAILED", error="ManifestFailed"),
    ended("TIMED_OUT"),
    ended("ABORTED"),
]


@pytest.mark.parametrize("answer", SERVICE_FAILURES)
def test_a_message_that_meets_an_outage_is_tried_until_the_queue_would_delete_it(
    machine: Machine, answer: dict[str, Any]
) -> None:
    machine.answer = lambda ids: answer

    assert deliver(record(1, age=timedelta(days=12.9), receives=600)) == ["message-1"]
    assert machine.dead_letters == {}

    assert deliver(record(1, "old", age=timedelta(days=13), receives=600)) == []
    (attributes,) = machine.dead_letters.values()
    assert attributes["reason"].startswith("failed for 312 hours, the last time with ")


def test_an_old_message_is_a_dead_letter_only_if_it_fails_again(machine: Machine) -> None:
    assert deliver(record(1, age=timedelta(days=13.5))) == []

    assert machine.dead_letters == {}


def test_a_message_for_which_no_time_was_left_is_a_dead_letter_only_before_the_queue_would_delete_it(
    machine: Machine,
) -> None:
    def old(age: timedelta) -> list[dict[str, Any]]:
        return [record(number, f"{number}" * 200_000, age=age, receives=600) for number in (1, 2)]

    assert deliver(*old(timedelta(days=12.9)), context=Context(1000)) == ["message-2"]
    assert machine.dead_letters == {}

    assert deliver(*old(timedelta(days=13)), context=Context(1000)) == []
    assert [attributes["message_id"] for attributes in machine.dead_letters.values()] == ["message-2"]


@pytest.mark.parametrize("error", ["KeyError", "Lambda.TooManyRequestsException", "RowContended"])
def test_a_message_that_was_only_late_is_not_given_up_at_its_first_failures(machine: Machine, error: str) -> None:
    """After an outage or a backlog of a day, for example."""
    machine.answer = lambda ids: succeeded("message-1", error=error)

    for receives in (1, 19):
        assert deliver(record(1, age=timedelta(hours=30), receives=receives)) == ["message-1"]

    assert machine.dead_letters == {}


@pytest.mark.parametrize("depth", [700, 948, 950, 5000])
def test_no_nesting_of_a_large_message_stops_the_trigger(machine: Machine, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    body = f'{{"Records": [{nested}, {nested}], "padding": "{"x" * 300_000}"}}'

    assert deliver(record(1, body), record(2)) == []

    assert machine.groups == [["message-2"]]


@pytest.mark.parametrize(
    "answer",
    [
        ended("FAILED", error="Lambda.TooManyRequestsException"),
        succeeded("message-1", error="Lambda.TooManyRequestsException"),
    ],
)
def test_messages_that_met_a_throttle_are_counted(machine: Machine, log: Telemetry, answer: dict[str, Any]) -> None:
    machine.answer = lambda ids: answer

    deliver(record(1))

    assert log.metrics == {"MessagesReturned": 1, "MessagesThrottled": 1}


def test_a_throttled_start_is_counted(machine: Machine, log: Telemetry) -> None:
    machine.answer = raising(aws_error("ThrottlingException"))

    deliver(record(1), record(2))

    assert log.metrics == {"MessagesReturned": 2, "MessagesThrottled": 2}


# Visibility timeout


@pytest.mark.parametrize(
    ("receives", "delay"), [(1, 60), (2, 120), (3, 240), (5, 960), (6, 1800), (7, 1800), (1000, 1800)]
)
def test_the_delay_doubles_with_each_receive_up_to_half_an_hour(machine: Machine, receives: int, delay: int) -> None:
    machine.answer = lambda ids: succeeded(*ids)

    deliver(record(1, receives=receives))

    assert machine.delays == {"message-1": delay}


def test_messages_that_failed_together_come_back_apart() -> None:
    failure = Failure(Message("message-1", "receipt-1", 10, NOW, ""), "KeyError")

    delays = {delay_seconds(failure, 60, 300) for _ in range(200)}

    assert len(delays) > 100
    assert all(1350 <= delay <= 1800 for delay in delays)


def test_a_message_comes_back_after_the_lease_at_the_earliest(machine: Machine) -> None:
    machine.answer = lambda ids: ended("TIMED_OUT")

    deliver(record(1, receives=1), record(2, receives=4))

    assert machine.delays == {"message-1": LEASE + 1, "message-2": 480}


def test_no_delay_exceeds_the_maximum_of_sqs() -> None:
    failure = Failure(Message("message-1", "receipt-1", 1, NOW, ""), "", after_lease=True)

    assert delay_seconds(failure, 60, 50_000) == 43_200


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
