"""The batching rule, compared with an independent implementation of the specification."""

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev.simulator.world import ENVIRONMENT
from manifest_builder import batching
from manifest_builder.batching import MAX_BATCH_FILES, PendingFile
from manifest_builder.settings import read_settings

ALWAYS = "9"
"""A moment after the arrival of every file here."""


def pending(*sizes: int) -> list[PendingFile]:
    return [PendingFile(f"{n}", f"s3://b/{n}", size, f"{n:09d}") for n, size in enumerate(sizes)]


def next_batch(
    waiting: Iterable[PendingFile], max_bytes: int, *, date_started: bool, flush_before: str | None
) -> list[PendingFile]:
    return batching.next_batch(waiting, max_bytes, date_started=date_started, flush_before=flush_before).files


def sizes_of(batch: list[PendingFile]) -> list[int]:
    return [file.size_bytes for file in batch]


def batches_of_the_specification(sizes: list[int], max_size: int) -> list[list[int]]:
    """`_create_batches` of the specification, for a date that has reached the threshold."""
    batches = []
    current_batch: list[int] = []
    current_size = 0
    for size in sizes:
        if current_size + size > max_size and current_batch:
            batches.append(current_batch)
            current_batch = [size]
            current_size = size
        else:
            current_batch.append(size)
            current_size += size
    if current_batch and (current_size >= max_size * 0.5 or len(batches) == 0):
        batches.append(current_batch)
    return batches


def batches_one_by_one(sizes: list[int], max_bytes: int, *, flush_before: str | None = None) -> list[list[int]]:
    """The batches that the rounds of one execution cut. The first round has to reach the limit to start the date."""
    rest = pending(*sizes)
    batches: list[list[int]] = []
    while batch := next_batch(iter(rest), max_bytes, date_started=bool(batches), flush_before=flush_before):
        assert batch == rest[: len(batch)], "a batch holds the oldest files, in order of arrival"
        rest = rest[len(batch) :]
        batches.append(sizes_of(batch))
    return batches


limits = st.integers(1, 60)
backlogs = st.lists(st.integers(1, 80), max_size=40)


@given(backlogs, limits)
def test_the_rounds_of_an_execution_cut_the_batches_of_the_specification(sizes: list[int], max_bytes: int) -> None:
    expected = batches_of_the_specification(sizes, max_bytes) if sum(sizes) >= max_bytes else []

    assert batches_one_by_one(sizes, max_bytes) == expected


@given(backlogs, limits, st.sampled_from([None, ALWAYS]))
def test_no_batch_exceeds_the_limit_unless_a_single_file_does(
    sizes: list[int], max_bytes: int, flush_before: str | None
) -> None:
    for batch in batches_one_by_one(sizes, max_bytes, flush_before=flush_before):
        assert sum(batch) <= max_bytes or len(batch) == 1


def versions(*files: str) -> list[PendingFile]:
    """Versions of files, in order of arrival, of 10 bytes each."""
    return [PendingFile(f"{n}", file, 10, f"{n:09d}", f"v{n}") for n, file in enumerate(files)]


def cut(waiting: list[PendingFile], flush_before: str | None = None) -> list[str]:
    batch = next_batch(iter(waiting), 30, date_started=False, flush_before=flush_before)
    return [f"{file.file_path}{file.version_id}" for file in batch]


@pytest.mark.parametrize(
    ("waiting", "batch"),
    [
        (["a", "a", "b", "c"], ["av0", "bv2", "cv3"]),
        (["a", "b", "a", "a"], ["av0", "bv1"]),  # the total reaches the limit, and no other file fills the batch
        (["a", "a"], []),
    ],
)
def test_a_batch_holds_one_version_of_a_file_and_the_others_count_in_the_total(
    waiting: list[str], batch: list[str]
) -> None:
    assert cut(versions(*waiting)) == batch


def test_each_version_of_a_file_is_flushed_in_a_batch_of_its_own() -> None:
    waiting = versions("a", "a", "b", "a")

    assert cut(waiting, ALWAYS) == ["av0", "bv2"]
    assert cut([waiting[1], waiting[3]], ALWAYS) == ["av1"]
    assert cut([waiting[3]], ALWAYS) == ["av3"]


def test_the_search_for_a_batch_ends_where_many_versions_of_one_file_wait() -> None:
    read = iter(PendingFile(f"{n}", "a", 1, f"{n:09d}", f"v{n}") for n in range(10 * MAX_BATCH_FILES))

    assert len(next_batch(read, 10**9, date_started=False, flush_before=None)) == 1
    assert int(next(read).file_name) == MAX_BATCH_FILES


