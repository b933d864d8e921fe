"""Rows of files: which one belongs to a file, and what an event changes in it. The rules are in `versions`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from manifest_builder import clock, files, inputs, removals, versions
from manifest_builder.errors import RowContended
from manifest_builder.files import FileName, FileVersion, Removal
from manifest_builder.rows import FileRow, names_of_version, present_names, sort_key_candidates
from manifest_builder.tracking import batches, retention, table
from manifest_builder.versions import Change, Moment, Outcome, Place, Refusal

CONTENTION_ATTEMPTS = 5
COMPARED = (
    "file_path",
    "status",
    "pending_since",
    "cut",
    "etag",
    "version_id",
    "sequencer",
    "older_versions",
    "removed_before",
)
"""A row with the same values in these attributes has not changed since it was read."""

Decide = Callable[[FileRow | None, Place], Change]
"""The change of the row that is stored under a primary key, if there is one."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Result of storing a file version or a removal: the outcome and the row's sort key."""

    outcome: Outcome
    file_name: str


def track_file(date_prefix: str, file: FileVersion) -> Stored:
    """Makes the version pending, unless the table has it, or it is deleted. Raises RowContended."""
    return _store(date_prefix, file, partial(_arrive, file, None))


def record_quarantine(date_prefix: str, file: FileVersion, reason: str, copied_to: str | None) -> Stored:
    """Records why the version was refused and where its copy is. Raises RowContended."""
    return _store(date_prefix, file, partial(_arrive, file, Refusal(reason, copied_to)))


def record_removal(date_prefix: str, removal: Removal) -> Stored:
    """Records the removal of a file: see `removals.remove`. Raises RowContended."""
    row = find_row(date_prefix, removal)

    def change_of(row: FileRow | None, place: Place) -> Change:
        kept_row = partial(_kept_row, date_prefix, removal)
        return removals.remove(row, place, removal, _moment(), partial(inputs.is_current, removal), kept_row)

    def remove(row: FileRow | None, place: Place) -> Change:
        change = change_of(row, place)
        if change.row and removal.version_id is None and change.row.older_versions != 0:
            # They come first: where the file's row says that it is deleted, no older version waits for a manifest. If
            # one arrives meanwhile, the file's row has changed, and this is done again.
            _remove_older_versions(change.row, removal)
            change = change_of(row, place)  # deleted now: until now an older version may have been cut
        return change

    return _store(date_prefix, removal, remove, known=row)


def is_known(date_prefix: str, file: FileVersion) -> Outcome | None:
    """`duplicate` or `superseded` if the table has this version or a newer one, else None."""
    row = find_row(date_prefix, file)
    known = versions.relation_of(file, row, partial(inputs.is_current, file)) if row else None
    if row and known == "superseded" and versions.is_late(file, row):
        return "duplicate" if _kept_row(date_prefix, file, str(file.version_id)) else None
    return known


def find_row(date_prefix: str, file: FileName) -> FileRow | None:
    """The row of the file's newest version on this date; None if the table has none."""
    for file_name in sort_key_candidates(file):
        item = table.get(date_prefix, file_name)
        if item and item["file_path"] == file.file_path:
            return FileRow.from_item(item)
        if not item and not retention.may_have_forgotten():
            # No row ever expired, so the file's row would be here. Else the row of a file of the same name may have
            # expired here, and this file's row may be under its second sort key.
            break
    return None


def read_rows(files_of_dates: Iterable[tuple[str, FileName]]) -> dict[tuple[str, str], FileRow]:
    """`find_row` for many files: the rows that exist, by date and path."""
    found: dict[tuple[str, str], FileRow] = {}
    names = {(date_prefix, file.file_path): sort_key_candidates(file) for date_prefix, file in files_of_dates}
    while names:
        keys = {(date_prefix, of_file[0]) for (date_prefix, _), of_file in names.items()}
        rows = {(row.date_prefix, row.file_name): row for row in map(FileRow.from_item, batches.read(keys).items)}
        second_names = {}
        for (date_prefix, file_path), (name, *others) in names.items():
            row = rows.get((date_prefix, name))
            if row and row.file_path == file_path:
                found[date_prefix, file_path] = row
            elif others and (row or retention.may_have_forgotten()):
                second_names[date_prefix, file_path] = others
        names = second_names
    return found


def older_versions(date_prefix: str, file: FileName) -> Iterator[FileRow]:
    """The rows of the file's older versions, in no order."""
    for item in table.query(date_prefix, files.versions_prefix(file)):
        if item["file_path"] == file.file_path:
            yield FileRow.from_item(item)


def rows_of_manifest(date_prefix: str, manifest_path: str) -> Iterator[FileRow]:
    """The rows that name this manifest. Reads all rows of the date."""
    for items, _ in table.pages_after(date_prefix, None, "manifest_path = :path", {":path": manifest_path}):
        yield from map(FileRow.from_item, items)


def of_date(date_prefix: str, attributes: Sequence[str]) -> Iterator[FileRow]:
    """All rows of a date, with these attributes alone. Eventually consistent: see `table.query_eventually`."""
    yield from map(FileRow.from_item, table.query_eventually(date_prefix, attributes))


