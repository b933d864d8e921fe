"""What a date needs next. CheckThreshold and CreateManifest ask the same question, so they cannot disagree."""

from dataclasses import dataclass
from datetime import datetime

from manifest_builder import tracking
from manifest_builder.batching import PendingFile, next_batch
from manifest_builder.manifests import ManifestRecord, oldest_resumable


@dataclass(frozen=True, slots=True)
class Plan:
    """Resume `manifest`, or else cut `batch`, or else nothing. `waiting` counts starts that are left to settle."""

    manifest: ManifestRecord | None
    batch: list[PendingFile]
    waiting: int

    @property
    def is_needed(self) -> bool:
        return self.manifest is not None or bool(self.batch)


def plan(date_prefix: str, max_bytes: int, *, date_started: bool, flush_before: str | None, at: datetime) -> Plan:
    """The next step for a date; nothing is cut while a manifest may be resumed."""
    open_manifests = tracking.open_manifests(date_prefix)
    manifest = oldest_resumable(open_manifests, at)
    waiting = 0 if manifest else sum(found.was_attempted for found in open_manifests)
    batch: list[PendingFile] = []
    if manifest is None:
        pending = tracking.pending_files(date_prefix)
        batch = next_batch(pending, max_bytes, date_started=date_started, flush_before=flush_before)
    return Plan(manifest, batch, waiting)
