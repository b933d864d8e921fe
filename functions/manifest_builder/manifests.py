"""Manifests: records, keys, and the rule that says which open manifest may be resumed. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self

from manifest_builder import clock

Status = Literal["open", "started", "succeeded", "failed", "void"]
VOID = "VOID"
"""The starter of a void manifest: nobody else ever is. An entry of the index does not tell the status."""

# StartJobRun has no idempotency token, and a start that was given up may still land. For this long no run starts the
# job again: the states UpdateStatus and StartGlueJob with their retries, and a minute.
START_SETTLE_SECONDS = 110
_PARTITION = "MANIFEST#"


@dataclass(frozen=True, slots=True)
class ManifestRecord:
    """A committed manifest's record, or its entry in the pending index. Times are text as in `clock`."""

    date_prefix: str
    record_name: str
    """The sort key."""
    file_path: str
    """The S3 URI of the manifest object."""
    file_count: int
    file_size_bytes: int
    cut: str
    """The greatest pending_since among its files."""
    created_at: str
    """The moment of the commit; in an entry of the index, that of the last reopening if there was one."""
    starter: str | None = None
    start_attempted_at: str | None = None
    status: Status = "open"
    job_run_id: str | None = None
    attempt: int = 1
    """Counts the starts of the job. An entry of the index does not tell it."""
    error: str | None = None
    """Why the last run failed."""
    job_name: str | None = None
    """The job of `job_run_id`, whatever the present setting says; None in a record of an earlier release."""
    voided_at: str | None = None
    """The files of a void manifest have been pending since this moment, or since a later version."""
    given_back_to: str | None = None
    """The sort key up to which the rows of a void manifest have been given back."""
    replayed_after: int = 0
    """The attempts before the last replay: retries are counted from there."""

    @property
    def was_attempted(self) -> bool:
        return self.start_attempted_at is not None

    @property
    def retries(self) -> int:
        """Attempts beyond the first one, of all or since the last replay."""
        return self.attempt - self.replayed_after - 1

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Self:
        """Of a record, or of an entry of the index, which has no `status` and no `created_at`."""
        job_run_id = item.get("job_run_id")
        return cls(
            date_prefix=item["date_prefix"].removeprefix(_PARTITION),
            record_name=item["file_name"],
            file_path=item["file_path"],
            file_count=int(item["file_count"]),
            file_size_bytes=int(item["file_size_bytes"]),
            cut=item["cut"],
            created_at=item["created_at"] if "created_at" in item else item["pending_since"],
            starter=item.get("starter"),
            start_attempted_at=item.get("start_attempted_at"),
            status=item.get("status", _status_of_entry(item)),
            job_run_id=job_run_id,
            attempt=int(item.get("attempt", 1)),
            error=item.get("error"),
            job_name=item.get("job_name"),
            voided_at=item.get("voided_at"),
            given_back_to=item.get("given_back_to"),
            replayed_after=int(item.get("replayed_after", 0)),
        )

    def to_item(self) -> dict[str, Any]:
        """The record of a manifest that is committed now. `pending_since` makes it an entry of the pending index."""
        return {
            "date_prefix": partition_of(self.date_prefix),
            "file_name": self.record_name,
            "file_path": self.file_path,
            "file_count": self.file_count,
            "file_size_bytes": self.file_size_bytes,
            "cut": self.cut,
            "status": "open",
            "created_at": self.created_at,
            "pending_since": self.created_at,
        }


def _status_of_entry(item: Mapping[str, Any]) -> Status:
    if item.get("starter") == VOID:
        return "void"
    return "started" if "job_run_id" in item else "open"


def partition_of(date_prefix: str) -> str:
    """The partition of a date's manifest records."""
    return _PARTITION + date_prefix


def date_of(partition: str) -> str | None:
    """The date of a manifest partition, None for any other partition."""
    return partition.removeprefix(_PARTITION) if partition.startswith(_PARTITION) else None


def record_name(batch_index: int, token: str) -> str:
    """The sort key of a manifest record. It holds the token: a round of the lock commits at most one manifest."""
    return f"batch-{batch_index:04d}-{token}"


def prefix_of(date_prefix: str) -> str:
    """How the keys of a date's manifest objects begin."""
    return f"manifests/{date_prefix}/"


def object_key(date_prefix: str, batch_index: int, at: datetime) -> str:
    """`manifests/{date}/batch-{idx}-{timestamp}.json` (specification), the timestamp in microseconds."""
    return f"{prefix_of(date_prefix)}batch-{batch_index:04d}-{at:%Y%m%dT%H%M%S%fZ}.json"


def oldest_resumable(open_manifests: Iterable[ManifestRecord], at: datetime) -> ManifestRecord | None:
    """The oldest open manifest that may be finished now, or None. A void one comes first: it still has files.

    A manifest whose start was never attempted may always be resumed: its files may be unmarked. The others may be
    resumed once every attempt of the date is START_SETTLE_SECONDS old: a start that is still under way can land, and a
    busy Glue gets one request in that time.
    """
    manifests = sorted(open_manifests, key=lambda manifest: manifest.created_at)
    void = next((manifest for manifest in manifests if manifest.status == "void"), None)
    if void:
        return void
    settled = all(
        clock.age_seconds(manifest.start_attempted_at, at) >= START_SETTLE_SECONDS
        for manifest in manifests
        if manifest.start_attempted_at is not None
    )
    return next((manifest for manifest in manifests if settled or not manifest.was_attempted), None)
