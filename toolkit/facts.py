"""The facts that the promise is judged by: uploads, rows, manifests, runs. Whoever reads them, they mean the same."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

LOCK_PREFIX = "LOCK#"
MANIFEST_PREFIX = "MANIFEST#"

Version: TypeAlias = tuple[str, str]
"""The URI of a file, and the version: its id, or, in a bucket without versions, its etag."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One version of one file, as it was uploaded."""

    uri: str
    etag: str
    size_bytes: int
    refused: bool | None = None
    version_id: str | None = None

    @property
    def version(self) -> Version:
        return self.uri, self.version_id or self.etag


@dataclass(frozen=True, slots=True)
class FileRow:
    """A row: of a file's newest version, or of an older one."""

    date: str
    file_name: str
    uri: str
    etag: str
    size_bytes: int
    status: str
    sequencer: str | None = None
    reason: str | None = None
    manifest_path: str | None = None
    pending_since: str | None = None
    deleted_at: str | None = None
    version_id: str | None = None

    @property
    def version(self) -> Version:
        return self.uri, self.version_id or self.etag


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest record with what its object names; `versions` is None if the object is missing."""

    date: str
    path: str
    status: str
    file_count: int
    size_bytes: int
    created_at: str
    job_run_id: str | None
    versions: tuple[Version, ...] | None

    @property
    def uris(self) -> tuple[str, ...]:
        return tuple(uri for uri, _ in self.versions or ())


@dataclass(frozen=True, slots=True)
class JobRun:
    run_id: str
    manifest_path: str
    state: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a job run has read."""

    files: int
    rows: int
    versions: tuple[Version, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    uploads: list[Upload]
    deleted: Sequence[str]
    """URIs of the uploads that were deleted again."""
    poison: list[str]
    objects: dict[str, str]
    """Etags of the objects in the input bucket, by URI."""
    files: list[FileRow]
    manifests: list[Manifest]
    locks: list[str]
    runs: list[JobRun]
    results: dict[str, JobResult]
    """By path of the manifest."""
    copies: dict[str, str]
    """Etags of the objects in the quarantine bucket, by key."""
    messages_left: int
    dead_letters: list[str]
    has_results: bool = True
    """False: the job does not say what it has read."""
    events: Sequence[dict[str, Any]] = ()
    """`detail` of the events that the stack has sent."""


def file_row(row: dict[str, Any]) -> FileRow:
    return FileRow(
        date=row["date_prefix"],
        file_name=row["file_name"],
        uri=row["file_path"],
        # Of a file that was deleted before it was heard of nothing else is known.
        etag=row.get("etag", ""),
        size_bytes=int(row.get("file_size_bytes", 0)),
        status=row["status"],
        sequencer=row.get("sequencer"),
        reason=row.get("reason"),
        manifest_path=row.get("manifest_path"),
        pending_since=row.get("pending_since"),
        deleted_at=row.get("deleted_at"),
        version_id=row.get("version_id"),
    )


def manifest_of(row: dict[str, Any], versions: Iterable[Version] | None) -> Manifest:
    return Manifest(
        date=row["date_prefix"].removeprefix(MANIFEST_PREFIX),
        path=row["file_path"],
        status=row["status"],
        file_count=int(row["file_count"]),
        size_bytes=int(row["file_size_bytes"]),
        created_at=row["created_at"],
        job_run_id=row.get("job_run_id"),
        versions=None if versions is None else tuple(versions),
    )


def short_manifest_names(manifests: list[Manifest]) -> dict[str, str]:
    """`12-23 #1`: the date less its year, and the number of the manifest of the date in order of creation."""
    names: dict[str, str] = {}
    for _, of_date in groupby(manifests, key=lambda manifest: manifest.date):
        for number, manifest in enumerate(of_date, start=1):
            names[manifest.path] = f"{manifest.date[5:]} #{number}"
    return names


def versions_in(document: Mapping[str, Any]) -> Iterator[Version]:
    """The versions that a manifest's object names."""
    for file in document["files"]:
        yield file["uri"], file["versionId"] or file["etag"]
