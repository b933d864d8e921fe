"""Dollars, from the counts and from dev/bench/prices.toml. Every line names its count."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, Self

from dev.bench import deployment
from dev.bench.counts import Counts
from dev.bench.deployment import Settings
from manifest_builder.tracking.marking import MARKING_THREADS

DATA = Path(__file__).with_name("prices.toml")
MILLION = 1_000_000
HOURS_PER_MONTH = 30 * 24
GB = 1024**3
MONOLITH = "Monolith"
USES_OF_THE_TABLE = {"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "Query", "Scan"}
MESSAGE_READERS = {"StartWorkflow", "ParseEvent", MONOLITH}


class System(StrEnum):
    EXPRESS = "Express"
    STANDARD = "Standard"
    MONOLITH = "monolith"


@dataclass(frozen=True, slots=True)
class Price:
    dollars: float
    per: float
    unit: str
    source: str

    def of(self, quantity: float) -> float:
        return self.dollars * quantity / self.per


@dataclass(frozen=True, slots=True)
class Line:
    """`quantity`: for a million files, or for a month if the cost is fixed."""

    group: str
    name: str
    quantity: float
    price: Price

    @property
    def dollars(self) -> float:
        return self.price.of(self.quantity)


@dataclass(frozen=True)
class Data:
    """dev/bench/prices.toml."""

    document: dict[str, Any] = field(repr=False)

    @classmethod
    def read(cls, path: Path = DATA) -> Self:
        return cls(tomllib.loads(path.read_text()))

    def price(self, name: str) -> Price:
        return Price(**self.document["price"][name])

    def assumed(self, group: str, name: str) -> float:
        return float(self.document[group][name])

    @property
    def files_per_day(self) -> float:
        return float(self.document["files_per_day"])

    @property
    def files_per_month(self) -> float:
        return self.files_per_day * 30


@cache
def data() -> Data:
    return Data.read()


def _ceil(number: float) -> int:
    """Scaled counts that are whole may be a hair more."""
    return ceil(round(number, 6))


def _time(name: str) -> float:
    return data().assumed("time", name)


WAITING = {
    "TransactWriteItems": "transaction_ms",
    "GetObject": "s3_get_ms",
    "PutObject": "s3_put_ms",
    "StartJobRun": "glue_ms",
}
"""The assumption for an operation; all others are DynamoDB's."""


def _waiting_ms(operation: str) -> float:
    # StartSyncExecution waits for the execution, whose duration is counted separately.
    return 0 if operation == "StartSyncExecution" else _time(WAITING.get(operation, "dynamodb_ms"))


def cpu_ms(function: str, counts: Counts) -> float:
    """CPU time of an invocation at a whole vCPU, as assumed."""
    messages = counts.files if function in MESSAGE_READERS else 0
    calls = sum(_calls(function, counts).values())
    items = counts.items_returned_in[function]
    variable = messages * _time("message_cpu_ms") + calls * _time("call_cpu_ms") + items * _time("item_cpu_ms")
    return _time("invocation_cpu_ms") + variable / counts.invocations[function]


def function_ms(function: str, counts: Counts) -> float:
    """Billed duration of a warm invocation."""
    share = min(1.0, deployment.memory_mb(function) / _time("vcpu_mb"))
    waiting = sum(
        number * _waiting_ms(operation) / _threads(function, operation)
        for operation, number in _calls(function, counts).items()
    )
    waiting += counts.bytes_read_in[function] / 4096 * _time("read_4kb_ms")
    own = cpu_ms(function, counts) / share + waiting / counts.invocations[function]
    if function == "StartWorkflow":
        own += execution_ms(counts) * counts.executions / counts.invocations[function]
    return _ceil(own)


def _threads(function: str, operation: str) -> int:
    return MARKING_THREADS if (function, operation) == ("UpdateStatus", "UpdateItem") else 1


def _calls(function: str, counts: Counts) -> dict[str, float]:
    return {
        key.removeprefix(f"{function} "): number
        for key, number in counts.calls_in.items()
        if key.startswith(f"{function} ")
    }


