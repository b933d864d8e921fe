"""Processes a quarantined file again, after the settings that refused it are changed.

The file is checked against the present settings of the functions. There is no flag to force it: a file that they refuse
would be quarantined again. The row stays quarantined until the new event is processed, so the command can be repeated.
"""

import argparse
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape

from manifest_builder import announcements, versions
from manifest_builder.announcements import object_created
from manifest_builder.files import FileVersion
from manifest_builder.rows import FileRow
from manifest_builder.tracking import file_rows
from manifest_builder.validation import reason_to_refuse
from ops.keys import named_file
from ops.screen import Screen
from ops.stack import Stack
from ops.where import current_version, find_rows
from toolkit.parser import calendar_date

EXAMPLES = ("release orders/2025-12-23/orders-0001.ndjson", "release readings.ndjson --date 2025-12-23 --yes")
REFUSED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help="key in the input bucket, or s3://BUCKET/KEY")
    parser.add_argument("--date", type=calendar_date, metavar="DATE", help="for a key without a date")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(stack: Stack, options: argparse.Namespace, screen: Screen) -> int:
    file = named_file(options.key, stack.input_bucket)
    rows = find_rows(file, options.date, screen)
    why_not, current = _look(rows, file)
    if current:
        (row,) = _quarantined(rows)
        if not screen.confirm(f"Sends an S3 event for {file.file_path}, which is quarantined: {row.reason}"):
            return REFUSED
        if file_rows.release_version(row):
            announcements.send(stack.input_queue_url, [_event(current, row.date_prefix, stack.region)])
        else:
            why_not = "its row has changed meanwhile: look again"
    screen.answer({"stack": stack.name, "file": file.file_path, "released": why_not is None, "reason": why_not})
    screen.say(f"not released: {escape(why_not)}" if why_not else "released: its event is in the queue")
    return REFUSED if why_not else 0


def _look(rows: list[FileRow], file: FileVersion) -> tuple[str, None] | tuple[None, FileVersion]:
    """Why the file cannot be released, or the version to release."""
    quarantined = _quarantined(rows)
    if not quarantined:
        statuses = " or ".join(sorted({row.status for row in rows}))
        return f"it is {statuses}, not quarantined" if rows else "the table does not know it", None
    if len(quarantined) > 1:
        dates = " or ".join(row.date_prefix for row in quarantined)
        return f"it was refused on several days: --date {dates}", None
    found = current_version(file)
    if found is None:
        return "the object is not in the bucket any more", None
    if not versions.is_version_of(found.file, quarantined[0]):
        return "the version that was refused is not the current one, which has an event of its own", None
    refused = reason_to_refuse(file.key, found.file.size_bytes)
    if refused:
        return f"the settings still refuse it ({refused}): change them first, then release it", None
    return None, found.file


def _quarantined(rows: list[FileRow]) -> list[FileRow]:
    return [row for row in rows if row.status == "quarantined"]


def _event(file: FileVersion, date_prefix: str, region: str) -> dict[str, Any]:
    return object_created(
        file.bucket,
        file.key,
        size_bytes=file.size_bytes,
        etag=file.etag,
        # A key without a date belongs to the day of its event: here the day on which it was refused.
        at=datetime.fromisoformat(date_prefix).replace(tzinfo=UTC),
        version_id=file.version_id,
        region=region,
    )