@given(backlogs, limits)
def test_a_flush_leaves_nothing(sizes: list[int], max_bytes: int) -> None:
    assert [size for batch in batches_one_by_one(sizes, max_bytes, flush_before=ALWAYS) for size in batch] == sizes


@pytest.mark.parametrize(
    ("sizes", "batch"),
    [
        ([], []),
        ([99], []),
        ([100], [100]),
        ([101], [101]),
        ([60, 39], []),
        ([60, 40], [60, 40]),
        ([60, 41], [60]),
        ([60, 40, 1], [60, 40]),
        ([1, 100], [1]),
        ([100, 1], [100]),
        ([500, 1], [500]),
    ],
)
def test_a_date_starts_when_its_total_reaches_the_limit_inclusive(sizes: list[int], batch: list[int]) -> None:
    assert sizes_of(next_batch(pending(*sizes), 100, date_started=False, flush_before=None)) == batch


@pytest.mark.parametrize(
    ("sizes", "batch"), [([], []), ([49], []), ([50], [50]), ([20, 30], [20, 30]), ([20, 29], []), ([99], [99])]
)
def test_a_started_date_makes_a_batch_of_a_rest_that_is_at_least_half_full(sizes: list[int], batch: list[int]) -> None:
    assert sizes_of(next_batch(pending(*sizes), 100, date_started=True, flush_before=None)) == batch


def test_half_of_an_odd_limit_is_not_rounded_down() -> None:
    assert next_batch(pending(50), 101, date_started=True, flush_before=None) == []
    assert next_batch(pending(51), 101, date_started=True, flush_before=None) != []


@pytest.mark.parametrize("date_started", [False, True])
def test_a_flush_makes_a_batch_of_any_rest_and_no_empty_batch(date_started: bool) -> None:
    assert sizes_of(next_batch(pending(1), 100, date_started=date_started, flush_before=ALWAYS)) == [1]
    assert next_batch([], 100, date_started=date_started, flush_before=ALWAYS) == []


@pytest.mark.parametrize(("flush_before", "batch"), [("000000000", [1, 2]), ("", [])])
def test_a_flush_takes_a_rest_only_if_its_first_file_is_old_enough(flush_before: str, batch: list[int]) -> None:
    assert sizes_of(next_batch(pending(1, 2), 100, date_started=False, flush_before=flush_before)) == batch


@pytest.mark.parametrize(
    ("sizes", "flush_before", "is_flush"),
    [
        ([1], ALWAYS, True),
        ([60, 39], ALWAYS, True),
        ([60, 40], ALWAYS, False),  # full
        ([60, 41], ALWAYS, False),  # as full as it can be, and a file is left
        ([60], "0", False),  # more than half full, and not old
        ([], ALWAYS, False),
        ([60], None, False),
    ],
)
def test_a_batch_is_a_flush_if_it_is_the_old_rest_of_its_date(
    sizes: list[int], flush_before: str | None, is_flush: bool
) -> None:
    batch = batching.next_batch(pending(*sizes), 100, date_started=True, flush_before=flush_before)
    assert batch.is_flush is is_flush


def test_a_batch_is_full_at_the_maximum_number_of_files() -> None:
    rest = pending(*[1] * (MAX_BATCH_FILES + 1))

    assert len(next_batch(rest, 10**9, date_started=False, flush_before=None)) == MAX_BATCH_FILES
    assert next_batch(rest[2:], 10**9, date_started=False, flush_before=None) == []


def test_the_smallest_valid_files_fill_a_batch_by_size_before_they_reach_the_maximum_number() -> None:
    settings = read_settings(ENVIRONMENT)

    assert settings.max_batch_bytes / settings.min_file_bytes < MAX_BATCH_FILES


def test_a_flush_does_not_make_a_batch_larger_than_the_limit() -> None:
    assert sizes_of(next_batch(pending(60, 40, 7), 100, date_started=False, flush_before=ALWAYS)) == [60, 40]


@pytest.mark.parametrize(
    ("sizes", "read"),
    [
        ([60, 40, 1, 1], 2),  # full to the byte: nothing more can be added
        ([60, 41, 1, 1], 2),  # only reading the second file shows that it does not fit
        ([500, 1, 1], 1),
        ([10] * 1000, 10),
        ([10, 10], 2),
    ],
)
def test_no_file_is_read_after_the_batch_is_decided(sizes: list[int], read: int) -> None:
    count = 0

    def rows() -> Iterator[PendingFile]:
        nonlocal count
        for file in pending(*sizes):
            count += 1
            yield file

    next_batch(rows(), 100, date_started=False, flush_before=None)

    assert count == read
