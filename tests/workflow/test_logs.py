"""The log lines of real runs of the definition, and the results of the documented queries on them."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from dev.simulator.acts import DAY, LIMIT_30_MB, deliver
from dev.simulator.insights import run_query
from dev.simulator.telemetry import captured
from dev.simulator.world import FUNCTIONS, World
from tests.documents.markdown import queries
from tests.workflow.scenarios import mixed, one_file_fails

pytestmark = pytest.mark.xdist_group("logs")

# The file in the documented query. `deliver` uploads a file of this name.
FILE = f"{DAY}-file001.ndjson"
FILE_BOXES = {"ValidateFile", "TrackFile", "QuarantineFile", "RecordRemoval"}


@dataclass(frozen=True)
class Run:
    """The log lines, the table's rows, and the names of the executions."""

    lines: list[dict[str, Any]]
    files: dict[str, dict[str, Any]]
    executions: set[str]


def run(level: str, *acts: Callable[[World], Any]) -> Run:
    with World(environment=LIMIT_30_MB) as world, captured(level) as telemetry:
        for act in acts:
            act(world)
        pages = world.sfn.get_paginator("list_executions").paginate(stateMachineArn=world.machine)
        executions = {execution["name"] for page in pages for execution in page["executions"]}
        return Run(telemetry.lines, world.files(), executions)


@pytest.fixture(scope="module")
def everything() -> Run:
    """Files of every kind, two manifests, a file that fails, a sweep and a removal, with all levels logged."""
    return run("DEBUG", mixed, deliver(3), one_file_fails, World.sweep, delete_one)


def delete_one(world: World) -> Any:
    return world.deliver(world.delete(f"a/{DAY}-file000.ndjson"))


@pytest.fixture(scope="module")
def in_production() -> Run:
    return run("INFO", mixed, deliver(3), one_file_fails, World.sweep)


def test_every_box_ends_each_invocation_with_one_line_that_says_what_it_was_about(everything: Run) -> None:
    ends = [line for line in everything.lines if "duration_ms" in line]

    assert {line["box"] for line in ends} == set(FUNCTIONS)
    assert {line["execution"] for line in ends} == everything.executions
    of_a_run = defaultdict(set)
    for line in ends:
        of_a_run[line["run_id"]].add(line["execution"])
        assert line["outcome"], line
        assert ("file_path" in line) == (line["box"] in FILE_BOXES), line
        about_all_dates = line["box"] in ("ParseEvent", "FindStalledDates", "RecordOutcome", "ReportResult")
        assert ("date_prefix" in line) == (not about_all_dates), line
    assert [len(executions) for executions in of_a_run.values()] == [1] * len(everything.executions)


def test_what_became_of_a_file(everything: Run) -> None:
    query = queries()["Which boxes has a file passed, with which outcome?"].replace(FILE, f"a/{FILE}")
    (row,) = (row for path, row in everything.files.items() if path.endswith(f"a/{FILE}"))

    found = run_query(query, everything.lines)

    assert [line["@timestamp"] for line in found] == sorted(line["@timestamp"] for line in found)
    # Uploaded once, and delivered twice.
    assert Counter((line["box"], line["outcome"]) for line in found) == {
        ("ValidateFile", "valid"): 2,
        ("TrackFile", "tracked"): 1,
        ("TrackFile", "duplicate"): 1,
        ("UpdateStatus", "manifested"): 1,
    }
    (manifested,) = (line for line in found if line["outcome"] == "manifested")
    assert manifested["manifest_path"] == row["manifest_path"]
    assert {line["execution"] for line in found} < everything.executions


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("data.csv", ("QuarantineFile", "quarantined", "Invalid extension", None)),
        ("file004.ndjson", ("ReportResult", "failed", None, "RuntimeError")),
    ],
)
def test_what_became_of_a_file_that_was_refused_or_failed_is_known_in_production_too(
    in_production: Run, name: str, said: tuple[str | None, ...]
) -> None:
    query = queries()["Which boxes has a file passed, with which outcome?"].replace("file001.ndjson", name)

    (line,) = run_query(query, in_production.lines)

    assert (line["box"], line["outcome"], line["reason"], line["error"]) == said


def test_which_boxes_are_the_slowest(everything: Run) -> None:
    durations = defaultdict(list)
    for line in everything.lines:
        if "duration_ms" in line:
            durations[line["box"]].append(line["duration_ms"])

    found = run_query(queries()["Which boxes are the slowest?"], everything.lines)

    assert {row["box"]: (row["invocations"], row["slowest_ms"]) for row in found} == {
        box: (len(times), max(times)) for box, times in durations.items()
    }
    assert [row["p95_ms"] for row in found] == sorted((row["p95_ms"] for row in found), reverse=True)
    assert all(row["mean_ms"] <= row["slowest_ms"] >= row["p95_ms"] for row in found)


def test_why_files_were_quarantined(in_production: Run) -> None:
    refused = {path: row["reason"] for path, row in in_production.files.items() if row["status"] == "quarantined"}

    found = run_query(queries()["Why were files quarantined?"], in_production.lines)

    assert len(refused) == 2
    assert {row["reason"]: row["files"] for row in found} == Counter(refused.values())
    assert {row["example"]: row["reason"] for row in found} == refused


def test_what_a_query_counts_is_what_is_there() -> None:
    """The stand-in itself: groups, percentiles, the latest value, order and limit."""
    lines = [
        {"timestamp": f"2026-01-01T00:00:0{second}.000+00:00", "box": box, "ms": ms, "path": f"{box} {second}"}
        for second, (box, ms) in enumerate([("a", 4), ("a", 1), ("b", 9), ("a", 3), ("a", 2), ("c", 5)])
    ]
    query = "stats count(*) as n, pct(ms, 50) as p50, pct(ms, 95) as p95, latest(path) as path by box"

    assert run_query(f"{query} | sort n desc, p95 desc | limit 2", lines) == [
        {"box": "a", "n": 4, "p50": 2, "p95": 4, "path": "a 4"},
        {"box": "b", "n": 1, "p50": 9, "p95": 9, "path": "b 2"},
    ]
    assert run_query("fields ms | filter path like 'a' and ms > 3", lines) == [{"ms": 4}]
    with pytest.raises(Exception, match="no such column: nonsense"):
        run_query("filter nonsense = 1", lines)


@pytest.mark.parametrize(("level", "at_most"), [("INFO", 300), ("DEBUG", 1600)])
def test_a_file_in_a_batch_of_ten_costs_few_bytes_of_log(level: str, at_most: int) -> None:
    trace = "Root=1-67444444-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1"
    environment = {"_X_AMZN_TRACE_ID": trace, "MAX_BATCH_SIZE_GB": "0.7"}
    with World(environment=environment) as world, captured(level) as telemetry:
        # The suffix of a deployed bucket's name.
        deliver(10, folder="manifest-builder-prod-123456789012-us-east-1")(world)

    written = telemetry.log_output.getvalue() + telemetry.metric_output.getvalue()

    assert len(written.encode()) / 10 < at_most
