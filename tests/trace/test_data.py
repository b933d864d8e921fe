"""The data of the page: the result of each execution, and the facts that its history does not contain."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from dev.simulator.acts import DAY, NEXT_DAY
from dev.trace.data import MAX_EXECUTIONS, Execution, page_data
from tests.run.kept import MANIFEST, REFUSED, VALID
from tests.trace.emulated import execution

MIXED, FAILING, RESUMING, VERSION, SWEEP = range(5)


@pytest.fixture(scope="session")
def tour_data(tour_executions: list[Execution]) -> list[dict[str, Any]]:
    drawn: list[dict[str, Any]] = page_data("tour", tour_executions, "then")["executions"]
    return drawn


def fates(drawn: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    """By key: the outcome, the reason, and the file's row in the table."""
    return {
        file["uri"].removeprefix("s3://input-bucket/"): (
            file["outcome"],
            file["why"],
            file["manifest"] or file["status"],
        )
        for file in drawn["files"]
    }


def test_a_mixed_batch_says_of_every_file_what_became_of_it_and_why(tour_data: list[dict[str, Any]]) -> None:
    found = fates(tour_data[MIXED])
    # The files are tracked concurrently, so it varies which of them are left for the next batch.
    manifested = [found.pop(key) for key in list(found) if found[key][2].startswith("12-23 #")]
    assert Counter(manifested) == {("tracked", "", "12-23 #1"): 3, ("tracked", "", "12-23 #2"): 2}
    assert found == {
        f"orders/{DAY}-orders-03.ndjson": ("failed", "RuntimeError: TrackFile broke", "not in the table"),
        f"orders/{DAY}-orders.csv": ("quarantined", "Invalid extension", "quarantined"),
        f"orders/{DAY}-orders-large.ndjson": ("quarantined", "Size 20.00MB out of range", "quarantined"),
        f"orders/{NEXT_DAY}-orders-00.ndjson": ("tracked", "", "pending"),
    }
    assert [message["messageId"] for message in tour_data[MIXED]["rejected"]] == ["message of somebody else"]
    assert tour_data[MIXED]["messagesBack"] == 2


def test_a_failing_build_leaves_an_open_manifest_and_no_lock(tour_data: list[dict[str, Any]]) -> None:
    failing = tour_data[FAILING]
    (manifest,) = failing["manifests"]
    assert failing["status"] == "FAILED"
    assert failing["error"].startswith("ManifestFailed: ")
    assert failing["states"]["UpdateStatus"]["status"] == "failed"
    assert failing["states"]["BuildManifest"]["status"] == "caught"
    assert (failing["locksTaken"], failing["locksReleased"]) == (1, 1)
    assert failing["messagesBack"] is None
    assert (manifest["isResumed"], manifest["jobRunId"], manifest["fileCount"]) == (False, None, 3)


def test_a_redelivery_takes_the_open_manifest_up_again(tour_data: list[dict[str, Any]]) -> None:
    (created,), (resumed,) = tour_data[FAILING]["manifests"], tour_data[RESUMING]["manifests"]
    assert resumed["path"] == created["path"]
    assert resumed["isResumed"]
    assert resumed["jobRunId"]
    assert fates(tour_data[RESUMING])[f"orders/{NEXT_DAY}-orders-01.ndjson"][0] == "duplicate"


def test_a_sweep_has_manifests_and_no_files_of_its_own(tour_data: list[dict[str, Any]]) -> None:
    assert tour_data[SWEEP]["files"] == []
    assert sorted(manifest["name"] for manifest in tour_data[SWEEP]["manifests"]) == ["12-23 #3", "12-24 #2"]
    assert "FindStalledDates" in tour_data[SWEEP]["states"]


def test_two_versions_of_a_file_are_each_in_a_manifest_of_their_own(tour_data: list[dict[str, Any]]) -> None:
    path = "s3://input-bucket/orders/2025-12-23-orders-00.ndjson"
    arrived = [file["version"] for each in tour_data for file in each["files"] if file["uri"] == path]
    named = {
        manifest["name"]: dict(manifest["versions"]).get(path) for each in tour_data for manifest in each["manifests"]
    }

    assert len(set(arrived)) == 2
    assert [version for version in named.values() if version] == arrived
    assert tour_data[VERSION]["files"][0]["outcome"] == "tracked"


def test_a_file_whose_execution_did_not_end_is_unknown_and_not_forgotten() -> None:
    whole = execution()
    until_the_map = [event for event in whole.events if event["id"] <= 7]
    (drawn,) = page_data("cut off", [replace(whole, status="RUNNING", events=until_the_map)], "then")["executions"]
    assert {file["outcome"] for file in drawn["files"]} == {"unknown"}
    assert {file["uri"] for file in drawn["files"]} == {VALID, REFUSED}
    assert drawn["seconds"] > 0


def test_of_an_engine_that_tells_of_calls_alone_the_rest_is_not_called_idle() -> None:
    data = page_data("emulated", [execution(), execution(dates=False)], "at the end")
    drawn, without_dates = data["executions"]
    untold = {name for name, state in drawn["states"].items() if state["status"] == "untold"}
    assert {"ForEachFile", "IsFileValid", "FileFailed", "BuildManifest", "DateDone"} <= untold
    assert not {"ValidateFile", "AcquireLock", "StartGlueJob", "RecordJobRun", "ForEachDate", "Done"} & untold
    assert drawn["states"]["ValidateFile"]["visits"] == 2
    assert "AcquireLock" not in drawn["states"]
    assert "untold" not in {state["status"] for state in without_dates["states"].values()}
    assert without_dates["title"] == "1 rejected message"


def test_of_an_engine_that_tells_of_calls_alone_files_have_their_outcome_all_the_same() -> None:
    (drawn,) = page_data("emulated", [execution()], "at the end")["executions"]
    valid, refused = drawn["files"]
    assert (valid["outcome"], valid["manifestPath"]) == ("tracked", MANIFEST)
    assert (refused["outcome"], refused["why"]) == ("quarantined", "Invalid extension")
    assert drawn["title"] == "2 files"


def test_log_lines_of_the_run_are_among_the_entries() -> None:
    lines = {"another run": execution().log["run-1"], **execution().log}
    (drawn,) = page_data("emulated", [replace(execution(), log=lines)], "at the end")["executions"]
    assert [entry["message"] for entry in drawn["entries"] if entry["kind"] == "log"] == ["debug: ended, valid"]


def test_of_too_many_executions_the_plain_ones_are_left_out() -> None:
    plain = replace(execution(dates=False), events=without_rejections())
    data = page_data("many", [*[plain] * MAX_EXECUTIONS, execution()], "at the end")
    assert data["leftOut"] == 1
    assert [drawn["title"] for drawn in data["executions"]] == ["nothing to do"] * (MAX_EXECUTIONS - 1) + ["2 files"]


def without_rejections() -> list[dict[str, Any]]:
    rejected = '"rejected": [{"messageId": "message-1", "reason": "no event"}]'
    return [
        {
            name: {key: value.replace(rejected, '"rejected": []') for key, value in part.items()}
            if isinstance(part, dict)
            else part
            for name, part in event.items()
        }
        for event in execution(dates=False).events
    ]
