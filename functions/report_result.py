"""ReportResult: what the execution has to say, small: which messages go back, and how many files became what."""

from collections import Counter
from typing import Any

from manifest_builder.telemetry import box, count, count_bytes, logger

METRIC_OF_OUTCOME = {
    "tracked": "FilesTracked",
    "duplicate": "FilesDuplicate",
    "superseded": "FilesSuperseded",
    "quarantined": "FilesQuarantined",
    "failed": "FilesFailed",
}


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The contract with start_workflow: batchItemFailures are the messages with a rejected or failed file.

    in:  {"run_id", "dates": [{"date_prefix", "outcome": "done" | "failed" | "lock_left", "files": [{"message_id",
          "file_path", "size_bytes", "outcome"}], "jobs_waiting": n}], "rejected": [{"messageId", "reason"}],
          "ignored": n}
    out: {"batchItemFailures": [{"itemIdentifier"}], "failed_dates": n, "locks_left": n, "files": {outcome: n},
          "rejected": n, "ignored": n, "jobs_waiting": n}
    """
    files = [file for date in event["dates"] for file in date["files"]]
    outcomes = Counter(file["outcome"] for file in files)
    back_to_queue = {message["messageId"] for message in event["rejected"]}
    for file in files:
        if file["outcome"] == "failed":
            back_to_queue.add(file["message_id"])
            logger.error("file failed", extra={"file_path": file["file_path"], "error": file["error"]})
    dates = Counter(date["outcome"] for date in event["dates"])
    for date in event["dates"]:
        if date["outcome"] != "done":
            logger.error("date failed", extra={"date_prefix": date["date_prefix"], "error": date["error"]})
    jobs_waiting = sum(date["jobs_waiting"] for date in event["dates"])

    for outcome, number in outcomes.items():
        count(METRIC_OF_OUTCOME[outcome], number)
    if outcomes["tracked"]:
        count_bytes("BytesTracked", sum(file["size_bytes"] for file in files if file["outcome"] == "tracked"))
    if event["rejected"]:
        count("MessagesRejected", len(event["rejected"]))
    if jobs_waiting:
        count("JobsWaiting", jobs_waiting)
    return {
        "batchItemFailures": [{"itemIdentifier": message_id} for message_id in sorted(back_to_queue)],
        "failed_dates": dates["failed"] + dates["lock_left"],
        "locks_left": dates["lock_left"],
        "files": {outcome: outcomes[outcome] for outcome in METRIC_OF_OUTCOME},
        "rejected": len(event["rejected"]),
        "ignored": event["ignored"],
        "jobs_waiting": jobs_waiting,
    }
