"""QuarantineFile: the copy and its metadata, files that are not copied, and redelivery."""

from collections.abc import Callable
from typing import Any
from unittest import mock
from urllib.parse import unquote

import pytest

import quarantine_file
from dev.simulator.telemetry import Telemetry
from dev.simulator.world import INPUT_BUCKET, QUARANTINE_BUCKET
from manifest_builder import aws
from manifest_builder.files import FileVersion
from manifest_builder.tracking import file_rows
from tests.unit.support import DATE, Account, a_file, aws_error

REASON = "Size 0.00MB out of range"
KEY = "in/2025-12-23-a.ndjson"


def quarantine(file: FileVersion, reason: str = REASON) -> dict[str, Any]:
    event = {"run_id": "run-1", "date_prefix": DATE, "file": file.to_state(), "reason": reason}
    return quarantine_file.handler(event, None)


def upload(account: Account, key: str = KEY, content: bytes = b"{}") -> str:
    """Put an object. Returns its version, empty where the bucket has none."""
    return str(account.s3.put_object(Bucket=INPUT_BUCKET, Key=key, Body=content).get("VersionId", ""))


def copy_of(account: Account, key: str = KEY) -> Any:
    return account.s3.get_object(Bucket=QUARANTINE_BUCKET, Key=key)


def copies(account: Account) -> int:
    return int(account.s3.list_objects_v2(Bucket=QUARANTINE_BUCKET)["KeyCount"])


def no_copying() -> Any:
    return mock.patch.object(aws, "s3_for_copies", side_effect=AssertionError("nothing is to be copied"))


def test_an_invalid_file_is_copied_and_recorded_and_the_original_stays(account: Account) -> None:
    upload(account)

    answer = quarantine(a_file(KEY, 2))

    assert answer == {
        "message_id": "message-1",
        "file_path": f"s3://{INPUT_BUCKET}/{KEY}",
        "size_bytes": 2,
        "outcome": "quarantined",
    }
    assert copy_of(account)["Body"].read() == b"{}"
    assert account.s3.get_object(Bucket=INPUT_BUCKET, Key=KEY)["Body"].read() == b"{}"
    row = account.row(a_file(KEY))
    assert (row["status"], row["reason"]) == ("quarantined", REASON)
    assert row["copied_to"] == f"s3://{QUARANTINE_BUCKET}/{KEY}"
    assert "pending_since" not in row, "a quarantined file is not pending"


def test_the_metadata_of_the_copy_has_the_reason_and_the_source(account: Account) -> None:
    upload(account)

    quarantine(a_file(KEY, 2))

    assert copy_of(account)["Metadata"] == {
        "quarantine-reason": REASON,
        "quarantine-origin": f"s3://{INPUT_BUCKET}/{KEY}",
    }


@pytest.mark.parametrize("key", ["in/2025-12-23 a+b %41 ü 東京 🦆.csv", "in/a\tb.csv", "in/100%.csv", "a//b.csv"])
def test_the_copy_of_any_key_has_the_same_key_and_ascii_metadata(account: Account, key: str) -> None:
    upload(account, key)

    assert quarantine(a_file(key, 2), "Invalid extension")["outcome"] == "quarantined"

    metadata = copy_of(account, key)["Metadata"]
    assert all(value.isascii() and value.isprintable() for value in metadata.values())
    assert unquote(metadata["quarantine-origin"]) == f"s3://{INPUT_BUCKET}/{key}"


