"""The workflow's own events, on a bus of EventBridge: docs/events.md describes them.

An event is sent before the state that it tells of is recorded. After a crash in between it is sent again with the same
id, so it is never missing. While EventBridge is out, nothing is recorded that would have to be told.
"""

import json
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from manifest_builder import aws
from manifest_builder.batching import PendingFile
from manifest_builder.errors import EventNotSent
from manifest_builder.files import FileVersion
from manifest_builder.manifests import ManifestRecord
from manifest_builder.settings import settings

SCHEMA_VERSION = "1"
MANIFEST_STATUS_CHANGE = "Manifest Status Change"
FILE_QUARANTINED = "File Quarantined"
DATE_FLUSHED = "Date Flushed"
SEND_ATTEMPTS = 3

ManifestStatus = Literal["succeeded", "failed", "waiting_for_operator"]
"""`failed`: the job is started again. `waiting_for_operator`: it is not."""


def manifest_ended(
    manifest: ManifestRecord,
    status: ManifestStatus,
    times: Mapping[str, str | None] | None = None,
    reason: str | None = None,
) -> None:
    """An attempt of a manifest has ended. `times`: of its run, as `job_runs.times` gives them. Raises EventNotSent."""
    times = times or {}
    detail = {
        "status": status,
        "date": manifest.date_prefix,
        "manifestPath": manifest.file_path,
        "fileCount": manifest.file_count,
        "sizeBytes": manifest.file_size_bytes,
        "cut": manifest.cut,
        "attempt": manifest.attempt,
        "jobRunId": manifest.job_run_id,
        "runStartedAt": times.get("run_started_at"),
        "runFinishedAt": times.get("finished_at"),
        "reason": reason,
    }
    _send(MANIFEST_STATUS_CHANGE, (manifest.file_path, manifest.attempt, status), detail)


def file_quarantined(date_prefix: str, file: FileVersion, reason: str, copied_to: str) -> None:
    """A version of a file was refused. `copied_to`: the copy's URI, or why there is none. Raises EventNotSent."""
    detail = {
        "date": date_prefix,
        "bucket": file.bucket,
        "key": file.key,
        "versionId": file.version_id,
        "etag": file.etag,
        "sequencer": file.sequencer,
        "sizeBytes": file.size_bytes,
        "reason": reason,
        "copiedTo": copied_to,
    }
    version = file.version_id or f"{file.etag} {file.sequencer}"
    _send(FILE_QUARANTINED, (file.bucket, file.key, version, reason), detail)


def date_flushed(date_prefix: str, batch: Sequence[PendingFile], cut: str) -> None:
    """The rest of a date, pending since `cut` or before, goes into a manifest. Raises EventNotSent."""
    detail = {
        "date": date_prefix,
        "cut": cut,
        "fileCount": len(batch),
        "sizeBytes": sum(file.size_bytes for file in batch),
    }
    _send(DATE_FLUSHED, (date_prefix, cut), detail)


def _send(detail_type: str, subject: tuple[str | int, ...], detail: dict[str, Any]) -> None:
    """`subject`: what the event is about; the id is a function of it, and of the source.

    PutEvents answers 200 even if it has not taken an event, and no SDK repeats that.
    """
    bus = settings().event_bus_name
    if bus is None:
        return
    source = settings().event_source
    event_id = str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([source, detail_type, *subject])))
    document = json.dumps({"version": SCHEMA_VERSION, "id": event_id, **detail})
    entry = {"EventBusName": bus, "Source": source, "DetailType": detail_type, "Detail": document}
    for attempt in range(SEND_ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0.05, 0.1) * 2**attempt)
        answer = aws.events().put_events(Entries=[entry])  # type: ignore[list-item]
        if not answer["FailedEntryCount"]:
            return
    (failed,) = answer["Entries"]
    raise EventNotSent(f"{detail_type} to {bus}: {failed.get('ErrorCode')}: {failed.get('ErrorMessage')}")
