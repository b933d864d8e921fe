"""ValidateFile: checks a file's extension and size."""

from typing import Any

from manifest_builder.files import FileVersion
from manifest_builder.telemetry import file_box, outcome
from manifest_builder.validation import reason_to_refuse


@file_box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The rules are in `validation`.

    in:  {"run_id", "execution", "date_prefix", "file"}
    out: {"valid": bool, "reason": text or null}
    """
    file = FileVersion.from_state(event["file"])
    reason = reason_to_refuse(file.key, file.size_bytes)
    outcome("refused" if reason else "valid", reason=reason)
    return {"valid": reason is None, "reason": reason}
