"""A file's row in the tracking table: its attributes, and the sort keys that it may have.

A file has one row, of its newest version. In a bucket with versions, each older version has a row of its own beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Literal, Self

from manifest_builder import files
from manifest_builder.batching import PendingFile
from manifest_builder.files import FileName
from manifest_builder.settings import MB

Status = Literal["pending", "manifested", "quarantined", "deleted"]


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row. Attributes are None where the row has none; times are text as in `clock`; `ttl` is in epoch seconds."""

    date_prefix: str
    file_name: str
    """The sort key: see `sort_key_candidates`."""
    file_path: str
    status: Status
    created_at: str
    file_size_bytes: int | None = None
    """None in a row that a removal made: its event has no size."""
    file_size_mb: Decimal | None = None
    etag: str | None = None
    version_id: str | None = None
    sequencer: str | None = None
    """Of the version, or of the removal of a deleted file."""
    pending_since: str | None = None
    """Only while the file is pending. It makes the row an entry of the pending index."""
    manifest_path: str | None = None
    cut: str | None = None
    """The cut of the last manifest that named a version of this file."""
    reason: str | None = None
    """Why the file is quarantined."""
    copied_to: str | None = None
    """The URI of the quarantined copy, or why there is none."""
    older_versions: int | None = None
    """How many older versions have rows of their own. None in a row of an older version, and in a row that an earlier
    release made: what became of the versions before it is not known."""
    removed_before: str | None = None
    """The sequencer of the file's last removal: versions before it are deleted, also if their events come later."""
    released: bool | None = None
    """An operator has released this quarantined version: its next event counts as new."""
    deleted_at: str | None = None
    updated_at: str | None = None
    ttl: int | None = None
    others: Mapping[str, Any] = field(default_factory=dict)
    """Attributes that this release does not know. They are kept when the row is written again."""

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Self:
        known = {name: item[name] for name in _ATTRIBUTES if name in item}
        for name in ("file_size_bytes", "ttl", "older_versions"):
            if name in known:
                known[name] = int(known[name])
        return cls(**known, others={name: value for name, value in item.items() if name not in _ATTRIBUTES})

    def to_item(self) -> dict[str, Any]:
        return {**self.others, **{name: getattr(self, name) for name in _ATTRIBUTES}}


_ATTRIBUTES = tuple(attribute.name for attribute in fields(FileRow) if attribute.name != "others")


def sort_key_candidates(file: FileName) -> list[str]:
    """The sort keys that the file's row may have, in the order in which they are tried.

    The basename, or, if another folder's file has taken it, `<basename>#<hash of file_path>`. A basename that is empty,
    or looks like the second form, is never used.
    """
    disambiguated = files.disambiguated_name(file)
    if not file.base_name or files.looks_disambiguated(file.base_name):
        return [disambiguated]
    return [file.base_name, disambiguated]


def is_kept_apart(row: FileRow) -> bool:
    """Whether this is the row of an older version, beside the file's row."""
    location = files.Location.from_path(row.file_path)
    return row.version_id is not None and row.file_name == files.version_name(location, row.version_id)


def names_of_version(file_path: str, version_id: str | None) -> list[str]:
    """The sort keys that the row of this version may have."""
    location = files.Location.from_path(file_path)
    return sort_key_candidates(location) + ([files.version_name(location, version_id)] if version_id else [])


def present_names(found: "PendingFile | FileRow") -> list[str]:
    """The sort key under which a version was found, and that to which its row moves when a newer version comes."""
    if not found.version_id:
        return [found.file_name]
    apart = files.version_name(files.Location.from_path(found.file_path), found.version_id)
    return list(dict.fromkeys((found.file_name, apart)))


def megabytes(size_bytes: int) -> Decimal:
    """MB of 1024^2 bytes, rounded to 6 places (specification, DynamoDB Schema)."""
    return round(Decimal(size_bytes) / MB, 6)