@pytest.mark.parametrize("character", ["a", "é", "東", "🦆", "%"])
def test_the_metadata_of_the_longest_key_is_within_the_two_kilobytes_of_s3(account: Account, character: str) -> None:
    key = character * (1024 // len(character.encode()))
    upload(account, key)

    quarantine(a_file(key, 2), "Invalid extension")

    metadata = copy_of(account, key)["Metadata"]
    assert sum(len(name) + len(value) for name, value in metadata.items()) <= 2048
    assert metadata["quarantine-reason"] == "Invalid extension"


def test_the_invalid_version_is_copied_and_not_the_latest_version(account: Account) -> None:
    account.s3.put_bucket_versioning(Bucket=INPUT_BUCKET, VersioningConfiguration={"Status": "Enabled"})
    refused = upload(account, content=b"first")
    upload(account, content=b"second")

    quarantine(a_file(KEY, 5, version_id=refused))

    assert copy_of(account)["Body"].read() == b"first"


def test_a_deleted_source_is_recorded_and_raises_no_error(account: Account) -> None:
    assert quarantine(a_file(KEY, 2))["outcome"] == "quarantined"

    assert account.row(a_file(KEY))["copied_to"] == "not copied: the object has vanished"
    assert copies(account) == 0


def test_a_deleted_version_is_recorded(account: Account) -> None:
    account.s3.put_bucket_versioning(Bucket=INPUT_BUCKET, VersioningConfiguration={"Status": "Enabled"})
    refused = upload(account)
    account.s3.delete_object(Bucket=INPUT_BUCKET, Key=KEY, VersionId=refused)

    quarantine(a_file(KEY, 2, version_id=refused))

    assert account.row(a_file(KEY))["copied_to"] == "not copied: the object has vanished"


@pytest.mark.parametrize("code", ["404", "NoSuchKey", "NoSuchVersion"])
def test_a_source_that_is_deleted_during_the_copy_is_recorded(account: Account, code: str) -> None:
    with mock.patch.object(aws, "s3_for_copies") as s3:
        s3.return_value.copy.side_effect = aws_error(code, "CopyObject")
        quarantine(a_file(KEY, 2))

    assert account.row(a_file(KEY))["copied_to"] == "not copied: the object has vanished"


@pytest.mark.parametrize("code", ["403", "AccessDenied", "SlowDown", "NoSuchBucket"])
def test_a_copy_that_fails_is_an_error_and_nothing_is_recorded(account: Account, code: str) -> None:
    with mock.patch.object(aws, "s3_for_copies") as s3:
        s3.return_value.copy.side_effect = aws_error(code, "CopyObject")
        with pytest.raises(Exception, match=code):
            quarantine(a_file(KEY, 2))

    assert account.rows() == []


def test_without_a_quarantine_bucket_the_file_is_recorded_and_not_copied(
    environment: Callable[..., None], account: Account
) -> None:
    environment(QUARANTINE_BUCKET="")
    upload(account)

    with no_copying():
        assert quarantine(a_file(KEY, 2))["outcome"] == "quarantined"

    assert account.row(a_file(KEY))["copied_to"] == "not copied: no quarantine bucket is set"


def test_more_than_five_gigabytes_are_recorded_and_not_copied(account: Account) -> None:
    with no_copying():
        quarantine(a_file(KEY, 5 * 1024**3 + 1))

    assert account.row(a_file(KEY))["copied_to"] == "not copied: larger than 5 GB"


def test_five_gigabytes_are_copied(account: Account) -> None:
    upload(account)

    quarantine(a_file(KEY, 5 * 1024**3))

    assert copies(account) == 1


def test_a_redelivery_copies_nothing(account: Account) -> None:
    upload(account)
    quarantine(a_file(KEY, 2))
    before = account.rows()
    account.wait(hours=1)

    with no_copying():
        assert quarantine(a_file(KEY, 2))["outcome"] == "duplicate"
    assert account.rows() == before


def test_a_version_older_than_the_tracked_version_is_neither_copied_nor_recorded(account: Account) -> None:
    file_rows.track_file(DATE, a_file(KEY, sequencer="0055AED7"))

    with no_copying():
        assert quarantine(a_file(KEY, 2, sequencer="0055AED6"))["outcome"] == "superseded"

    assert account.statuses() == {"pending": 1}


def test_a_newer_invalid_version_of_a_valid_file_is_copied_and_recorded(account: Account) -> None:
    file_rows.track_file(DATE, a_file(KEY, sequencer="0055AED6"))
    upload(account)

    assert quarantine(a_file(KEY, 2, sequencer="0055AED7"))["outcome"] == "quarantined"

    assert account.statuses() == {"quarantined": 1}
    assert copies(account) == 1


def test_a_crash_between_copy_and_record_repeats_the_copy(account: Account) -> None:
    upload(account)
    with mock.patch.object(file_rows, "record_quarantine", side_effect=SystemExit), pytest.raises(SystemExit):
        quarantine(a_file(KEY, 2))
    assert (copies(account), account.rows()) == (1, [])

    assert quarantine(a_file(KEY, 2))["outcome"] == "quarantined"


def test_a_quarantined_file_is_logged_at_level_info_with_its_path_and_the_reason(
    account: Account, log: Telemetry
) -> None:
    upload(account)

    quarantine(a_file(KEY, 2))

    (line,) = log.at_least("INFO")
    assert (line["file_path"], line["outcome"], line["reason"]) == (f"s3://{INPUT_BUCKET}/{KEY}", "quarantined", REASON)
