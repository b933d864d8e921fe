"""Counts, and the file that keeps them."""

from collections import Counter
from pathlib import Path

from dev.bench.counts import Counts, Record

SOME = Counts(files=10, calls=Counter({"s3 PutObject": 2}), write_units=40, largest_state_bytes=500)


def test_counts_add_up_but_for_the_largest_state() -> None:
    total = SOME + Counts(files=5, calls=Counter({"s3 PutObject": 1, "s3 GetObject": 1}), largest_state_bytes=700)

    assert (total.files, total.write_units, total.largest_state_bytes) == (15, 40, 700)
    assert total.calls == {"s3 PutObject": 3, "s3 GetObject": 1}


def test_scaled_counts_are_of_more_files_with_states_of_the_same_size() -> None:
    per_file = SOME.per_file()

    assert (per_file.files, per_file.write_units, per_file.largest_state_bytes) == (1, 4, 500)
    assert per_file.calls == {"s3 PutObject": 0.2}


def test_what_was_measured_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = Record({"a day": SOME}, {"cold start": {"import ms": {"track_file": 200.0}}}, {"cores": "2"})
    record.write(tmp_path / "performance.csv")

    assert Record.read(tmp_path / "performance.csv") == record
