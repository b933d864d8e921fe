"""What a removal makes of the file's row, and of those of its older versions. Pure, as `versions`."""

from dataclasses import replace

from manifest_builder import files
from manifest_builder.files import NULL_VERSION, ObjectVersion, Removal
from manifest_builder.rows import FileRow
from manifest_builder.versions import Change, IsCurrent, KeptRow, Moment, Place, Unchanged, apart_of, with_one_more


def remove(
    row: FileRow | None, place: Place, removal: Removal, at: Moment, is_current: IsCurrent, kept_row: KeptRow
) -> Change:
    """A file, or one version of it, was removed: the change of the file's row (None: the table has none).

    A pending file becomes `deleted`. For a manifested or quarantined file only `deleted_at` is recorded. `superseded`:
    the row is of a later version. `untracked`: there is no row, and none is needed.

    The rows apart of a file that was removed are not changed here: see `is_removed_with_its_file`.
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
    """A version that the file's row is not of was permanently removed."""
    version_id = str(removal.version_id)
    kept = kept_row(version_id) if row.older_versions else None
    if kept is not None:
        return Change("duplicate" if kept.deleted_at else "deleted", row, removed(kept, at), kept)
    if not is_worth_a_row(removal):
        return Change("untracked")
    apart = _tombstone(Place(place.date_prefix, files.version_name(removal, version_id)), removal, at)
    return Change("deleted", with_one_more(row), apart_of(apart))


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


def is_worth_a_row(removal: Removal) -> bool:
    """Whether the creation of an unknown file may still come after its removal, and a row would show that it is late.

    A key without a date has its row on the day of its creation, which the event of the removal does not tell.
    """
    names_a_moment = removal.version_id != NULL_VERSION if removal.version_id else removal.sequencer is not None
    may_be_valid = files.has_accepted_extension(removal.key)
    return names_a_moment and may_be_valid and files.date_in_key(removal.key) is not None
