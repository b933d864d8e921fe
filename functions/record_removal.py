"""RecordRemoval: a file that was deleted is in no manifest from now on, or at least known to be gone."""

from typing import Any

from manifest_builder import tracking
from manifest_builder.files import Removal
from manifest_builder.telemetry import file_box, outcome


@file_box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """A pending file becomes `deleted`; of one that is manifested or quarantined it is recorded only.

    in:  {"run_id", "execution", "date_prefix", "file"}
    out: {"message_id", "file_path", "size_bytes": 0, "outcome": "deleted" | "duplicate" | "superseded" | "untracked"}
    """
    removal = Removal.from_state(event["file"])
    stored = tracking.record_removal(event["date_prefix"], removal)
    outcome(stored.outcome, file_name=stored.file_name)
    return {
        "message_id": removal.message_id,
        "file_path": removal.file_path,
        "size_bytes": 0,
        "outcome": stored.outcome,
    }
