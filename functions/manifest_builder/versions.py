"""What an arriving version, or a removal, makes of the file's row. Pure: no AWS call, no clock, no settings.

Events come late, twice and in any order. S3 orders the versions of a key by `sequencer`; where an event or the row has
none (backfill, release), `is_current` asks S3 which version is the current one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from manifest_builder import clock, files
from manifest_builder.files import NULL_VERSION, FileVersion, ObjectVersion, Removal
from manifest_builder.rows import FileRow, megabytes

Outcome = Literal["tracked", "quarantined", "deleted", "duplicate", "superseded", "untracked"]
Unchanged = Literal["duplicate", "superseded"]
IsCurrent = Callable[[ObjectVersion], bool]
"""Whether S3 says that this is the current version of the file in question."""


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
    """The outcome of an event, and the row to write; None if the stored row stays as it is."""

    outcome: Outcome
    row: FileRow | None = None


def arrive(
    row: FileRow | None, place: Place, file: FileVersion, refusal: Refusal | None, at: Moment, is_current: IsCurrent
) -> Change:
    """A version arrives: the change of the file's row (None: the table has none).

    A newer version becomes pending, or quarantined if there is a `refusal`. A known or older version changes nothing.
    """
    if row is not None:
        relation = relation_of(file, row, is_current)
        if relation is not None:
            return Change(relation)
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
    )
    if refusal:
        refused = replace(written, reason=refusal.reason, copied_to=refusal.copied_to, ttl=at.expires)
        return Change("quarantined", refused)
    # The manifest that named an earlier version marks rows that are pending up to its cut. This row must stay beyond
    # the cut, even if our clock is behind.
    pending_since = max(at.now, clock.microsecond_after(cut)) if cut else at.now
    return Change("tracked", replace(written, pending_since=pending_since))


def remove(row: FileRow | None, place: Place, removal: Removal, at: Moment, is_current: IsCurrent) -> Change:
    """A file, or one version of it, was removed: the change of the file's row (None: the table has none).

    A pending file becomes `deleted`. For a manifested or quarantined file only `deleted_at` is recorded. `superseded`:
    the row is of a later or of another version. `untracked`: there is no row, and none is needed.
    """
    if row is None:
        if not is_worth_a_row(removal):
            return Change("untracked")
        tombstone = FileRow(
            date_prefix=place.date_prefix,
            file_name=place.file_name,
            file_path=removal.file_path,
            status="deleted",
            created_at=at.now,
            deleted_at=at.now,
            updated_at=at.now,
            version_id=removal.version_id,
            # The removal of one version says nothing of the others: its sequencer must not make them late.
            sequencer=None if removal.version_id else removal.sequencer,
            ttl=at.expires,
        )
        return Change("deleted", tombstone)
    relation = relation_of_removal(removal, row, is_current)
    if relation is not None:
        return Change(relation)
    changed = replace(row, deleted_at=at.now, updated_at=at.now)
    if removal.version_id is None and removal.sequencer:
        # An older version whose event comes after this one is superseded.
        changed = replace(changed, sequencer=removal.sequencer)
    if row.status == "pending":
        changed = replace(changed, status="deleted", pending_since=None, ttl=at.expires or row.ttl)
    return Change("deleted", changed)


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


def relation_of_removal(removal: Removal, row: FileRow, is_current: IsCurrent) -> Unchanged | None:
    """How a removal stands to the row of its path; None: it ends the version that the row is of."""
    if removal.version_id or not removal.sequencer:
        row_version = row.version_id or NULL_VERSION
        names_this = removal.version_id == row_version if removal.version_id else not row.sequencer
        # S3 gives the version id "null" to one version after another.
        is_later = removal.sequencer and row.sequencer and files.is_newer(row.sequencer, than=removal.sequencer)
        if not names_this or (removal.version_id == NULL_VERSION and is_later):
            return "superseded"
        return "duplicate" if row.deleted_at is not None else None
    if row.sequencer:
        if files.is_newer(removal.sequencer, than=row.sequencer):
            return None
        return "superseded" if files.is_newer(row.sequencer, than=removal.sequencer) else "duplicate"
    # The row has no sequencer, so this may be the removal of an earlier version.
    return "superseded" if is_current(ObjectVersion(row.version_id, row.etag or "")) else None


def is_version_of(file: FileVersion, row: FileRow) -> bool:
    """Whether the row of this path is of this very version: by version id, else by sequencer, else by etag and size."""
    if file.version_id or row.version_id:
        return file.version_id == row.version_id
    if file.sequencer and row.sequencer:
        return not (files.is_newer(file.sequencer, row.sequencer) or files.is_newer(row.sequencer, file.sequencer))
    return bool(file.etag) and file.etag == row.etag and file.size_bytes == row.file_size_bytes


def is_worth_a_row(removal: Removal) -> bool:
    """Whether the creation of an unknown file may still come after its removal, and a row would show that it is late.

    A key without a date has its row on the day of its creation, which the event of the removal does not tell.
    """
    names_a_moment = removal.version_id != NULL_VERSION if removal.version_id else removal.sequencer is not None
    may_be_valid = files.has_accepted_extension(removal.key)
    return names_a_moment and may_be_valid and files.date_in_key(removal.key) is not None
