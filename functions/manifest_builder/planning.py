"""The next step for a date. CheckThreshold and CreateManifest share this rule, so their answers agree."""

from dataclasses import dataclass, field
from datetime import datetime

from manifest_builder.batching import Batch, next_batch
from manifest_builder.manifests import ManifestRecord, oldest_resumable
from manifest_builder.tracking.manifest_records import open_manifests
from manifest_builder.tracking.pending import pending_files


@dataclass(frozen=True, slots=True)
class Plan:
    """Resume `manifest`; or, if it is None, cut `batch`; or, if that has no files, do nothing.

    `waiting` counts open manifests whose start was attempted less than START_SETTLE_SECONDS ago.
    """

    manifest: ManifestRecord | None
    batch: Batch = field(default_factory=lambda: Batch([]))
    waiting: int = 0


def plan(date_prefix: str, max_bytes: int, *, date_started: bool, flush_before: str | None, at: datetime) -> Plan:
    """The next step for a date. No batch is cut while a manifest is open, although its start may be waiting: if Glue is
    at its limit, the older manifest goes first."""
    found = open_manifests(date_prefix)
    manifest = oldest_resumable(found, at)
    if manifest is not None:
        return Plan(manifest)
    if found:
        return Plan(None, waiting=len(found))
    pending = pending_files(date_prefix)
    return Plan(None, next_batch(pending, max_bytes, date_started=date_started, flush_before=flush_before))
