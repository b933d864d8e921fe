"""The rules of the specification's validate_file, to the byte."""

from collections.abc import Callable

import pytest

import validate_file
from tests.unit.support import a_file


def answer(key: str, size_bytes: int) -> dict[str, object]:
    return validate_file.handler({"run_id": "run-1", "file": a_file(key, size_bytes).to_state()}, None)


@pytest.mark.parametrize("size_bytes", [104_858, 104_859, 10 * 1024**2, 20_866_661, 20_866_662])
def test_a_file_within_the_limits_is_valid(size_bytes: int) -> None:
    assert answer("in/2025-12-23-a.ndjson", size_bytes) == {"valid": True, "reason": None}


@pytest.mark.parametrize(
    ("size_bytes", "reason"),
    [
        (0, "Size 0.00MB out of range"),
        (1, "Size 0.00MB out of range"),
        (104_857, "Size 0.10MB out of range"),
        (20_866_663, "Size 19.90MB out of range"),
        (5 * 1024**4, "Size 5242880.00MB out of range"),
    ],
)
def test_a_file_beyond_the_limits_is_refused_with_its_size(size_bytes: int, reason: str) -> None:
    assert answer("in/2025-12-23-a.ndjson", size_bytes) == {"valid": False, "reason": reason}


@pytest.mark.parametrize(
    "key",
    ["in/a.NDJSON", "in/a.Ndjson", "in/a.json", "in/a.ndjson.gz", "in/a.ndjson ", "in/andjson", "in/a.ndjson/", "a"],
)
def test_any_other_extension_is_refused(key: str) -> None:
    assert answer(key, 10 * 1024**2) == {"valid": False, "reason": "Invalid extension"}


def test_the_extension_is_looked_at_before_the_size() -> None:
    assert answer("in/a.csv", 0)["reason"] == "Invalid extension"


@pytest.mark.parametrize("key", [".ndjson", "in/.ndjson", "in/a b+c ü.ndjson", "in/a.csv.ndjson"])
def test_only_the_end_of_the_key_decides(key: str) -> None:
    assert answer(key, 10 * 1024**2)["valid"] is True


@pytest.mark.parametrize(
    ("expected", "tolerance", "smallest", "largest"),
    [("10", "0", 10_485_760, 10_485_760), ("10", "100", 0, 20_971_520), ("0.001", "50", 525, 1572)],
)
def test_the_limits_follow_the_settings(
    environment: Callable[..., None], expected: str, tolerance: str, smallest: int, largest: int
) -> None:
    environment(EXPECTED_FILE_SIZE_MB=expected, SIZE_TOLERANCE_PERCENT=tolerance)

    valid = [answer("a.ndjson", size)["valid"] for size in (smallest, largest, largest + 1)]
    assert valid == [True, True, False]
    if smallest:
        assert answer("a.ndjson", smallest - 1)["valid"] is False