def execution_ms(counts: Counts) -> float:
    """Duration of an execution: the sum of its states; the items of a Map run in parallel."""
    waves = _ceil(counts.files / counts.executions / deployment.files_at_once())
    total = 0.0
    for state, entered in counts.transitions.items():
        in_turn = counts.executions * waves if state in deployment.states_of_a_file() else entered
        total += in_turn * (_time("state_ms") + (function_ms(state, counts) if counts.invocations[state] else 0))
    total += sum(number * _waiting_ms(operation) for operation, number in _calls("StateMachine", counts).items())
    return total / counts.executions


def express_gb_hours(counts: Counts) -> float:
    step_ms, step_mb = data().assumed("express", "step_ms"), data().assumed("express", "step_mb")
    items = counts.files / counts.executions
    payload_mb = (deployment.definition_bytes() + counts.largest_state_bytes * items) / 1024**2
    memory_mb = _ceil((data().assumed("express", "base_mb") + payload_mb) / step_mb) * step_mb
    hours = _ceil(execution_ms(counts) / step_ms) * step_ms / 3_600_000
    return counts.executions * hours * memory_mb / 1024


def lambda_gb_seconds(counts: Counts) -> float:
    return sum(
        number * function_ms(function, counts) / 1000 * deployment.memory_mb(function) / 1024
        for function, number in counts.invocations.items()
    )


def cold_start_gb_seconds(counts: Counts) -> float:
    def seconds(function: str) -> float:
        return _time("cold_start_ms" if _calls(function, counts) else "cold_start_without_aws_ms") / 1000

    return _time("cold_start_share") * sum(
        number * seconds(function) * deployment.memory_mb(function) / 1024
        for function, number in counts.invocations.items()
    )


def traces(counts: Counts) -> float:
    """Traces recorded of `counts.executions`, when they come evenly over the day."""
    per_second = data().files_per_day / 86400 * counts.executions / counts.files
    reservoir = data().assumed("tracing", "reservoir_per_second")
    recorded = min(per_second, reservoir) + data().assumed("tracing", "rate") * max(0.0, per_second - reservoir)
    return counts.executions * deployment.traces_per_execution() * recorded / per_second


def function_log_bytes(counts: Counts, settings: Settings) -> float:
    dropped = {"DEBUG"} if settings.log_level != "DEBUG" else set()
    overhead = data().assumed("logs", "event_overhead_bytes")
    return sum(
        size + overhead * counts.log_lines[level] for level, size in counts.log_bytes.items() if level not in dropped
    )


def execution_log_bytes(counts: Counts, settings: Settings) -> float:
    """All of it at ALL; at any other level nothing, as long as nothing fails."""
    if settings.execution_log_level != "ALL":
        return 0
    return counts.execution_log_bytes + data().assumed("logs", "event_overhead_bytes") * counts.execution_log_events


def usage(counts: Counts, settings: Settings, system: System = System.EXPRESS) -> list[Line]:
    """Cost of a million files without fixed costs. `counts` may be of any number of files."""
    million = counts.scaled(MILLION / counts.files)
    quantities = list(_quantities(million, settings, system))
    return [Line(group, name, quantity, data().price(price)) for group, name, quantity, price in quantities]


