"""ReportResult: the output, the log lines and the metrics of an execution."""

from typing import Any

import pytest

import report_result
from dev.simulator.telemetry import Telemetry


def a_result(outcome: str, message_id: str = "message-1", size_bytes: int = 10) -> dict[str, Any]:
    file = {"message_id": message_id, "file_path": f"s3://b/{message_id}", "size_bytes": size_bytes, "outcome": outcome}
    return file | {"error": "States.Timeout"} if outcome == "failed" else file


def a_date(*files: dict[str, Any], outcome: str = "done", jobs_waiting: int = 0) -> dict[str, Any]:
    date = {"date_prefix": "2025-12-23", "outcome": outcome, "files": list(files), "jobs_waiting": jobs_waiting}
    return date if outcome == "done" else date | {"error": "LockLost"}


def report(*dates: dict[str, Any], rejected: list[dict[str, str]] | None = None, ignored: int = 0) -> dict[str, Any]:
    event = {"run_id": "run-1", "dates": list(dates), "rejected": rejected or [], "ignored": ignored}
    return report_result.handler(event, None)


def test_the_output_of_an_execution_without_files_has_every_field() -> None:
    assert report() == {
        "batchItemFailures": [],
        "refused": [],
        "failed_dates": 0,
        "locks_left": 0,
        "files": dict.fromkeys(report_result.FILE_OUTCOMES, 0),
        "rejected": 0,
        "ignored": 0,
        "jobs_waiting": 0,
    }


def test_files_of_all_dates_are_counted_by_outcome() -> None:
    answer = report(
        a_date(a_result("tracked"), a_result("tracked"), a_result("duplicate")),
        a_date(a_result("quarantined"), a_result("superseded"), a_result("failed"), a_result("deleted")),
        a_date(a_result("untracked")),
        ignored=3,
    )

    assert answer["files"] == dict.fromkeys(report_result.FILE_OUTCOMES, 1) | {"tracked": 2}
    assert answer["ignored"] == 3


@pytest.mark.parametrize("outcome", ["tracked", "duplicate", "superseded", "quarantined", "deleted", "untracked"])
def test_a_message_without_a_failed_file_is_not_a_batch_item_failure(outcome: str) -> None:
    assert report(a_date(a_result(outcome)))["batchItemFailures"] == []


def test_a_message_with_failed_or_rejected_files_is_one_batch_item_failure() -> None:
    answer = report(
        a_date(a_result("failed", "message-2"), a_result("tracked", "message-2"), a_result("failed", "message-3")),
        a_date(a_result("failed", "message-3"), a_result("tracked", "message-4")),
        rejected=[
            {"messageId": "message-1", "reason": "the body is not JSON"},
            {"messageId": "message-2", "reason": "x"},
        ],
    )

    assert answer["batchItemFailures"] == [
        {"itemIdentifier": "message-2", "error": "States.Timeout"},
        {"itemIdentifier": "message-3", "error": "States.Timeout"},
        {"itemIdentifier": "message-1"},
    ]
    assert answer["rejected"] == 2


def test_a_rejected_message_is_refused_for_good_unless_one_of_its_files_failed() -> None:
    rejected = [{"messageId": f"message-{number}", "reason": "record 2 has no key"} for number in (1, 2)]

    answer = report(a_date(a_result("failed", "message-2"), a_result("tracked", "message-1")), rejected=rejected)

    assert answer["refused"] == rejected[:1]


def test_failed_dates_are_counted_and_include_dates_whose_lock_was_not_released() -> None:
    answer = report(a_date(), a_date(outcome="failed"), a_date(outcome="lock_left"))

    assert (answer["failed_dates"], answer["locks_left"]) == (2, 1)


def test_waiting_jobs_are_summed() -> None:
    assert report(a_date(jobs_waiting=2), a_date(jobs_waiting=3))["jobs_waiting"] == 5


def test_every_outcome_has_its_metric(log: Telemetry) -> None:
    report(
        a_date(
            a_result("tracked", size_bytes=10),
            a_result("tracked", size_bytes=20),
            a_result("duplicate", size_bytes=1000),
            a_result("superseded"),
            a_result("quarantined", size_bytes=1000),
            a_result("deleted"),
            a_result("untracked"),
            a_result("failed"),
            jobs_waiting=4,
        ),
        rejected=[{"messageId": "m", "reason": "r"}],
    )

    assert log.metrics == {
        "FilesTracked": 2,
        "FilesDuplicate": 1,
        "FilesSuperseded": 1,
        "FilesQuarantined": 1,
        "FilesDeleted": 1,
        "FilesUntracked": 1,
        "FilesFailed": 1,
        "BytesTracked": 30,
        "MessagesRejected": 1,
        "JobsWaiting": 4,
    }


def test_the_average_of_files_quarantined_is_the_share_of_quarantined_files_among_validated_files(
    log: Telemetry,
) -> None:
    duplicates_are_not_judged_again = [a_result("duplicate"), a_result("superseded"), a_result("failed")]
    report(a_date(*[a_result("tracked")] * 3, a_result("quarantined"), *duplicates_are_not_judged_again))

    (values,) = [values for (_, name, _), values in log.metric_values.items() if name == "FilesQuarantined"]
    assert sorted(values) == [0, 0, 0, 1]


def test_metrics_count_all_of_hundreds_of_files(log: Telemetry) -> None:
    report(a_date(*[a_result("tracked")] * 250, *[a_result("quarantined")] * 150))

    assert log.metrics["FilesQuarantined"] == 150
    assert log.metrics["FilesTracked"] == 250


@pytest.mark.parametrize(("error", "failed"), [("Glue.EntityNotFoundException", 1), ("States.Timeout", 0)])
def test_an_error_returned_by_glue_is_counted_as_a_failed_start(log: Telemetry, error: str, failed: int) -> None:
    report(a_date(outcome="failed") | {"error": error}, a_date())

    assert log.metrics.get("JobStartsFailed", 0) == failed


def test_an_execution_without_files_writes_no_metric(log: Telemetry) -> None:
    report(a_date())

    assert log.metrics == {}


def test_a_failed_file_is_logged_with_its_path_and_error(log: Telemetry) -> None:
    report(a_date(a_result("failed", "message-2"), a_result("tracked")))

    (line,) = log.at_least("WARNING")
    assert (line["level"], line["file_path"], line["error"]) == ("ERROR", "s3://b/message-2", "States.Timeout")
    assert line["run_id"] == "run-1"


@pytest.mark.parametrize("outcome", ["failed", "lock_left"])
def test_a_failed_date_is_logged_with_its_error(log: Telemetry, outcome: str) -> None:
    report(a_date(outcome=outcome))

    (line,) = log.at_least("WARNING")
    assert (line["level"], line["date_prefix"], line["error"]) == ("ERROR", "2025-12-23", "LockLost")
