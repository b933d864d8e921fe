"""The date in a key, the order of sequencers, and the sort keys of rows."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifest_builder.files import FileVersion, date_in_key, disambiguated_name, is_newer
from tests.unit.support import a_file


@pytest.mark.parametrize(
    ("key", "date"),
    [
        ("folder1/2025-12-23-file001.ndjson", "2025-12-23"),
        ("2025-12-23.ndjson", "2025-12-23"),
        ("year=2025/2025-12-23/part-0001.ndjson", "2025-12-23"),
        ("in/export_2025-12-23T10:00.ndjson", "2025-12-23"),
        ("2025-12-23/2026-01-01-a.ndjson", "2025-12-23"),
        ("2025-99-99/2025-12-23-a.ndjson", "2025-12-23"),
        ("in/2024-02-29.ndjson", "2024-02-29"),
        ("in/12025-12-23.ndjson", "2025-12-23"),
        ("in/2025-12-2345.ndjson", "2025-12-23"),
        ("in/2025-13-2024-10-11.ndjson", "2024-10-11"),
        ("in/99992025-12-23", "2025-12-23"),
    ],
)
def test_the_date_of_a_key_is_the_first_real_date_anywhere_in_it(key: str, date: str) -> None:
    assert date_in_key(key) == date


@pytest.mark.parametrize(
    "key",
    [
        "data/file.ndjson",
        "in/2025-99-99.ndjson",
        "in/2025-02-29.ndjson",
        "in/2025-04-31.ndjson",
        "in/2025-00-10.ndjson",
        "in/0000-01-01.ndjson",
        "in/2025-1-2.ndjson",
        "in/2025_12_23.ndjson",
        "in/20251223.ndjson",
        "in/٢٠٢٥-١٢-٢٣.ndjson",
        "",
    ],
)
def test_a_key_without_a_real_date_has_no_date(key: str) -> None:
    assert date_in_key(key) is None


@given(st.text(alphabet="0123-/é", max_size=30))
def test_the_date_of_any_key_is_its_first_real_date(key: str) -> None:
    windows = [key[start : start + 10] for start in range(len(key) - 9)]

    def is_date(text: str) -> bool:
        if [position for position, character in enumerate(text) if character == "-"] != [4, 7] or not text.isascii():
            return False
        try:
            datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            return False
        return True

    assert date_in_key(key) == next(filter(is_date, windows), None)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("0055AED6DCD90281E5", "0055AED6DCD90281E6"),
        ("0055AED6", "0055AED6DCD9"),
        ("0055AED6DCD90281E5", "0055AED7"),
        ("9", "A"),
        ("0055aed6", "0055AED7"),
        ("0055AED6", "0055aed7"),
    ],
)
def test_sequencers_are_ordered_as_text_after_right_padding(earlier: str, later: str) -> None:
    assert is_newer(later, than=earlier)
    assert not is_newer(earlier, than=later)


@pytest.mark.parametrize(("one", "other"), [("0055AED6", "0055AED6"), ("0055AED6", "0055AED600"), ("00aB", "00Ab")])
def test_equal_sequencers_are_neither_newer_nor_older(one: str, other: str) -> None:
    assert not is_newer(one, than=other)
    assert not is_newer(other, than=one)


@pytest.mark.parametrize(
    ("key", "base_name"), [("in/a/b.ndjson", "b.ndjson"), ("b.ndjson", "b.ndjson"), ("in/a/", ""), ("/", "")]
)
def test_the_base_name_is_the_last_part_of_the_key(key: str, base_name: str) -> None:
    assert a_file(key).base_name == base_name


def test_a_disambiguated_name_keeps_the_base_name_readable() -> None:
    name = disambiguated_name(a_file("in/2025-12-23-a.ndjson"))

    assert name.startswith("2025-12-23-a.ndjson#")
    assert len(name) == len("2025-12-23-a.ndjson#") + 16


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=1024))
def test_a_disambiguated_name_always_fits_a_sort_key(key: str) -> None:
    name = disambiguated_name(a_file(key))

    assert 17 <= len(name.encode()) <= 1024
    assert a_file(key).base_name.startswith(name.rpartition("#")[0])


@pytest.mark.parametrize("character", ["a", "é", "東", "🦆"])
def test_a_long_base_name_is_cut_between_characters(character: str) -> None:
    key = character * (1024 // len(character.encode()))

    name = disambiguated_name(a_file(key))

    assert 1020 < len(name.encode()) <= 1024
    assert set(name.rpartition("#")[0]) == {character}


def test_two_paths_have_two_disambiguated_names() -> None:
    files = [a_file("x/a.ndjson"), a_file("y/a.ndjson"), a_file("x/a.ndjson", bucket="other-bucket")]

    assert len({disambiguated_name(file) for file in files}) == 3


def test_a_file_is_read_back_from_the_execution_state_unchanged() -> None:
    file = a_file(version_id="v1", sequencer=None)

    assert FileVersion.from_state(file.to_state()) == file
