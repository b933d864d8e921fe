"""Manifests whose object was deleted: void, and their files pending again; or failed, if the start was ever claimed.

A void manifest's files are searched by their rows, because the object that named them is gone. No lock is needed: every
run that meets a void record may go on, and doing it twice changes nothing. A row that is given back has been pending
since `voided_at`, which is after the manifest's cut. So a late marking for this manifest has no effect; and no other
manifest of the date is cut before every row has been given back.
"""

from datetime import datetime

from manifest_builder import clock, manifests
from manifest_builder.batching import PendingFile
from manifest_builder.manifests import ManifestRecord
from manifest_builder.rows import FileRow, present_names
from manifest_builder.tracking import pending, table


def void(partition: str, record_name: str, cut: str, error: str, now: datetime) -> bool:
    """Retires an open manifest whose start was never claimed; False if it was, or if the record has changed.

    This and `claim_start` exclude each other. The record stays in the index until all of its files are given back.
    """
    return table.update_if(
        partition,
        record_name,
        "SET #status = :void, starter = :starter, voided_at = :voided_at, #error = :error, updated_at = :now",
        "#status = :open AND attribute_not_exists(start_attempted_at) AND attribute_not_exists(starter)",
        {
            ":void": "void",
            ":open": "open",
            ":starter": manifests.VOID,
            ":voided_at": max(clock.to_text(now), clock.microsecond_after(cut)),
            ":error": error,
            ":now": clock.to_text(now),
        },
        names={"#status": "status", "#error": "error"},
    )


def fail_unstarted(partition: str, record_name: str, attempt: tuple[str, str | None], error: str) -> bool:
    """Leaves an open manifest that cannot be started to an operator. `attempt`: its (starter, start_attempted_at);
    False if there is another attempt meanwhile."""
    starter, attempted_at = attempt
    same_attempt = "start_attempted_at = :at" if attempted_at else "attribute_not_exists(start_attempted_at)"
    return table.update_if(
        partition,
        record_name,
        "SET #status = :failed, #error = :error, updated_at = :now REMOVE pending_since",
        f"#status = :open AND starter = :starter AND {same_attempt}",
        {
            ":failed": "failed",
            ":open": "open",
            ":starter": starter,
            ":at": attempted_at,
            ":error": error,
            ":now": clock.to_text(clock.now()),
        },
        names={"#status": "status", "#error": "error"},
    )


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
                _note_given_back(manifest, item["file_name"])
                return returned, False
        if last and clock.now() >= until:
            _note_given_back(manifest, last)
            return returned, False
    return returned, _finish(manifest)


def _stay_pending(manifest: ManifestRecord, file: PendingFile) -> None:
    """A row that was not marked: now the manifest can mark neither it nor, as its cut is noted, a later version."""
    for file_name in present_names(file):
        if table.update_if(
            manifest.date_prefix,
            file_name,
            "SET pending_since = :since, cut = :cut",
            "#status = :pending AND pending_since = :known",
            {
                ":since": manifest.voided_at,
                ":cut": manifest.cut,
                ":pending": "pending",
                ":known": file.pending_since,
            },
            names={"#status": "status"},
        ):
            return


def _return(row: FileRow, manifest_path: str, since: str) -> bool:
    """A marked row is pending again, or, if its file was deleted meanwhile, deleted."""
    return any(_return_row(row, name, manifest_path, since) for name in present_names(row))


def _return_row(row: FileRow, file_name: str, manifest_path: str, since: str) -> bool:
    marked_by_it = "#status = :manifested AND manifest_path = :path"
    values = {":manifested": "manifested", ":path": manifest_path, ":now": clock.to_text(clock.now())}
    return table.update_if(
        row.date_prefix,
        file_name,
        "SET #status = :pending, updated_at = :now, pending_since = :since REMOVE manifest_path, #ttl",
        f"{marked_by_it} AND attribute_not_exists(deleted_at)",
        values | {":pending": "pending", ":since": since},
        names={"#status": "status", "#ttl": "ttl"},
    ) or table.update_if(
        row.date_prefix,
        file_name,
        "SET #status = :deleted, updated_at = :now REMOVE manifest_path",
        f"{marked_by_it} AND attribute_exists(deleted_at)",
        values | {":deleted": "deleted"},
        names={"#status": "status"},
    )


def _note_given_back(manifest: ManifestRecord, file_name: str) -> None:
    """Remembers that the rows up to this sort key have been given back."""
    table.update_if(
        manifests.partition_of(manifest.date_prefix),
        manifest.record_name,
        "SET given_back_to = :file_name",
        "#status = :void",
        {":file_name": file_name, ":void": "void"},
        names={"#status": "status"},
    )


def _finish(manifest: ManifestRecord) -> bool:
    """Takes a void manifest, whose rows have all been given back, out of the index."""
    return table.update_if(
        manifests.partition_of(manifest.date_prefix),
        manifest.record_name,
        "SET updated_at = :now REMOVE pending_since",
        "#status = :void",
        {":void": "void", ":now": clock.to_text(clock.now())},
        names={"#status": "status"},
    )
