"""ValidateFile: checks a file's extension and size."""

from typing import Any

from manifest_builder.files import EXTENSION, FileVersion
from manifest_builder.settings import MB, settings
from manifest_builder.telemetry import file_box, outcome


@file_box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The rules of the specification's validate_file; the limits are inclusive.

    in:  {"run_id", "execution", "date_prefix", "file"}
    out: {"valid": bool, "reason": text or null}
    """
    file = FileVersion.from_state(event["file"])
    reason = reason_to_refuse(file.key, file.size_bytes)
    outcome("refused" if reason else "valid", reason=reason)
    return {"valid": reason is None, "reason": reason}


def reason_to_refuse(key: str, size_bytes: int) -> str | None:
    """Why a file of this key and size is not valid; None if it is (specification, validate_file)."""
    if not key.endswith(EXTENSION):
        return "Invalid extension"
    if not settings().min_file_bytes <= size_bytes <= settings().max_file_bytes:
        return f"Size {size_bytes / MB:.2f}MB out of range"
    return None
