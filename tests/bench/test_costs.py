"""Costs in dollars, compared with calculations by hand from the prices in dev/bench/prices.toml."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dev.bench import costs, deployment
from dev.bench.costs import Line, Price, System
from dev.bench.counts import Counts

PROD = deployment.settings("prod")
DEV = deployment.settings("dev")


def ten_files(**changes: Any) -> Counts:
    """One execution of ten files, all of them tracked, with numbers that are easy to multiply."""
    counts = Counts(
        files=10,
        calls=Counter({"dynamodb PutItem": 10, "s3 PutObject": 1, "glue StartJobRun": 1}),
        calls_in=Counter({"TrackFile PutItem": 10, "StateMachine StartJobRun": 1}),
        read_units=5,
        write_units=40,
        invocations=Counter({"StartWorkflow": 1, "ValidateFile": 10, "TrackFile": 10}),
        executions=1,
        transitions=Counter({"Source": 1, "ValidateFile": 10, "TrackFile": 10, "Done": 1}),
        execution_log_bytes=974_000,
        execution_log_events=1000,
        log_bytes=Counter({"DEBUG": 9_740, "INFO": 974, "METRICS": 0}),
        log_lines=Counter({"DEBUG": 10, "INFO": 1}),
        stored_bytes=10 * 600,
    )
    return replace(counts, **changes)


def dollars_by_name(lines: list[Line]) -> dict[tuple[str, str], float]:
    return {(line.group, line.name): line.dollars for line in lines}


def test_refused_files_and_flushes_send_events_besides_the_ends_of_manifests() -> None:
    calls = Counter({"glue StartJobRun": 1, "eventbridge PutEvents": 3})
    lines = dollars_by_name(costs.usage(ten_files(calls=calls), PROD))
    assert lines["EventBridge", "events sent"] == pytest.approx(0.4 * 1.00)
    assert ("EventBridge", "events sent") not in dollars_by_name(costs.usage(ten_files(), PROD, System.MONOLITH))


def test_a_price_is_for_so_many_units() -> None:
    assert Price(0.4, 1_000_000, "request", "").of(2_500_000) == 1.0


@pytest.mark.parametrize(
    ("group", "name", "expected"),
    [
        ("DynamoDB", "writes", 4 * 0.625),
        ("DynamoDB", "reads", 0.5 * 0.125),
        ("DynamoDB", "storage, one month", 600e6 / 1024**3 * 0.25),
        ("DynamoDB", "point-in-time recovery, one month", 600e6 / 1024**3 * 0.20),
        ("Lambda", "requests", 2.1 * 0.20),
        ("Step Functions", "executions", 0.1 * 1.00),
        ("SQS", "events sent by S3", 0.40),
        ("SQS", "receives and deletes", 0.2 * 0.40),
        ("S3", "manifests written", 0.1 * 5.00),
        ("S3", "manifests read", 0),
        ("EventBridge", "events sent", 0.1 * 1.00),
        # A line of 974 bytes, plus 26 bytes that CloudWatch adds.
        ("Logs", "of functions", 100_000 * 1000 / 1024**3 * 0.50),
        ("Logs", "of executions", 0),
    ],
)
def test_a_million_files_in_prod_cost(group: str, name: str, expected: float) -> None:
    assert dollars_by_name(costs.usage(ten_files(), PROD))[group, name] == pytest.approx(expected)


def test_dev_pays_for_its_debug_lines_and_for_the_log_of_executions() -> None:
    lines = dollars_by_name(costs.usage(ten_files(), DEV))

    assert lines["Logs", "of functions"] == pytest.approx(1_100_000 * 1000 / 1024**3 * 0.50, rel=0.1)
    assert lines["Logs", "of executions"] == pytest.approx(100_000 * 1_000_000 / 1024**3 * 0.50)


def test_standard_pays_for_transitions_and_express_for_executions_and_time() -> None:
    express = dollars_by_name(costs.usage(ten_files(), PROD))
    standard = dollars_by_name(costs.usage(ten_files(), PROD, System.STANDARD))

    assert standard["Step Functions", "transitions"] == pytest.approx(2.2 * 25.00)
    assert express.keys() - standard.keys() == {("Step Functions", "executions"), ("Step Functions", "duration")}


def test_the_monolith_has_neither_executions_nor_traces() -> None:
    counts = ten_files(invocations=Counter({"Monolith": 1}), executions=0, transitions=Counter())
    groups = {line.group for line in costs.usage(counts, PROD, System.MONOLITH)}

    assert groups == {"DynamoDB", "Lambda", "SQS", "S3", "Logs"}


def test_a_function_takes_its_cpu_time_at_its_share_of_a_vcpu_and_its_waiting() -> None:
    share = deployment.memory_mb("TrackFile") / 1769

    assert costs.cpu_ms("TrackFile", ten_files()) == pytest.approx(0.5 + 4.0)
    assert costs.function_ms("TrackFile", ten_files()) == pytest.approx(4.5 / share + 5.0, abs=1)


def test_files_of_a_map_run_side_by_side_and_other_states_in_turn() -> None:
    counts = ten_files()
    validate, track = costs.function_ms("ValidateFile", counts), costs.function_ms("TrackFile", counts)

    # The states Source, ValidateFile, TrackFile and Done, once each, and Glue's response.
    assert costs.execution_ms(counts) == pytest.approx(4 * 15.0 + validate + track + 250.0)


def test_an_execution_is_billed_in_steps_of_100_ms_and_64_mb() -> None:
    milliseconds = costs.execution_ms(ten_files())
    steps = -(-milliseconds // 100)

    assert costs.express_gb_hours(ten_files()) == pytest.approx(steps * 0.1 / 3600 * 64 / 1024)


def test_the_trigger_waits_for_its_execution() -> None:
    counts = ten_files()

    assert costs.function_ms("StartWorkflow", counts) > costs.execution_ms(counts)


def test_below_the_reservoir_every_execution_is_traced() -> None:
    # 100,000 files a day in batches of ten: one execution every nine seconds.
    assert costs.traces(ten_files()) == deployment.traces_per_execution()


def test_above_the_reservoir_one_in_twenty_is_traced() -> None:
    # One execution per file: 1.157 a second. The first is free of the surcharge, the rest costs a twentieth.
    one_by_one = ten_files(executions=10)
    recorded = (1 + 0.05 * (100_000 / 86400 - 1)) / (100_000 / 86400)

    assert costs.traces(one_by_one) == pytest.approx(10 * recorded * deployment.traces_per_execution())


def test_fixed_costs_are_shared_out_over_a_months_files() -> None:
    shared = costs.total([Line("", "", 1, Price(2, 1, "", ""))], [Line("", "", 1, Price(6, 1, "", ""))])

    assert shared == pytest.approx(2 + 6 / 3)


def test_a_month_costs_its_metrics_its_polls_its_key_and_its_sweeps() -> None:
    day = ten_files(metrics=Counter({"FilesTracked": 5, "BytesTracked": 5}))
    sweep = Counts(
        calls_in=Counter({"FindStalledDates Scan": 1}),
        read_units=2,
        invocations=Counter({"FindStalledDates": 1}),
        executions=1,
        transitions=Counter({"FindStalledDates": 1}),
        metrics=Counter({"PendingBytes": 1}),
    )
    lines = dollars_by_name(costs.fixed(day, sweep, PROD))

    assert lines["Metrics", "custom metrics"] == pytest.approx(3 * 0.30)
    assert lines["SQS", "polls of the idle queue"] == pytest.approx(5 * 30 * 86400 / 20 * 0.40e-6)
    assert lines["DynamoDB", "uses of the table's key"] == pytest.approx(1 * 720 * 12 * 3e-6)
    # At least the execution, its function and its reads.
    assert lines["Sweep", "sweeps"] > 30 * 24 * 4 * (1.00 + 0.20 + 2 * 0.125) * 1e-6


def test_glue_is_paid_by_the_manifest() -> None:
    # A manifest in ten files, two DPU for a minute each.
    assert costs.glue_per_million(ten_files()) == pytest.approx(100_000 * 2 / 60 * 0.44)


def test_a_run_of_the_job_is_billed_for_a_minute_at_least_and_by_the_second_beyond() -> None:
    file_bytes, per_core = 1024**2, 10.0
    # 0.1 GB: 102.4 files of 1 MB, 20 s and 107.4 MB at 40 MB/s. 10 GB: 10,240 files, 20 s and 10,737 MB at 40 MB/s.
    small = costs.job_per_million(0.1, file_bytes, per_core, "glue_dpu_hour")
    large = costs.job_per_million(10, file_bytes, per_core, "glue_dpu_hour")

    assert small == pytest.approx(1_000_000 / 102.4 * 2 / 60 * 0.44)
    assert large == pytest.approx(1_000_000 / 10_240 * 2 * (20 + 10_737.4 / 40) / 3600 * 0.44, rel=1e-5)
    assert costs.job_per_million(10, file_bytes, per_core, "glue_flex_dpu_hour") == pytest.approx(large * 0.29 / 0.44)


def test_all_lines_of_a_bill_add_up() -> None:
    lines = costs.usage(ten_files(), PROD)

    assert costs.dollars(lines) == pytest.approx(sum(dollars_by_name(lines).values()))


@pytest.mark.parametrize("scale", [0.1, 3])
def test_the_price_of_a_million_files_does_not_depend_on_how_many_were_measured(scale: float) -> None:
    counts = ten_files(executions=1)
    bill: Callable[[Counts], float] = lambda measured: costs.dollars(costs.usage(measured, PROD))  # noqa: E731

    assert bill(counts.scaled(scale)) == pytest.approx(bill(counts))
