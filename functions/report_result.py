"""ReportResult: the output of the execution: the messages that go back to the queue, and counts of files by outcome."""

from collections import Counter
from typing import Any

from manifest_builder.telemetry import box, count, count_bytes, logger, outcome

FILE_OUTCOMES = ("tracked", "duplicate", "superseded", "quarantined", "deleted", "untracked", "failed")


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The contract with start_workflow: batchItemFailures are the messages with a rejected or failed file; of these,
    the refused ones have no file that failed, so nothing of them is left to do.

    in:  {"run_id", "execution", "dates": [{"date_prefix", "outcome": "done" | "failed" | "lock_left",
          "files": [{"message_id", "file_path", "size_bytes", "outcome"}], "jobs_waiting": n}],
          "rejected": [{"messageId", "reason"}], "ignored": n}; failed files and dates have an "error"
    out: {"batchItemFailures": [{"itemIdentifier", "error": of a failed file}], "refused": [{"messageId", "reason"}],
          "failed_dates": n, "locks_left": n, "files": {outcome: n}, "rejected": n, "ignored": n, "jobs_waiting": n}
    """
    files = [file for date in event["dates"] for file in date["files"]]
    errors: dict[str, str] = {}
    for file in files:
        if file["outcome"] == "failed":
            errors[file["message_id"]] = file["error"]
            log_failure("file failed", file, "file_path")
    refused = [message for message in event["rejected"] if message["messageId"] not in errors]
    for date in event["dates"]:
        if date["outcome"] != "done":
            log_failure("date failed", date, "date_prefix")

    dates = Counter(date["outcome"] for date in event["dates"])
    answer = {
        "batchItemFailures": [
            *({"itemIdentifier": message_id, "error": errors[message_id]} for message_id in sorted(errors)),
            *({"itemIdentifier": message["messageId"]} for message in refused),
        ],
        "refused": refused,
        "failed_dates": dates["failed"] + dates["lock_left"],
        "locks_left": dates["lock_left"],
        "files": {name: sum(file["outcome"] == name for file in files) for name in FILE_OUTCOMES},
        "rejected": len(event["rejected"]),
        "ignored": event["ignored"],
        "jobs_waiting": sum(date["jobs_waiting"] for date in event["dates"]),
    }
    write_metrics(event, answer)
    numbers = {**answer["files"], **answer}
    outcome("reported", **{name: number for name, number in numbers.items() if isinstance(number, int) and number})
    return answer


def log_failure(message: str, failed: dict[str, Any], name: str) -> None:
    logger.error(message, extra={key: failed[key] for key in (name, "outcome", "error")})


def write_metrics(event: dict[str, Any], answer: dict[str, Any]) -> None:
    """Writes the metrics of an execution. A metric that is zero is left out, except FilesQuarantined."""
    counts = {f"Files{name.capitalize()}": number for name, number in answer["files"].items() if name != "quarantined"}
    counts["MessagesRejected"] = answer["rejected"]
    counts["JobsWaiting"] = answer["jobs_waiting"]
    # Step Functions prefixes the error of a service integration with the service's name.
    counts["JobStartsFailed"] = sum(date.get("error", "").startswith("Glue.") for date in event["dates"])
    for name, number in counts.items():
        if number:
            count(name, number)
    # One value per validated file, 0 or 1: their sum is the number of refused files, their average the share.
    for was_refused in [0] * answer["files"]["tracked"] + [1] * answer["files"]["quarantined"]:
        count("FilesQuarantined", was_refused)
    if answer["files"]["tracked"]:
        tracked = [file for date in event["dates"] for file in date["files"] if file["outcome"] == "tracked"]
        count_bytes("BytesTracked", sum(file["size_bytes"] for file in tracked))