def read_again(found: Sequence[FileRow]) -> list[FileRow]:
    """These versions as their rows are now, read consistently, wherever they have moved. A row that is gone is left
    out."""
    keys = {(row.date_prefix, file_name) for row in found for file_name in present_names(row)}
    versions_found = {(row.file_path, row.version_id) for row in found}
    rows = map(FileRow.from_item, batches.read(keys).items)
    return [row for row in rows if (row.file_path, row.version_id) in versions_found]


def read_versions(files_of_dates: Iterable[tuple[str, FileVersion]]) -> list[FileRow]:
    """The rows under every sort key that these versions may have, of their files or of others, read consistently."""
    keys = {(date, name) for date, file in files_of_dates for name in names_of_version(file.file_path, file.version_id)}
    return [FileRow.from_item(item) for item in batches.read(keys).items]


def scan_rows(file_path: str) -> Iterator[FileRow]:
    """The rows of a path on all dates. Reads the whole table."""
    yield from map(FileRow.from_item, table.scan("file_path = :file_path", {":file_path": file_path}))


def release_version(row: FileRow) -> bool:
    """Lets the next event of this quarantined version count as new. False if the row has changed.

    The row stays quarantined until that event arrives: if the event is never sent, nothing is lost.
    """
    is_same_version = "version_id = :version_id" if row.version_id else "attribute_not_exists(version_id)"
    return table.update_if(
        row.date_prefix,
        row.file_name,
        "SET released = :true, updated_at = :now",
        f"#status = :quarantined AND etag = :etag AND {is_same_version}",
        {
            ":quarantined": "quarantined",
            ":etag": row.etag,
            ":version_id": row.version_id,
            ":true": True,
            ":now": clock.to_text(clock.now()),
        },
        names={"#status": "status"},
    )


def _moment() -> Moment:
    return Moment(clock.to_text(clock.now()), retention.expiry())


def _arrive(file: FileVersion, refusal: Refusal | None, row: FileRow | None, place: Place) -> Change:
    def kept_row(version_id: str) -> FileRow | None:
        # Without the file's row there are no others, unless it has expired.
        is_worth_reading = row is not None or retention.may_have_forgotten()
        return _kept_row(place.date_prefix, file, version_id) if is_worth_reading else None

    return versions.arrive(row, place, file, refusal, _moment(), partial(inputs.is_current, file), kept_row)


def _kept_row(date_prefix: str, file: FileName, version_id: str) -> FileRow | None:
    item = table.get(date_prefix, files.version_name(file, version_id))
    return FileRow.from_item(item) if item and item["file_path"] == file.file_path else None


def _remove_older_versions(row: FileRow, removal: Removal) -> None:
    """Older versions that are still pending were removed with their file. Doing it twice changes nothing."""
    at = _moment()
    for kept in older_versions(row.date_prefix, removal):
        if removals.is_removed_with_its_file(kept, row):
            # If it was marked meanwhile, the removal came during the cut.
            _put(removals.removed(kept, at), kept)


def _store(date_prefix: str, file: FileName, decide: Decide, known: FileRow | None = None) -> Stored:
    """Writes the row that `decide` makes of the stored one. `known`: the row read before this call, or None."""
    if known is None and retention.may_have_forgotten():
        known = find_row(date_prefix, file)  # the first free sort key is not always the file's: see find_row
    for file_name in [known.file_name] if known else sort_key_candidates(file):
        row = known
        for _ in range(CONTENTION_ATTEMPTS):
            change = decide(row, Place(date_prefix, file_name))
            stored = _write(change, row)
            if stored is None:
                return Stored(change.outcome, file_name)
            if stored.file_path != file.file_path:
                break  # a file of the same basename in another folder has this sort key: try the next
            row = stored
        else:
            raise RowContended(f"{date_prefix}/{file_name} changed {CONTENTION_ATTEMPTS} times during the write")
    raise RowContended(f"{file.file_path}: both of its sort keys belong to other files")


def _write(change: Change, known: FileRow | None) -> FileRow | None:
    """Writes what has changed; returns the stored row of the file if it is another one than `known`."""
    if change.row is None:
        return None
    if change.apart is None or known is None:
        return _put(change.row, known)
    known_apart = change.known_apart.to_item() if change.known_apart else None
    puts = [(change.row.to_item(), known.to_item()), (change.apart.to_item(), known_apart)]
    if table.put_all_if_unchanged(puts, COMPARED):
        return None
    item = table.get(known.date_prefix, known.file_name)
    if item is None:
        raise RowContended(f"{known.date_prefix}/{known.file_name} was deleted during the write")
    return FileRow.from_item(item)


def _put(row: FileRow, known: FileRow | None) -> FileRow | None:
    """Writes the row unless the stored one differs from `known`; returns the stored one then."""
    stored = table.put_if_unchanged(row.to_item(), known.to_item() if known else None, COMPARED)
    return FileRow.from_item(stored) if stored else None
