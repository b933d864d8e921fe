"""Marking: the rows of the files that a committed manifest names become `manifested`.

No lock is needed: a committed manifest may be marked by any run, and marking twice changes nothing.
"""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from botocore.exceptions import ClientError

from manifest_builder import clock
from manifest_builder.batching import PendingFile
from manifest_builder.documents import NamedFile
from manifest_builder.rows import FileRow, names_of_version, present_names
from manifest_builder.tracking import batches, table
from manifest_builder.tracking.retention import expiry

MARKING_THREADS = 16


@dataclass(frozen=True, slots=True)
class Marking:
    """The files whose rows were marked, and how many rows were left: at the deadline, or because of throttling."""

    marked: list[PendingFile]
    left: int


PENDING_AT_THE_CUT = {
    "pending": "pending_since <= :cut",
    # It has no pending_since any more. It was pending since created_at, or since a microsecond after its cut, whichever
    # is later.
    "deleted": "created_at <= :cut AND (attribute_not_exists(cut) OR cut < :cut)",
}
"""By the status of a row: the condition that it was pending when the manifest was cut."""


def mark_manifested(
    date_prefix: str, files: list[PendingFile], manifest_path: str, cut: str, until: datetime
) -> Marking:
    """Marks files that have been pending since the cut or before; begins no write after `until`.

    Files that were deleted meanwhile are marked by `mark_others`. A date takes about 500 marks a second: each writes
    the table and the index, and an item collection with a local index has 1,000 write units a second (DynamoDB
    Developer Guide, Local Secondary Indexes).
    """

    def mark(file: PendingFile) -> bool | None:
        if clock.now() >= until:
            return None
        try:
            return any(
                _mark_row(date_prefix, file_name, file, manifest_path, cut, "pending")
                for file_name in present_names(file)
            )
        except ClientError as error:
            if table.error_code(error) in table.THROTTLED:
                return None
            raise

    with ThreadPoolExecutor(max_workers=MARKING_THREADS) as pool:
        outcomes = list(pool.map(mark, files))
    return Marking(
        [file for file, was_marked in zip(files, outcomes, strict=True) if was_marked],
        sum(was_marked is None for was_marked in outcomes),
    )


def mark_others(
    date_prefix: str, named: Collection[NamedFile], manifest_path: str, cut: str, until: datetime
) -> Marking:
    """Marks rows that the index did not show, of files that a manifest names: of files that were deleted since the cut,
    as their `deleted_at` says; and of a version whose row moved to another key while the index was read.

    Rows that are left, of thousands on a busy date, stay `deleted`: the job need not wait for them.
    """
    rows, left = _read_named(date_prefix, named, until)
    # A version that was uploaded again since the cut is not worth a write.
    rows = [row for row in rows if row.status in PENDING_AT_THE_CUT and (row.pending_since or "") <= cut]
    marked = []
    for row in rows:
        file = PendingFile(row.file_name, row.file_path, row.file_size_bytes or 0, cut, row.version_id, row.etag)
        if _mark_row(date_prefix, row.file_name, file, manifest_path, cut, row.status):
            marked.append(file)
    return Marking(marked, left)


def _mark_row(date_prefix: str, file_name: str, file: PendingFile, manifest_path: str, cut: str, status: str) -> bool:
    """Marks the row if it is of this version: another version of the file is in another manifest."""
    expires = expiry()
    set_expiry = ", #ttl = :ttl" if expires else ""
    is_this_version, names, _ = table.unchanged(
        {"file_path": file.file_path, "version_id": file.version_id, "etag": file.etag},
        ("file_path", "version_id", "etag"),
    )
    return table.update_if(
        date_prefix,
        file_name,
        f"SET #status = :manifested, manifest_path = :path, cut = :cut, updated_at = :now{set_expiry} "
        "REMOVE pending_since",
        f"#status = :status AND {PENDING_AT_THE_CUT[status]} AND {is_this_version}",
        {
            ":manifested": "manifested",
            ":path": manifest_path,
            ":cut": cut,
            ":now": clock.to_text(clock.now()),
            ":status": status,
            ":ttl": expires,
            ":file_path": file.file_path,
            ":version_id": file.version_id,
            ":etag": file.etag,
        },
        names={"#status": "status"} | names | ({"#ttl": "ttl"} if expires else {}),
    )


def _read_named(date_prefix: str, named: Collection[NamedFile], until: datetime) -> tuple[list[FileRow], int]:
    """The rows of these versions, and how many sort keys were left unread at the deadline.

    A date has 3,000 read units a second, so the next sort key of a version is read only if the one before it is of
    another version, or another file's.
    """
    rows: list[FileRow] = []
    names = {file: names_of_version(file.file_path, file.version_id) for file in named}
    with ThreadPoolExecutor(max_workers=MARKING_THREADS) as pool:
        while names:
            # Files of the same basename in two folders have their first sort key in common: it is read once.
            wanted = list(dict.fromkeys((date_prefix, of_file[0]) for of_file in names.values()))
            chunks = [
                wanted[first : first + batches.MAX_BATCH_GET] for first in range(0, len(wanted), batches.MAX_BATCH_GET)
            ]
            reads = list(pool.map(partial(batches.read, until=until), chunks))
            found = {row.file_name: row for read in reads for row in map(FileRow.from_item, read.items)}
            if left := sum(read.left for read in reads):
                return rows, left
            own = {file: row for file, (name, *_) in names.items() if (row := found.get(name)) and file.names(row)}
            rows += own.values()
            names = {file: others for file, (_, *others) in names.items() if others and file not in own}
    return rows, 0
