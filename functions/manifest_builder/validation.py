"""The rules for a valid file: extension and size (specification, validate_file)."""

from manifest_builder.files import has_accepted_extension
from manifest_builder.settings import MB, settings


def reason_to_refuse(key: str, size_bytes: int) -> str | None:
    """Why a file of this key and size is not valid; None if it is. The size limits are inclusive."""
    if not has_accepted_extension(key):
        return "Invalid extension"
    if not settings().min_file_bytes <= size_bytes <= settings().max_file_bytes:
        return f"Size {size_bytes / MB:.2f}MB out of range"
    return None
