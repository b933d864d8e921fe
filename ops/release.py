"""A quarantined file goes in again, once the settings that refused it are mended.

It is checked against the settings that the functions have now: a file that they still refuse would come straight back,
so there is no flag to force it. Its row stays quarantined until its new event has been taken, so that nothing is lost
where something ends in between: say it again.
"""

import argparse
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError
from rich.markup import escape

from local.feed import object_created
from manifest_builder import aws, tracking
from manifest_builder.files import FileVersion
from ops import events
from ops.keys import calendar_date, named_file
from ops.screen import Screen
from ops.stack import Stack
from ops.where import find_rows

EXAMPLES = ("release orders/2025-12-23/orders-0001.ndjson", "release readings.ndjson --date 2025-12-23 --yes")
REFUSED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help="key in the input bucket, or s3://BUCKET/KEY")
    parser.add_argument("--date", type=calendar_date, metavar="DATE", help="for a key without a date")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(stack: Stack, options: argparse.Namespace, screen: Screen) -> int:
    file = named_file(options.key, stack.input_bucket)
    rows = find_rows(file, options.date, screen)
    why_not, event = _look(rows, file, stack)
    if why_not is None:
        if not screen.confirm(f"Sends an S3 event for {file.file_path}, which is quarantined: {rows[0]['reason']}"):
            return REFUSED
        if tracking.forget_version(rows[0]):
            events.send(stack.input_queue_url, [event])
        else:
            why_not = "its row has changed meanwhile: look again"
    screen.answer({"stack": stack.name, "file": file.file_path, "released": why_not is None, "reason": why_not})
    screen.say(f"not released: {escape(why_not)}" if why_not else "released: its event is in the queue")
    return REFUSED if why_not else 0


def _look(rows: list[dict[str, Any]], file: FileVersion, stack: Stack) -> tuple[str | None, dict[str, Any]]:
    """Why the file cannot be released, or else the event that does it."""
    if not rows:
        return "the table does not know it", {}
    if len(rows) > 1:
        return f"it was uploaded on several days: --date {' or '.join(row['date_prefix'] for row in rows)}", {}
    (row,) = rows
    if row["status"] != "quarantined":
        return f"it is {row['status']}, not quarantined", {}
    found = _current_version(file)
    if found is None:
        return "the object is not in the bucket any more", {}
    refused = _reason_to_refuse(file.key, found["ContentLength"])
    if refused:
        return f"the settings still refuse it ({refused}): change them first, then release it", {}
    version_id = found.get("VersionId")
    return None, object_created(
        file.bucket,
        file.key,
        size_bytes=found["ContentLength"],
        etag=found["ETag"].strip('"'),
        # A key without a date belongs to the day of its event: to the one that it was refused on.
        at=datetime.fromisoformat(row["date_prefix"]).replace(tzinfo=UTC),
        version_id=None if version_id == "null" else version_id,
        region=stack.region,
    )


def _current_version(file: FileVersion) -> Any:
    try:
        return aws.s3().head_object(Bucket=file.bucket, Key=file.key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchBucket"):
            return None
        raise


def _reason_to_refuse(key: str, size_bytes: int) -> str | None:
    # Importing a function reads its settings, which are those of the stack.
    from validate_file import reason_to_refuse

    return reason_to_refuse(key, size_bytes)
