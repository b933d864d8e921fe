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
from manifest_builder.files import Location
from manifest_builder.rows import FileRow, sort_key_candidates
from manifest_builder.tracking import batches, table
from manifest_builder.tracking.retention import expiry

MARKING_THREADS = 16


@dataclass(frozen=True, slots=True)
class Marking:
    """The files whose rows were marked, and how many rows were left: at the deadline, or because of throttling."""

    marked: list[PendingFile]
    left: int


@dataclass(frozen=True, slots=True)
class Markable:
    """The status and the condition of a row whose present version the manifest names."""

    status: str
    condition: str


PENDING_UP_TO_THE_CUT = Markable("pending", "pending_since <= :cut")  # a version uploaded since then stays pending
# A deleted row has no pending_since any more. It was pending since created_at, or since a microsecond after its cut,
# whichever is later.
DELETED_AFTER_THE_CUT = Markable("deleted", "created_at <= :cut AND (attribute_not_exists(cut) OR cut < :cut)")


def mark_manifested(
    date_prefix: str, files: list[PendingFile], manifest_path: str, cut: str, until: datetime
) -> Marking:
    """Marks files that have been pending since the cut or before; begins no write after `until`.

    Files that were deleted meanwhile are marked by `mark_deleted`. A date takes about 500 marks a second: each writes
    the table and the index, and an item collection with a local index has 1,000 write units a second (DynamoDB
    Developer Guide, Local Secondary Indexes).
    """

    def mark(file: PendingFile) -> bool | None:
        if clock.now() >= until:
            return None
        try:
            return _mark_row(date_prefix, file.file_name, manifest_path, cut, PENDING_UP_TO_THE_CUT)
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


def mark_deleted(
    date_prefix: str, file_paths: Collection[str], manifest_path: str, cut: str, until: datetime
) -> Marking:
    """Marks rows of deleted files that were pending when the manifest that names them was cut.

    Their `deleted_at` says that the files have been deleted since. To be called when no named file is pending any more.
    Rows that are left, of thousands on a busy date, stay `deleted`: the job need not wait for them.
    """
    rows, left = _read_by_path(date_prefix, file_paths, until)
    marked = [
        PendingFile(row.file_name, row.file_path, row.file_size_bytes or 0, cut)
        for row in rows
        if row.status == "deleted" and _mark_row(date_prefix, row.file_name, manifest_path, cut, DELETED_AFTER_THE_CUT)
    ]
    return Marking(marked, left)


def _mark_row(date_prefix: str, file_name: str, manifest_path: str, cut: str, markable: Markable) -> bool:
    expires = expiry()
    set_expiry = ", #ttl = :ttl" if expires else ""
    return table.update_if(
        date_prefix,
        file_name,
        f"SET #status = :manifested, manifest_path = :path, cut = :cut, updated_at = :now{set_expiry} "
        "REMOVE pending_since",
        f"#status = :status AND {markable.condition}",
        {
            ":manifested": "manifested",
            ":path": manifest_path,
            ":cut": cut,
            ":now": clock.to_text(clock.now()),
            ":status": markable.status,
            ":ttl": expires,
        },
        names={"#status": "status"} | ({"#ttl": "ttl"} if expires else {}),
    )


def _read_by_path(date_prefix: str, file_paths: Collection[str], until: datetime) -> tuple[list[FileRow], int]:
    """The rows of these files, and how many sort keys were left unread at the deadline.

    A date has 3,000 read units a second, so a file's second sort key is read only if the first is another file's.
    """
    rows: list[FileRow] = []
    names = {path: sort_key_candidates(Location.from_path(path)) for path in file_paths}
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
            own = {
                path: row for path, (name, *_) in names.items() if (row := found.get(name)) and row.file_path == path
            }
            rows += own.values()
            names = {path: others for path, (_, *others) in names.items() if others and path not in own}
    return rows, 0
