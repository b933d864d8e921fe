"""Numbers, sizes, durations and names as people read them."""

from pathlib import Path


def printable(text: str) -> str:
    """The text with every unprintable character escaped: a key may hold control sequences of a terminal."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def size(size_bytes: int) -> str:
    value = float(size_bytes)
    for unit in ("B", "KB", "MB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.2f} GB"


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(minutes: float) -> str:
    return f"{minutes / 60:.0f} h" if minutes >= 120 else f"{max(1, minutes):.0f} min"


def short_path(path: Path) -> Path:
    """As one would type it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
