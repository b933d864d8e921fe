"""The files that the embedded run uploads."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from dev.run.files import DELIVERED_TWICE, SAMPLE_PARAMETERS, UPLOADED_AGAIN, folder_feed, sample_feed
from manifest_builder.files import date_in_key
from manifest_builder.settings import GB, MB
from toolkit.errors import UsageError

SAMPLE = sample_feed()
KEYS = [file.key for file in SAMPLE.files]


def test_the_sample_is_the_same_at_every_run() -> None:
    assert sample_feed() == SAMPLE


def test_the_sample_holds_rows_of_json() -> None:
    for file in SAMPLE.files:
        assert isinstance(file.content, bytes)
        assert all(json.loads(line)["order_id"] for line in file.content.splitlines())


def test_the_sample_expects_of_each_file_what_the_rules_say() -> None:
    expected_mb = float(SAMPLE_PARAMETERS["ExpectedFileSizeMb"])
    tolerance = float(SAMPLE_PARAMETERS["SizeTolerancePercent"]) / 100
    for file in SAMPLE.files:
        fits = expected_mb * (1 - tolerance) * MB <= file.size_bytes <= expected_mb * (1 + tolerance) * MB
        assert file.refused == (not fits or not file.key.endswith(".ndjson")), file.key


@pytest.mark.parametrize(
    ("case", "present"),
    {
        "two dates": {date_in_key(key) for key in KEYS} >= {"2025-12-23", "2025-12-24"},
        "the same basename in two folders": max(Counter(key.rpartition("/")[2] for key in set(KEYS)).values()) == 2,
        "a file uploaded again": KEYS.count(UPLOADED_AGAIN) == 2,
        "an event delivered twice": DELIVERED_TWICE in KEYS,
        "no date in the key": any(date_in_key(key) is None and "2025" not in key for key in KEYS),
        "an impossible date": any("2025-99-99" in key and date_in_key(key) is None for key in KEYS),
        "spaces, plus and unicode": any(" " in key and "+" in key and not key.isascii() for key in KEYS),
        "a wrong extension": any(key.endswith(".csv") for key in KEYS),
        "an empty file": any(file.size_bytes == 0 for file in SAMPLE.files),
        "a poison message": SAMPLE.poison is not None,
    }.items(),
)
def test_the_sample_has_every_case(case: str, present: bool) -> None:
    assert present, case


def test_the_late_files_of_the_sample_fill_a_manifest() -> None:
    total = sum(file.size_bytes for file in SAMPLE.later)
    assert total >= float(SAMPLE_PARAMETERS["MaxBatchSizeGb"]) * GB


def test_the_keys_of_a_folder_are_its_relative_paths(tmp_path: Path) -> None:
    (tmp_path / "a" / "b c").mkdir(parents=True)
    (tmp_path / "a" / "b c" / "ü.ndjson").write_text("{}\n")
    (tmp_path / "x.ndjson").write_text("{}\n")
    assert [file.key for file in folder_feed(tmp_path, None).first] == ["a/b c/ü.ndjson", "x.ndjson"]
    assert [file.key for file in folder_feed(tmp_path, "2025-12-23").first][1] == "2025-12-23/x.ndjson"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no folder .*nowhere"):
        folder_feed(tmp_path / "nowhere", None)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x.ndjson").touch()
    with pytest.raises(UsageError, match="is not a folder"):
        folder_feed(tmp_path / "x.ndjson", None)


def test_a_path_that_cannot_be_looked_at_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="File name too long"):
        folder_feed(tmp_path / ("x" * 300), None)


def test_a_folder_within_that_cannot_be_read_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "x.ndjson").touch()
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    # Root can read every file, and the tests may run as root.
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UsageError, match="locked is not readable"):
        folder_feed(tmp_path, None)


def test_a_link_to_a_folder_above_makes_no_loop(tmp_path: Path) -> None:
    (tmp_path / "x.ndjson").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [file.key for file in folder_feed(tmp_path, None).first] == ["x.ndjson"]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no files"):
        folder_feed(tmp_path, None)


def test_a_key_beyond_the_limit_of_s3_is_refused(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(6):
        folder = folder / ("x" * 200)
        folder.mkdir()
    (folder / "x.ndjson").touch()
    with pytest.raises(UsageError, match="S3 takes 1024"):
        folder_feed(tmp_path, None)


@pytest.mark.skipif(os.uname().sysname == "Darwin", reason="its file names are UTF-8 by force")
def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.ndjson"))).touch()
    with pytest.raises(UsageError, match="is not UTF-8"):
        folder_feed(tmp_path, None)