def _quantities(counts: Counts, settings: Settings, system: System) -> Iterator[tuple[str, str, float, str]]:
    yield "DynamoDB", "writes", counts.write_units, "dynamodb_write"
    yield "DynamoDB", "reads", counts.read_units, "dynamodb_read"
    yield "DynamoDB", "storage, one month", counts.stored_bytes / GB, "dynamodb_storage"
    yield "DynamoDB", "point-in-time recovery, one month", counts.stored_bytes / GB, "dynamodb_recovery"
    yield "Lambda", "requests", sum(counts.invocations.values()), "lambda_request"
    yield "Lambda", "duration", lambda_gb_seconds(counts), "lambda_gb_second"
    yield "Lambda", "cold starts", cold_start_gb_seconds(counts), "lambda_gb_second"
    if system is System.EXPRESS:
        yield "Step Functions", "executions", counts.executions, "express_request"
        yield "Step Functions", "duration", express_gb_hours(counts), "express_gb_hour"
    elif system is System.STANDARD:
        yield "Step Functions", "transitions", sum(counts.transitions.values()), "standard_transition"
    batches = counts.invocations[MONOLITH if system is System.MONOLITH else "StartWorkflow"]
    yield "SQS", "events sent by S3", counts.files, "sqs_request"
    yield "SQS", "receives and deletes", 2 * batches, "sqs_request"
    yield "S3", "manifests written", counts.calls["s3 PutObject"], "s3_put"
    yield "S3", "manifests read", counts.calls["s3 GetObject"], "s3_get"
    logged = function_log_bytes(counts, settings), execution_log_bytes(counts, settings)
    yield "Logs", "of functions", logged[0] / GB, "log_gb"
    yield "Logs", "of executions", logged[1] / GB, "log_gb"
    months = settings.log_retention_days / 30
    yield "Logs", "storage", sum(logged) / GB * data().assumed("logs", "compression") * months, "log_storage"
    if system is not System.MONOLITH:
        # The ends of runs are not played here: each manifest has one, and sends one event.
        yield "EventBridge", "events sent", counts.manifests + counts.calls["eventbridge PutEvents"], "event"
        yield "X-Ray", "traces", traces(counts), "trace"


def fixed(day: Counts, sweep: Counts, settings: Settings) -> list[Line]:
    """Fixed cost of a month."""
    price = data().price
    queue = data().assumed("queue", "pollers") * HOURS_PER_MONTH * 3600 / data().assumed("queue", "poll_seconds")
    roles = {key.split()[0] for key in day.calls_in if key.split()[1] in USES_OF_THE_TABLE}
    keys = len(roles) * HOURS_PER_MONTH * data().assumed("kms", "requests_per_hour")
    # One sweep is priced as if it were one file.
    one_sweep = sum(line.dollars for line in usage(replace(sweep, files=1), settings) if line.group != "SQS") / MILLION
    sweeps = deployment.sweeps_per_month()
    return [
        Line("Metrics", "custom metrics", len(day.metrics | sweep.metrics), price("metric")),
        Line("Metrics", "alarms", deployment.resources("AWS::CloudWatch::Alarm"), price("alarm")),
        Line("Metrics", "dashboards", deployment.resources("AWS::CloudWatch::Dashboard"), price("dashboard")),
        Line("SQS", "polls of the idle queue", queue, price("sqs_request")),
        Line("DynamoDB", "uses of the table's key", keys, price("kms_request")),
        Line("Sweep", "schedule", sweeps, price("schedule_invocation")),
        Line("Sweep", "sweeps", sweeps, Price(one_sweep, 1, "sweep", "all of the prices above")),
    ]


def dollars(lines: list[Line]) -> float:
    return sum(line.dollars for line in lines)


def total(usage_lines: list[Line], fixed_lines: list[Line]) -> float:
    """Dollars per million files with the fixed costs shared out."""
    return dollars(usage_lines) + dollars(fixed_lines) * MILLION / data().files_per_month


def glue_per_million(counts: Counts, minutes: float | None = None) -> float:
    """One job run for each manifest; the smallest, if no minutes are given."""
    minutes = data().assumed("glue", "minutes") if minutes is None else minutes
    dpu_hours = data().assumed("glue", "dpu") * minutes / 60
    return data().price("glue_dpu_hour").of(counts.manifests / counts.files * MILLION * dpu_hours)


def job_seconds(megabytes: float, megabytes_per_core: float) -> float:
    """Of the default Glue job for a manifest of this size, if a vCPU of Glue does as much as a core here."""
    rate = megabytes_per_core * data().assumed("glue", "vcpus")
    return data().assumed("glue", "start_seconds") + megabytes / rate


def job_per_million(batch_gb: float, file_bytes: int, megabytes_per_core: float, dpu_hour: str) -> float:
    """A run for each manifest of this size (GB of 1024^3 bytes), billed by the second, and for a minute at least.

    `dpu_hour`: the name of the price in prices.toml.
    """
    hours = max(60, job_seconds(batch_gb * GB / 1e6, megabytes_per_core)) / 3600
    manifests = MILLION * file_bytes / (batch_gb * GB)
    return data().price(dpu_hour).of(manifests * data().assumed("glue", "dpu") * hours)
