"""The pending index, a sparse local index. Its entries are pending files, and manifests without outcome.

Consistent reads of it cost in proportion to the unfinished work, however many files the date has.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from manifest_builder import manifests
from manifest_builder.batching import PendingFile
from manifest_builder.tracking import table


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A pending file or a manifest without outcome, as a sweep needs it. `pending_since` is text as in `clock`."""

    date_prefix: str
    is_manifest: bool
    file_path: str
    pending_since: str
    size_bytes: int
    job_run_id: str | None
    """The run of a started manifest."""


def pending_files(date_prefix: str, until: str | None = None) -> Iterator[PendingFile]:
    """The pending files of a date in order of arrival, up to `until` (inclusive), read consistently and lazily."""
    for entry in table.query_pending(date_prefix, until):
        yield PendingFile(
            file_name=entry["file_name"],
            file_path=entry["file_path"],
            size_bytes=int(entry["file_size_bytes"]),
            pending_since=entry["pending_since"],
            version_id=entry.get("version_id"),
            etag=entry.get("etag"),
        )


def scan_unfinished() -> Iterator[Unfinished]:
    """Every pending file and every manifest without outcome, of all dates. Eventually consistent."""
    for entry in table.scan_pending("date_prefix, pending_since, file_size_bytes, job_run_id, file_path"):
        date_of_manifest = manifests.date_of(entry["date_prefix"])
        yield Unfinished(
            date_prefix=date_of_manifest or entry["date_prefix"],
            is_manifest=date_of_manifest is not None,
            file_path=entry["file_path"],
            pending_since=entry["pending_since"],
            size_bytes=int(entry["file_size_bytes"]),
            job_run_id=entry.get("job_run_id"),
        )
