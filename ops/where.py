"""Shows where a file is: its row in the table, the manifest that names it, and the manifest's job run.

Exit code 1 if the table does not know the file. Changes nothing.
"""

import argparse
from dataclasses import replace
from typing import Any

import boto3
from botocore.exceptions import ClientError
from rich.markup import escape

from manifest_builder import aws, versions
from manifest_builder.files import NULL_VERSION, FileVersion, date_in_key
from manifest_builder.inputs import Listed
from manifest_builder.manifests import ManifestRecord
from manifest_builder.rows import FileRow, is_kept_apart
from manifest_builder.settings import settings
from manifest_builder.tracking import file_rows, manifest_records
from ops import shell
from ops.keys import named_file, named_manifest
from ops.screen import Screen
from ops.stack import Stack
from toolkit.errors import UsageError
from toolkit.parser import calendar_date
from toolkit.texts import size

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
    current = current_version(file)
    versions_known = _with_older_versions(rows, file)
    is_newer = bool(rows) and current is not None and not is_of_a_row(current, versions_known, options.date)
    answers = [_answer(row) for row in versions_known]
    screen.answer(
        {
            "stack": stack.name,
            "file": file.file_path,
            "in_bucket": current is not None,
            "newer_version": is_newer,
            "found": answers,
        }
    )
    if not rows:
        screen.say(f"unknown: the table has no row of {escape(file.file_path)}")
    for answer in answers:
        _show(stack, file, answer, screen)
    if hint := _hint(rows, current, is_newer=is_newer):
        to_send = f"To send it: {shell.command(stack, 'backfill', shell.spelled(stack, file.key))}" if current else ""
        screen.say(escape(f"{hint}. {to_send}".strip(". ")))
    return 0 if rows else UNKNOWN


def find_rows(file: FileVersion, date_prefix: str | None, screen: Screen) -> list[FileRow]:
    """The rows of the file's newest version: at most one if the date is known, else one for each day of upload."""
    own_date = date_in_key(file.key)
    if own_date and date_prefix and date_prefix != own_date:
        raise UsageError(f"the date of {file.key} is its key's own, {own_date}: leave --date out")
    date_prefix = date_prefix or own_date
    if date_prefix:
        row = file_rows.find_row(date_prefix, file)
        return [row] if row else []
    screen.say("the key has no date: reading the whole table; --date DATE would read one row")
    return [row for row in file_rows.scan_rows(file.file_path) if not is_kept_apart(row)]


def _with_older_versions(rows: list[FileRow], file: FileVersion) -> list[FileRow]:
    """Each row, and behind it those of the file's older versions, beginning with the last that became known."""
    found: list[FileRow] = []
    for row in rows:
        older = file_rows.older_versions(row.date_prefix, file) if row.older_versions != 0 else ()
        found += [row, *sorted(older, key=lambda version: version.created_at, reverse=True)]
    return found


def current_version(file: FileVersion) -> Listed | None:
    """The current object of this key in the bucket; None if there is none."""
    try:
        found = aws.s3().head_object(Bucket=file.bucket, Key=file.key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchBucket"):
            return None
        raise
    version_id = found.get("VersionId")
    current = replace(
        file,
        size_bytes=found["ContentLength"],
        etag=found["ETag"].strip('"'),
        version_id=None if version_id == NULL_VERSION else version_id,
    )
    return Listed(current, found["LastModified"])


def is_of_a_row(current: Listed, rows: list[FileRow], named_date: str | None) -> bool:
    """Whether the table knows the version that is in the bucket. With --date, only that day's row was read, and a key
    without a date may have its row on another day."""
    if any(versions.is_version_of(current.file, row) for row in rows):
        return True
    if named_date is None:
        return False
    of_other_days = file_rows.read_rows((date_prefix, current.file) for date_prefix in current.dates)
    return any(versions.is_version_of(current.file, row) for row in of_other_days.values())


def named_record(manifest: str) -> tuple[str, ManifestRecord | None]:
    """The URI of the manifest that an operator names, and its record if there is one."""
    date_prefix, uri = named_manifest(manifest, settings().manifest_bucket)
    records = manifest_records.of_date(date_prefix)
    return uri, next((record for record in records if record.file_path == uri), None)


def run_state(run_id: str) -> dict[str, Any]:
    """The state of a job run as Glue reports it."""
    try:
        found = boto3.client("glue").get_job_run(JobName=settings().glue_job_name, RunId=run_id)["JobRun"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityNotFoundException":
            raise
        return {"run_id": run_id, "state": "unknown to Glue", "error": None}
    return {"run_id": run_id, "state": found["JobRunState"], "error": found.get("ErrorMessage")}


def _answer(row: FileRow) -> dict[str, Any]:
    record = named_record(row.manifest_path)[1] if row.manifest_path else None
    return {
        "date": row.date_prefix,
        "file_name": row.file_name,
        "status": row.status,
        "reason": row.reason,
        "copied_to": row.copied_to,
        "size_bytes": row.file_size_bytes,
        "version_id": row.version_id,
        "created_at": row.created_at,
        "pending_since": row.pending_since,
        "manifest": _manifest(record) if record else None,
        "job_run": run_state(record.job_run_id) if record and record.job_run_id else None,
    }


def _manifest(record: ManifestRecord) -> dict[str, Any]:
    return {
        "path": record.file_path,
        "status": record.status,
        "file_count": record.file_count,
        "size_bytes": record.file_size_bytes,
        "created_at": record.created_at,
        "attempt": record.attempt,
        "error": record.error,
    }


def _hint(rows: list[FileRow], current: Listed | None, *, is_newer: bool) -> str | None:
    """A hint if bucket and table differ."""
    if not rows:
        if current is None:
            return "nor is there such an object in the bucket"
        return "the object is in the bucket: its event is on the way, waits in the dead-letter queue, or was never sent"
    if is_newer:
        return "a newer version is in the bucket, which the table does not know (yet)"
    if current and all(row.status == "deleted" for row in rows):
        return "the object is in the bucket again"
    return None


def _show(stack: Stack, file: FileVersion, answer: dict[str, Any], screen: Screen) -> None:
    lines = {
        "file": file.file_path,
        "version": answer["version_id"],
        "status": answer["status"] + (f": {answer['reason']}" if answer["reason"] else ""),
        "copy": answer["copied_to"],
        "date": answer["date"],
        "size": size(answer["size_bytes"]) if answer["size_bytes"] is not None else None,
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
    if answer["status"] == "quarantined":
        day = [] if date_in_key(file.key) else ["--date", answer["date"]]
        release = shell.command(stack, "release", shell.spelled(stack, file.key), *day)
        screen.say(escape(f"after the settings accept it: {release}"))
