"""Manifests: their records, their keys, their documents, and which of them may be resumed."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from manifest_builder import clock

# Glue has no idempotency token: a start that was given up may still land. Within this time nobody starts again.
START_SETTLE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class ManifestRecord:
    """An open manifest: committed, its job run not recorded yet. Times are text as in `clock`."""

    date_prefix: str
    record_name: str
    file_path: str
    file_count: int
    file_size_bytes: int
    cut: str
    created_at: str
    starter: str | None = None
    start_attempted_at: str | None = None

    @property
    def was_attempted(self) -> bool:
        return self.start_attempted_at is not None


@dataclass(frozen=True, slots=True)
class StartedManifest:
    """A manifest whose run was still under way when somebody looked. `attempt` counts the starts, from 1."""

    date_prefix: str
    record_name: str
    file_path: str
    file_count: int
    job_run_id: str | None
    attempt: int


def partition_of(date_prefix: str) -> str:
    return f"MANIFEST#{date_prefix}"


def date_of(partition: str) -> str | None:
    """The date of a manifest partition, None for any other partition."""
    return partition.removeprefix("MANIFEST#") if partition.startswith("MANIFEST#") else None


def record_name(batch_index: int, token: str) -> str:
    """The sort key of a manifest record. One commit per token: a round of the lock cuts one manifest at most."""
    return f"batch-{batch_index:04d}-{token}"


def object_key(date_prefix: str, batch_index: int, at: datetime) -> str:
    """`manifests/{date}/batch-{idx}-{timestamp}.json` (specification), the timestamp in microseconds."""
    return f"manifests/{date_prefix}/batch-{batch_index:04d}-{at:%Y%m%dT%H%M%S%fZ}.json"


def to_document(file_paths: Sequence[str]) -> str:
    """The manifest format of the specification."""
    return json.dumps({"fileLocations": [{"URIPrefixes": list(file_paths)}]}, ensure_ascii=False, indent=1)


def from_document(document: str | bytes) -> list[str]:
    return [uri for location in json.loads(document)["fileLocations"] for uri in location["URIPrefixes"]]


def oldest_resumable(open_manifests: Iterable[ManifestRecord], at: datetime) -> ManifestRecord | None:
    """The oldest open manifest that may be finished now, or None.

    One that was never attempted always may: its files may be unmarked. Those that were attempted may once every
    attempt of the date is 60 s old, so that a start still under way can land, and a busy Glue is not hammered.
    """
    manifests = sorted(open_manifests, key=lambda manifest: manifest.created_at)
    settled = all(
        clock.age_seconds(manifest.start_attempted_at, at) >= START_SETTLE_SECONDS
        for manifest in manifests
        if manifest.start_attempted_at is not None
    )
    return next((manifest for manifest in manifests if settled or not manifest.was_attempted), None)
