"""TrackFile: a valid file becomes pending in the tracking table."""

from typing import Any

from manifest_builder.files import FileVersion
from manifest_builder.telemetry import file_box, outcome
from manifest_builder.tracking import file_rows


@file_box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """One conditional write per new file; a redelivery changes nothing, an older version is ignored.

    in:  {"run_id", "execution", "date_prefix", "file"}
    out: {"message_id", "file_path", "size_bytes", "outcome": "tracked" | "duplicate" | "superseded"}
    """
    file = FileVersion.from_state(event["file"])
    stored = file_rows.track_file(event["date_prefix"], file)
    outcome(stored.outcome, file_name=stored.file_name)
    return {
        "message_id": file.message_id,
        "file_path": file.file_path,
        "size_bytes": file.size_bytes,
        "outcome": stored.outcome,
    }
