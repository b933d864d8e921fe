"""What an arriving version makes of the file's row. Pure: no AWS call, no clock, no settings.

What a removal makes of it is in `removals`.

Events come late, twice and in any order. S3 orders the versions of a key by `sequencer`; where an event or the row has
none (backfill, release), `is_current` asks S3 which version is the current one.

The file's row is of its newest version. In a bucket with versions every version is read by one job, so none is
forgotten when a newer one comes: the row of the older one is kept apart, under a sort key of its own. In a bucket
without versions a newer object has taken the place of the older one, and so does its row.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from manifest_builder import clock, files
from manifest_builder.files import NULL_VERSION, FileVersion, ObjectVersion
from manifest_builder.rows import FileRow, megabytes

Outcome = Literal["tracked", "quarantined", "deleted", "duplicate", "superseded", "untracked"]
Unchanged = Literal["duplicate", "superseded"]
IsCurrent = Callable[[ObjectVersion], bool]
"""Whether S3 says that this is the current version of the file in question."""
KeptRow = Callable[[str], FileRow | None]
"""The row of the version with this id that is kept apart from the file's row; None if there is none."""


@dataclass(frozen=True, slots=True)
class Place:
    """The primary key of the row that is to be written."""

    date_prefix: str
    file_name: str


@dataclass(frozen=True, slots=True)
class Moment:
    """When the row is written: `now` as text, and the epoch second at which a finished row expires (None: never)."""

    now: str
    expires: int | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a version is quarantined, and where its copy is, or why there is none."""

    reason: str
    copied_to: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """The outcome of an event, and the row to write; None if the stored row stays as it is.

    `apart`: the row of another version, kept under a sort key of its own, to be written together with it. `known_apart`
    is what is stored there.
    """

    outcome: Outcome
    row: FileRow | None = None
    apart: FileRow | None = None
    known_apart: FileRow | None = None


def arrive(
    row: FileRow | None,
    place: Place,
    file: FileVersion,
    refusal: Refusal | None,
    at: Moment,
    is_current: IsCurrent,
    kept_row: KeptRow,
) -> Change:
    """A version arrives: the change of the file's row (None: the table has none).

    A version that is new to the table becomes pending, or quarantined if there is a `refusal`: in the file's row if it
    is the newest one, else in a row apart. A known version changes nothing.
    """
    outcome: Outcome = "quarantined" if refusal else "tracked"
    kept = kept_row(file.version_id) if file.version_id and _may_be_kept(file.version_id, row) else None
    if kept is not None:
        was_restored = kept.status == "deleted" and is_current(ObjectVersion(file.version_id, file.etag))
        if row is None or not was_restored:
            return Change("duplicate")
        return Change(outcome, row, _older(row, file, refusal, at), known_apart=kept)
    relation = relation_of(file, row, is_current) if row is not None else None
    if row is not None and relation == "superseded" and is_late(file, row):
        return Change(outcome, with_one_more(row), _older(row, file, refusal, at))
    if relation is not None:
        return Change(relation)
    newest = _written(row, place, file, refusal, at)
    if row is None or row.version_id in (None, NULL_VERSION, file.version_id):
        return Change(outcome, newest)
    moved = apart_of(replace(row, file_name=files.version_name(file, row.version_id)))
    return Change(outcome, with_one_more(newest), moved)


def _may_be_kept(version_id: str, row: FileRow | None) -> bool:
    """Whether the version may have a row apart. Without the file's row, that may have expired."""
    return row is None or (row.version_id != version_id and row.older_versions != 0)


def is_late(file: FileVersion, row: FileRow) -> bool:
    """Whether S3's own event tells of a version that is not the newest one, and not deleted as far as is known."""
    if not file.version_id or file.version_id == row.version_id or not file.sequencer or row.older_versions is None:
        return False
    return row.removed_before is None or files.is_newer(file.sequencer, than=row.removed_before)


def with_one_more(row: FileRow) -> FileRow:
    """The file's row, which counts one more version with a row apart."""
    return row if row.older_versions is None else replace(row, older_versions=row.older_versions + 1)


def apart_of(row: FileRow) -> FileRow:
    """The row of a version that is not the newest one any more: what only the file's row tells is left out."""
    return replace(row, older_versions=None, removed_before=None)


def _older(row: FileRow, file: FileVersion, refusal: Refusal | None, at: Moment) -> FileRow:
    """The row apart of a version that is not the newest one."""
    place = Place(row.date_prefix, files.version_name(file, str(file.version_id)))
    return apart_of(_written(row, place, file, refusal, at))


def _written(row: FileRow | None, place: Place, file: FileVersion, refusal: Refusal | None, at: Moment) -> FileRow:
    """The row of a version that is new to the table. `row`: the file's row."""
    cut = row.cut if row else None
    written = FileRow(
        date_prefix=place.date_prefix,
        file_name=place.file_name,
        file_path=file.file_path,
        status="quarantined" if refusal else "pending",
        created_at=at.now,
        file_size_bytes=file.size_bytes,
        file_size_mb=megabytes(file.size_bytes),
        etag=file.etag,
        version_id=file.version_id,
        sequencer=file.sequencer,
        cut=cut,
        older_versions=row.older_versions if row else 0,
        removed_before=row.removed_before if row else None,
    )
    if refusal:
        return replace(written, reason=refusal.reason, copied_to=refusal.copied_to, ttl=at.expires)
    # The manifest that named an earlier version marks rows that are pending up to its cut. This row must stay beyond
    # the cut, even if our clock is behind.
    pending_since = max(at.now, clock.microsecond_after(cut)) if cut else at.now
    return replace(written, pending_since=pending_since)


def relation_of(file: FileVersion, row: FileRow, is_current: IsCurrent) -> Unchanged | None:
    """How an arriving version stands to the row of its path; None: it is newer."""
    is_same = is_version_of(file, row)
    if is_same and row.status != "deleted":
        if not row.released:
            return "duplicate"
        # It may have been deleted, or replaced, since it was refused; the event of that may still be under way.
        return None if is_current(ObjectVersion(file.version_id, file.etag)) else "superseded"
    if file.sequencer and row.sequencer:
        # The sequencer of a deleted row is that of its removal, and this very version may have come after it.
        if files.is_newer(file.sequencer, than=row.sequencer):
            return None
        return "superseded" if files.is_newer(row.sequencer, than=file.sequencer) else "duplicate"
    if is_current(ObjectVersion(file.version_id, file.etag)):
        return None
    return "duplicate" if is_same else "superseded"


def is_version_of(file: FileVersion, row: FileRow) -> bool:
    """Whether the row of this path is of this very version: by version id, else by sequencer, else by etag and size."""
    if file.version_id or row.version_id:
        return file.version_id == row.version_id
    if file.sequencer and row.sequencer:
        return not (files.is_newer(file.sequencer, row.sequencer) or files.is_newer(row.sequencer, file.sequencer))
    return bool(file.etag) and file.etag == row.etag and file.size_bytes == row.file_size_bytes
