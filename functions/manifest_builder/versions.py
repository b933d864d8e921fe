"""What an arriving version, or a removal, makes of the file's row. Pure: no AWS call, no clock, no settings.

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
from manifest_builder.files import NULL_VERSION, FileVersion, ObjectVersion, Removal
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


@dataclass(frozen=True, slots=True)
class _Written:
    outcome: Outcome
    row: FileRow


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
    kept = kept_row(file.version_id) if file.version_id and _may_be_kept(file.version_id, row) else None
    if kept is not None:
        was_restored = kept.status == "deleted" and is_current(ObjectVersion(file.version_id, file.etag))
        if row is None or not was_restored:
            return Change("duplicate")
    relation = relation_of(file, row, is_current) if row is not None else None
    if row is not None and (kept is not None or (relation == "superseded" and is_late(file, row))):
        late = _written(
            row, Place(place.date_prefix, files.version_name(file, str(file.version_id))), file, refusal, at
        )
        counted = row if kept else replace(row, older_versions=(row.older_versions or 0) + 1)
        return Change(late.outcome, counted, _apart(late.row), kept)
    if relation is not None:
        return Change(relation)
    newest = _written(row, place, file, refusal, at)
    if row is None or row.version_id in (None, NULL_VERSION, file.version_id):
        return Change(newest.outcome, newest.row)
    counted = replace(newest.row, older_versions=None if row.older_versions is None else row.older_versions + 1)
    return Change(newest.outcome, counted, _apart(replace(row, file_name=files.version_name(file, row.version_id))))


def _may_be_kept(version_id: str, row: FileRow | None) -> bool:
    return row is None or (row.version_id != version_id and row.older_versions != 0)


def is_late(file: FileVersion, row: FileRow) -> bool:
    """Whether S3's own event tells of a version that is not the newest one, and not deleted as far as is known."""
    if not file.version_id or file.version_id == row.version_id or not file.sequencer or row.older_versions is None:
        return False
    return row.removed_before is None or files.is_newer(file.sequencer, than=row.removed_before)


def _apart(row: FileRow) -> FileRow:
    return replace(row, older_versions=None, removed_before=None)


def _written(row: FileRow | None, place: Place, file: FileVersion, refusal: Refusal | None, at: Moment) -> _Written:
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
        refused = replace(written, reason=refusal.reason, copied_to=refusal.copied_to, ttl=at.expires)
        return _Written("quarantined", refused)
    # The manifest that named an earlier version marks rows that are pending up to its cut. This row must stay beyond
    # the cut, even if our clock is behind.
    pending_since = max(at.now, clock.microsecond_after(cut)) if cut else at.now
    return _Written("tracked", replace(written, pending_since=pending_since))


def remove(
    row: FileRow | None, place: Place, removal: Removal, at: Moment, is_current: IsCurrent, kept_row: KeptRow
) -> Change:
    """A file, or one version of it, was removed: the change of the file's row (None: the table has none).

    A pending file becomes `deleted`. For a manifested or quarantined file only `deleted_at` is recorded. `superseded`:
    the row is of a later version. `untracked`: there is no row, and none is needed.

    If the file was removed, older versions that are still pending are deleted too: see `is_removed_with_its_file`.
    """
    if row is None:
        return Change("deleted", _tombstone(place, removal, at)) if is_worth_a_row(removal) else Change("untracked")
    if removal.version_id not in (None, NULL_VERSION, row.version_id) and row.older_versions is not None:
        return _remove_older(row, place, removal, at, kept_row)
    relation = relation_of_removal(removal, row, is_current)
    removed_before = row.removed_before
    if removal.version_id is None and (row.version_id or row.removed_before):
        removed_before = _later(removed_before, removal.sequencer or (row.sequencer if relation is None else None))
    if relation is not None:
        is_news = relation == "superseded" and removed_before != row.removed_before
        return Change(relation, replace(row, removed_before=removed_before) if is_news else None)
    changed = removed(row, at)
    if removal.version_id is None and removal.sequencer:
        # An older version whose event comes after this one is superseded.
        changed = replace(changed, sequencer=removal.sequencer)
    return Change("deleted", replace(changed, removed_before=removed_before))


def _remove_older(row: FileRow, place: Place, removal: Removal, at: Moment, kept_row: KeptRow) -> Change:
    """A version that is not the newest one was permanently removed."""
    version_id = str(removal.version_id)
    kept = kept_row(version_id) if row.older_versions else None
    if kept is not None:
        return Change("duplicate" if kept.deleted_at else "deleted", row, removed(kept, at), kept)
    if not is_worth_a_row(removal):
        return Change("untracked")
    apart = _tombstone(Place(place.date_prefix, files.version_name(removal, version_id)), removal, at)
    return Change("deleted", replace(row, older_versions=(row.older_versions or 0) + 1), _apart(apart))


def removed(row: FileRow, at: Moment) -> FileRow:
    """The row after the removal of its version."""
    changed = replace(row, deleted_at=row.deleted_at or at.now, updated_at=at.now)
    if row.status == "pending":
        changed = replace(changed, status="deleted", pending_since=None, ttl=at.expires or row.ttl)
    return changed


def _tombstone(place: Place, removal: Removal, at: Moment) -> FileRow:
    """The row of a file, or a version, whose creation is not known yet."""
    return FileRow(
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
        older_versions=0,
        removed_before=None if removal.version_id else removal.sequencer,
        ttl=at.expires,
    )


def _later(one: str | None, other: str | None) -> str | None:
    """The later of two sequencers."""
    if one is None or other is None:
        return one or other
    return other if files.is_newer(other, than=one) else one


def is_removed_with_its_file(kept: FileRow, row: FileRow) -> bool:
    """Whether a pending version that is kept apart was removed together with its file. `row`: the file's row."""
    if kept.status != "pending" or row.removed_before is None:
        return False
    if kept.sequencer:
        return not files.is_newer(kept.sequencer, than=row.removed_before)
    return row.deleted_at is not None


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
