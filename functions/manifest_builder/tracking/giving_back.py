"""Giving back: the files of a void manifest become pending again. Its object is gone, so the rows are searched.

No lock is needed: every run that meets a void record may go on with it, and doing it twice changes nothing. A row
that is given back has been pending since `voided_at`, which is after the manifest's cut. So a late marking for this
manifest has no effect; and no other manifest of the date is cut before every row has been given back.
"""

from datetime import datetime

from manifest_builder import clock
from manifest_builder.batching import PendingFile
from manifest_builder.manifests import ManifestRecord
from manifest_builder.rows import FileRow
from manifest_builder.tracking import manifest_records, pending, table


def give_back(manifest: ManifestRecord, until: datetime) -> tuple[int, bool]:
    """Gives back what the void manifest has named; ends at the first row after `until`. Returns the number of rows that
    it had marked, and whether all is done: then the record leaves the index, and the date goes on."""
    for file in pending.pending_files(manifest.date_prefix, until=manifest.cut):
        _stay_pending(manifest, file)
        if clock.now() >= until:
            return 0, False
    returned = 0
    pages = table.pages_after(
        manifest.date_prefix, manifest.given_back_to, "manifest_path = :path", {":path": manifest.file_path}
    )
    for items, last in pages:
        for item in items:
            returned += _return(FileRow.from_item(item), manifest.file_path, str(manifest.voided_at))
            if clock.now() >= until:
                manifest_records.note_given_back(manifest, item["file_name"])
                return returned, False
        if last and clock.now() >= until:
            manifest_records.note_given_back(manifest, last)
            return returned, False
    return returned, manifest_records.finish_void(manifest)


def _stay_pending(manifest: ManifestRecord, file: PendingFile) -> None:
    """A row that was not marked: now the manifest can mark neither it nor, as its cut is noted, a later version."""
    table.update_if(
        manifest.date_prefix,
        file.file_name,
        "SET pending_since = :since, cut = :cut",
        "#status = :pending AND pending_since = :known",
        {
            ":since": manifest.voided_at,
            ":cut": manifest.cut,
            ":pending": "pending",
            ":known": file.pending_since,
        },
        names={"#status": "status"},
    )


def _return(row: FileRow, manifest_path: str, since: str) -> bool:
    """A marked row is pending again, or, if its file was deleted meanwhile, deleted."""
    marked_by_it = "#status = :manifested AND manifest_path = :path"
    values = {":manifested": "manifested", ":path": manifest_path, ":now": clock.to_text(clock.now())}
    is_deleted = row.deleted_at is not None
    to_pending = "SET #status = :status, updated_at = :now, pending_since = :since REMOVE manifest_path, #ttl"
    to_deleted = "SET #status = :status, updated_at = :now REMOVE manifest_path"
    return table.update_if(
        row.date_prefix,
        row.file_name,
        to_deleted if is_deleted else to_pending,
        f"{marked_by_it} AND attribute{'' if is_deleted else '_not'}_exists(deleted_at)",
        values | ({":status": "deleted"} if is_deleted else {":status": "pending", ":since": since}),
        names={"#status": "status"} | ({} if is_deleted else {"#ttl": "ttl"}),
    )
