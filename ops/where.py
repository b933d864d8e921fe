"""Where is my file? Its row in the table, the manifest that names it, and the run of the job that reads that.

Exit code 1 where the table does not know the file. Changes nothing.
"""

import argparse
from typing import Any

import boto3
from botocore.exceptions import ClientError
from rich.markup import escape

from local.report import size
from manifest_builder import aws, tracking
from manifest_builder.files import FileVersion, date_in_key
from manifest_builder.settings import settings
from ops import shell
from ops.keys import calendar_date, named_file, named_manifest
from ops.screen import Screen
from ops.stack import Stack

EXAMPLES = (
    "where orders/2025-12-23/orders-0001.ndjson",
    "where s3://my-input/readings.ndjson --date 2025-12-23",
    "where readings.ndjson",
)
UNKNOWN = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help="key in the input bucket, or s3://BUCKET/KEY")
    parser.add_argument(
        "--date",
        type=calendar_date,
        metavar="DATE",
        help="for a key without a date: the UTC day of its upload; without it the whole table is read",
    )


def run(stack: Stack, options: argparse.Namespace, screen: Screen) -> int:
    file = named_file(options.key, stack.input_bucket)
    rows = find_rows(file, options.date, screen)
    answers = [_answer(row) for row in rows]
    exists = None if rows else is_in_bucket(file)
    screen.answer({"stack": stack.name, "file": file.file_path, "in_bucket": exists, "found": answers})
    if not rows:
        screen.say(f"unknown: the table has no row of {escape(file.file_path)}")
        screen.say(escape(_remedy(stack, file, exists)))
        return UNKNOWN
    for answer in answers:
        _show(answer, screen)
    return 0


def find_rows(file: FileVersion, date_prefix: str | None, screen: Screen) -> list[dict[str, Any]]:
    """One at most where the date is known; a key without a date may have been uploaded on several days."""
    date_prefix = date_prefix or date_in_key(file.key)
    if date_prefix:
        row = tracking.find_row(date_prefix, file)
        return [row] if row else []
    screen.say("the key has no date: reading the whole table; --date DATE would read one row")
    return list(tracking.scan_rows(file.file_path))


def is_in_bucket(file: FileVersion) -> bool:
    try:
        aws.s3().head_object(Bucket=file.bucket, Key=file.key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchBucket"):
            return False
        raise
    return True


def find_record(manifest_path: str) -> dict[str, Any] | None:
    date_prefix, uri = named_manifest(manifest_path, settings().manifest_bucket)
    records = tracking.manifest_records(date_prefix)
    return next((record for record in records if record["file_path"] == uri), None)


def run_state(run_id: str) -> dict[str, Any]:
    """What Glue says about a run of the job."""
    try:
        found = boto3.client("glue").get_job_run(JobName=settings().glue_job_name, RunId=run_id)["JobRun"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityNotFoundException":
            raise
        return {"run_id": run_id, "state": "unknown to Glue", "error": None}
    return {"run_id": run_id, "state": found["JobRunState"], "error": found.get("ErrorMessage")}


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    record = find_record(row["manifest_path"]) if "manifest_path" in row else None
    run_id = record.get("job_run_id") if record else None
    return {
        "date": row["date_prefix"],
        "file_name": row["file_name"],
        "status": row["status"],
        "reason": row.get("reason"),
        "copied_to": row.get("copied_to"),
        "size_bytes": int(row["file_size_bytes"]) if "file_size_bytes" in row else None,
        "version_id": row.get("version_id"),
        "created_at": row["created_at"],
        "pending_since": row.get("pending_since"),
        "manifest": _manifest(record) if record else None,
        "job_run": run_state(run_id) if run_id else None,
    }


def _manifest(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "path": record["file_path"],
        "status": record["status"],
        "file_count": int(record["file_count"]),
        "size_bytes": int(record["file_size_bytes"]),
        "created_at": record["created_at"],
        "attempt": int(record.get("attempt", 1)),
        "error": record.get("error"),
    }


def _remedy(stack: Stack, file: FileVersion, exists: bool | None) -> str:
    if not exists:
        return "nor is there such an object in the bucket"
    return (
        "the object is in the bucket: its event is on the way, waits in the dead-letter queue, or was never sent. "
        f"To send it: {shell.command(stack, 'backfill', shell.spelled(stack, file.key))}"
    )


def _show(answer: dict[str, Any], screen: Screen) -> None:
    lines = {
        "status": answer["status"] + (f": {answer['reason']}" if answer["reason"] else ""),
        "copy": answer["copied_to"],
        "date": answer["date"],
        "size": size(answer["size_bytes"]),
        "known since": answer["created_at"],
        "pending since": answer["pending_since"],
    }
    if manifest := answer["manifest"]:
        lines["manifest"] = f"{manifest['path']} ({manifest['status']}, attempt {manifest['attempt']})"
    if job_run := answer["job_run"]:
        lines["Glue run"] = f"{job_run['run_id']} {job_run['state']}"
        lines["error"] = job_run["error"]
    for name, text in lines.items():
        if text:
            screen.say(f"{name:<14} {escape(text)}")
