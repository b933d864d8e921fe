"""Read and write units of DynamoDB, from the sizes of items.

Rules: developer guide, "DynamoDB item sizes and formats", "DynamoDB read and write operations", "Local secondary
indexes: provisioned throughput considerations", "DynamoDB transactions: capacity management". An on-demand request
unit is counted by the same rules as a capacity unit. If the guide is ambiguous, the dearer reading is taken.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import Any

Item = Mapping[str, Mapping[str, Any]]
"""An item as the API spells it: {"name": {"S": "text"}}."""

READ_UNIT_BYTES = 4096
WRITE_UNIT_BYTES = 1024
COLLECTION_OVERHEAD_BYTES = 3
STORED_ITEM_OVERHEAD_BYTES = 100


@dataclass(frozen=True, slots=True)
class LocalIndex:
    """A local secondary index: its sort key and its projected attributes."""

    sort_key: str
    projected: frozenset[str]
    """With the keys of table and index."""

    def entry(self, item: Item | None) -> Item | None:
        """The entry of an item in the index; None if the item lacks the sort key (a sparse index)."""
        if item is None or self.sort_key not in item:
            return None
        return {name: value for name, value in item.items() if name in self.projected}


def item_bytes(item: Item) -> int:
    """Names and values of all attributes."""
    return sum(_text_bytes(name) + _value_bytes(value) for name, value in item.items())


def stored_bytes(item: Item) -> int:
    """Bytes of an item in the table's storage."""
    return item_bytes(item) + STORED_ITEM_OVERHEAD_BYTES


def _value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return _text_bytes(content)
        case "N":
            return _number_bytes(content)
        case "B":
            return len(content)
        case "BOOL" | "NULL":
            return 1
        case "L":
            return COLLECTION_OVERHEAD_BYTES + sum(map(_value_bytes, content))
        case "M":
            return COLLECTION_OVERHEAD_BYTES + item_bytes(content)
        case _:
            raise ValueError(f"no rule for the size of a value of type {kind}")


def _text_bytes(text: str) -> int:
    return len(text.encode())


def _number_bytes(text: str) -> int:
    """One byte for two significant digits, and one; zeroes at either end do not count."""
    digits = "".join(map(str, Decimal(text).as_tuple().digits)).strip("0")
    return ceil(len(digits) / 2) + 1


def read_units(size: int, *, consistent: bool) -> float:
    """One request of `size` bytes: GetItem's item, or all that a page of Query or Scan evaluated; 0 bytes cost as much
    as one unit."""
    return max(1, ceil(size / READ_UNIT_BYTES)) * (1 if consistent else 0.5)


def write_units(before: Item | None, after: Item | None, indexes: Iterable[LocalIndex] = ()) -> int:
    """A write that went through. None: the item was not there, or is not any more."""
    return _table_units(before, after) + sum(_index_units(index, before, after) for index in indexes)


def transaction_write_units(before: Item | None, after: Item | None, indexes: Iterable[LocalIndex] = ()) -> int:
    """An action of a transaction, ConditionCheck among them: each is prepared, then committed."""
    return 2 * write_units(before, after, indexes)


def failed_write_units(before: Item | None, attempted: Item | None = None) -> int:
    """A write whose condition failed: nothing is written, and the item that was looked at is paid for.

    The guide has named the size of the item there is, and that of the new one: the larger is taken.
    """
    return _table_units(before, attempted)


def _table_units(before: Item | None, after: Item | None) -> int:
    size = max(item_bytes(item) if item else 0 for item in (before, after))
    return max(1, ceil(size / WRITE_UNIT_BYTES))


def _index_units(index: LocalIndex, item_before: Item | None, item_after: Item | None) -> int:
    """An entry that is added, removed or changed takes one write; an entry whose sort key changes takes two; an
    unchanged entry takes none."""
    before, after = index.entry(item_before), index.entry(item_after)
    if before == after:
        return 0
    if before and after and before[index.sort_key] != after[index.sort_key]:
        return _table_units(before, None) + _table_units(None, after)
    return _table_units(before, after)
