"""RecordRemoval: keeps a deleted file out of future manifests, and records its deletion."""

from typing import Any

from manifest_builder.files import Removal
from manifest_builder.telemetry import file_box, outcome
from manifest_builder.tracking import file_rows


@file_box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """A pending file becomes `deleted`. If it is manifested or quarantined, only `deleted_at` is recorded.

    in:  {"run_id", "execution", "date_prefix", "file"}
    out: {"message_id", "file_path", "size_bytes": 0, "outcome": "deleted" | "duplicate" | "superseded" | "untracked"}
    """
    removal = Removal.from_state(event["file"])
    stored = file_rows.record_removal(event["date_prefix"], removal)
    outcome(stored.outcome, file_name=stored.file_name)
    return {
        "message_id": removal.message_id,
        "file_path": removal.file_path,
        "size_bytes": 0,
        "outcome": stored.outcome,
    }
