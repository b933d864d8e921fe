"""The limits of cost and speed that a short run can check."""

import pytest

from dev.bench import bars, runs


def test_a_file_costs_at_most_4_5_write_units_over_its_life() -> None:
    counts = runs.day(210)

    assert counts.write_units / counts.files <= bars.MOST_WRITE_UNITS
    assert counts.largest_state_bytes <= bars.MOST_STATE_BYTES


def test_a_check_reads_no_more_however_many_files_are_pending() -> None:
    few, many = runs.arrivals(pending=410, files=10), runs.arrivals(pending=2_000, files=10)

    assert many.read_units == few.read_units
    assert many.items_read == few.items_read < 250


@pytest.mark.parametrize("position", [500, 1_000])
def test_the_monolith_reads_every_row_of_the_day(position: int) -> None:
    counts = runs.monolith_at(position, pending=0)

    # Each file's check reads the row of the file and of every file before it.
    assert counts.items_read == sum(position + number for number in range(1, runs.BATCH + 1))
