"""What the table says of a listed object: it is known, unknown, or perhaps forgotten."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from manifest_builder import announcements, clock, versions
from manifest_builder.inputs import Listed
from manifest_builder.rows import FileRow
from manifest_builder.settings import settings
from manifest_builder.tracking import retention


def is_known(listed: Listed, rows: Iterable[FileRow | None]) -> bool:
    """Whether one of the rows, which are of the file's path, is of this version. A listed file whose row is `deleted`
    was uploaded again. A released file waits for its event, which may never have been sent.
    """
    return any(
        row and row.status != "deleted" and not row.released and versions.is_version_of(listed.file, row)
        for row in rows
    )


def may_be_forgotten(listed: Listed) -> bool:
    """Whether the row may have expired: a row is kept for a time after the file is finished, so at least that long
    after the file was written."""
    days = kept_days()
    return days is not None and listed.at < clock.now() - timedelta(days=days)


def kept_days() -> int | None:
    """The shortest RetentionDays that any row may have been written with; None: rows are kept for ever."""
    known = [days for days in (settings().retention_days, retention.shortest_days()) if days]
    return min(known, default=None)


def record(listed: Listed, region: str) -> dict[str, Any]:
    """The record of the event that S3 would have sent."""
    file = listed.file
    return announcements.object_created(
        file.bucket,
        file.key,
        size_bytes=file.size_bytes,
        etag=file.etag,
        at=listed.at,
        version_id=file.version_id,
        region=region,
    )
