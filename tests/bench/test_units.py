"""The unit calculator, compared with calculations by hand and with the examples of DynamoDB's developer guide."""

from typing import Any

import pytest

from dev.bench import units
from dev.bench.units import LocalIndex

KB = 1024


def item(size: int) -> dict[str, Any]:
    """An item of this many bytes: one attribute with a one-letter name and a text."""
    return {"k": {"S": "x" * (size - 1)}}


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ({}, 0),
        ({"name": {"S": "text"}}, 8),
        ({"name": {"S": "é€"}}, 4 + 2 + 3),
        ({"né": {"S": ""}}, 3),
        # A number takes one byte per two significant digits, plus one byte.
        ({"n": {"N": "3670016"}}, 1 + 4 + 1),
        ({"n": {"N": "3.5"}}, 1 + 1 + 1),
        ({"n": {"N": "100"}}, 1 + 1 + 1),
        ({"n": {"N": "0.001"}}, 1 + 1 + 1),
        ({"n": {"N": "0"}}, 1 + 1),
        ({"b": {"B": b"1234"}}, 5),
        ({"yes": {"BOOL": True}}, 4),
        ({"none": {"NULL": True}}, 5),
        ({"l": {"L": []}}, 1 + 3),
        ({"m": {"M": {"a": {"S": "b"}, "n": {"N": "12"}}}}, 1 + 3 + 2 + 3),
    ],
)
def test_the_size_of_an_item_is_that_of_its_names_and_values(attributes: dict[str, Any], size: int) -> None:
    assert units.item_bytes(attributes) == size


def test_a_type_without_a_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="no rule for the size of a value of type SS"):
        units.item_bytes({"set": {"SS": ["a"]}})


@pytest.mark.parametrize(
    ("size", "consistent", "expected"),
    [
        # Developer guide, "Capacity unit consumption for reads": 3.5 KB round up to 4, 10 KB to 12.
        (int(3.5 * KB), True, 1),
        (10 * KB, True, 3),
        # A query of items of 40.8 KB together reads 44 KB; one of 1,500 items of 64 bytes 96 KB.
        (int(40.8 * KB), True, 11),
        (1500 * 64, True, 24),
        (80 * KB, False, 10),
        # Reading a missing item costs as much as reading a small item.
        (0, True, 1),
        (0, False, 0.5),
        (4 * KB, True, 1),
        (4 * KB + 1, True, 2),
    ],
)
def test_a_read_costs_a_unit_for_4_kb_and_half_of_that_if_it_may_be_stale(
    size: int, consistent: bool, expected: float
) -> None:
    assert units.read_units(size, consistent=consistent) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # Developer guide, "Capacity unit consumption for writes": 1.6 KB round up to 2.
        (None, item(1638), 2),
        (item(1638), None, 2),
        (None, item(KB), 1),
        (None, item(KB + 1), 2),
        # The larger of before and after.
        (item(3 * KB), item(100), 3),
        (item(100), item(3 * KB), 3),
        (None, None, 1),
    ],
)
def test_a_write_costs_a_unit_for_1_kb_of_the_larger_item(before: Any, after: Any, expected: int) -> None:
    assert units.write_units(before, after) == expected


@pytest.mark.parametrize(("size", "expected"), [(KB, 2), (3 * KB, 6)])
def test_an_action_of_a_transaction_costs_twice(size: int, expected: int) -> None:
    """DynamoDB pricing, on-demand capacity: an item of 1 KB takes two write request units, one of 3 KB six."""
    assert units.transaction_write_units(None, item(size)) == expected


@pytest.mark.parametrize(
    ("before", "attempted", "expected"),
    [(item(KB), None, 1), (item(2 * KB), None, 2), (None, None, 1), (item(10), item(2 * KB), 2)],
)
def test_a_write_whose_condition_fails_is_paid_for(before: Any, attempted: Any, expected: int) -> None:
    assert units.failed_write_units(before, attempted) == expected


INDEX = LocalIndex(sort_key="since", projected=frozenset({"k", "since", "size"}))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # Developer guide, "Local secondary indexes", write capacity units: its four cases in turn.
        (None, {"k": "1", "since": "a"}, 1 + 1),
        ({"k": "1"}, {"k": "1", "since": "a"}, 1 + 1),
        ({"k": "1", "since": "a"}, {"k": "1", "since": "b"}, 1 + 2),
        ({"k": "1", "since": "a"}, {"k": "1"}, 1 + 1),
        ({"k": "1"}, {"k": "1", "other": "x"}, 1 + 0),
        # A deleted item's entry goes too.
        ({"k": "1", "since": "a"}, None, 1 + 1),
        # A change of a projected attribute is also written to the index; other attributes cost nothing there.
        ({"k": "1", "since": "a", "size": "1"}, {"k": "1", "since": "a", "size": "2"}, 1 + 1),
        ({"k": "1", "since": "a"}, {"k": "1", "since": "a", "other": "x"}, 1 + 0),
    ],
)
def test_a_local_index_costs_what_its_entry_does(before: Any, after: Any, expected: int) -> None:
    def spelled(attributes: dict[str, str] | None) -> Any:
        return attributes and {name: {"S": value} for name, value in attributes.items()}

    assert units.write_units(spelled(before), spelled(after), [INDEX]) == expected


def test_an_entry_above_1_kb_costs_its_own_units() -> None:
    long = {"k": {"S": "x" * 1500}, "since": {"S": "a"}}

    assert units.write_units(None, long, [INDEX]) == 2 + 2


def test_storage_takes_a_hundred_bytes_more_than_the_item() -> None:
    assert units.stored_bytes(item(500)) == 600
