"""The position of the scheduled audit: one item, which the next run goes on from."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from manifest_builder.tracking import table

PARTITION = SORT_KEY = "AUDIT"


@dataclass(frozen=True, slots=True)
class Position:
    """How far a pass over the bucket has come. Times are text as in `clock`.

    A pass takes the keys in segments, in their order, and the dates of a segment one after the other.
    """

    audited_until: str
    """When the last complete pass began: what was written until then is audited. Before there is one: the first run."""
    began_at: str | None = None
    """When the pass began; None between two passes."""
    after_key: str | None = None
    """The segment under way begins behind this key; None: at the beginning of the bucket."""
    until_key: str | None = None
    """The last key of the segment under way; None: not known, or the end of the bucket."""
    after_date: str | None = None
    """The dates of the segment under way are audited up to this one; None: none of them is."""
    revision: int = 0
    """Counts the writes, so that of two runs at a time one notices the other."""

    def at_the_next_segment(self) -> Self:
        return replace(self, after_key=self.until_key, until_key=None, after_date=None)

    def at_the_end(self) -> Self:
        """After a pass that is complete."""
        return type(self)(audited_until=str(self.began_at), revision=self.revision)


def read() -> Position | None:
    item = table.get(PARTITION, SORT_KEY)
    if item is None:
        return None
    known: dict[str, Any] = {name: item[name] for name in Position.__slots__ if name in item}
    return Position(**known | {"revision": int(item["revision"])})


def write(position: Position) -> Position | None:
    """Writes the position over the one of the revision before; returns it as written, or None if another run wrote."""
    written = replace(position, revision=position.revision + 1)
    known = {"revision": position.revision} if position.revision else None
    item = {"date_prefix": PARTITION, "file_name": SORT_KEY, **asdict(written)}
    return written if table.put_if_unchanged(item, known, ("revision",)) is None else None
