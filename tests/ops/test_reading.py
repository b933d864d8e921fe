"""Commands that only read: their output, and proof that they change nothing."""

from datetime import timedelta
from unittest import mock

import pytest

from dev.simulator.world import INPUT_BUCKET, message
from manifest_builder import clock
from manifest_builder.tracking import locks
from tests.ops.operator import DATE, MB, Operator


def test_status_of_a_date_counts_what_is_pending_and_names_the_holder_of_the_lock(operator: Operator) -> None:
    operator.deliver(operator.upload(f"a/{DATE}-1.ndjson", MB), operator.upload(f"a/{DATE}-2.ndjson", 2 * MB))
    locks.acquire(DATE, "run-1", "token", clock.now())
    (date,) = operator.ops("status", DATE, "--json").document["dates"]
    assert (date["date"], date["pending_files"], date["pending_bytes"]) == (DATE, 2, 3 * MB)
    assert date["oldest_pending"] == min(row["pending_since"] for row in operator.files().values())
    assert date["lock"]["holder"] == "run-1"
    assert date["lock"]["is_over"] is False
    operator.wait(minutes=6)
    (date,) = operator.ops("status", DATE, "--json").document["dates"]
    assert date["lock"]["is_over"] is True


def test_status_counts_manifests_and_says_why_one_failed_and_what_to_do(operator: Operator) -> None:
    record = operator.a_manifest(f"a/{DATE}-1.ndjson", status="failed", error="no such column", attempt=2)
    said = operator.ops("status", DATE, "--json")
    (date,) = said.document["dates"]
    assert date["manifests"] == {"open": 0, "started": 0, "succeeded": 0, "failed": 1}
    (failed,) = date["failed"]
    assert failed == {
        "manifest": record["file_path"],
        "run_id": record["job_run_id"],
        "attempt": 2,
        "error": "no such column",
    }
    text = operator.ops("status", DATE).out
    assert "no such column" in text
    assert f"python -m ops replay {record['file_path']} --stack the-stack\n" in text


def test_status_without_a_date_shows_what_is_unfinished_or_failed_and_nothing_else(operator: Operator) -> None:
    operator.a_manifest("a/2025-12-20-done.ndjson", status="succeeded", pending_since=None)
    operator.a_manifest("a/2025-12-21-failed.ndjson", status="failed", pending_since=None)
    operator.deliver(operator.upload("a/2025-12-22-pending.ndjson", MB))
    dates = operator.ops("status", "--json").document["dates"]
    assert [date["date"] for date in dates] == ["2025-12-21", "2025-12-22"]


def test_status_of_a_stack_with_nothing_left_says_so(operator: Operator) -> None:
    said = operator.ops("status")
    assert (said.code, said.out) == (0, "nothing is unfinished, and no manifest has failed\n")


def test_where_a_pending_file_is(operator: Operator) -> None:
    operator.deliver(operator.upload(f"a b/{DATE}-é+.ndjson", MB))
    said = operator.ops("where", f"a b/{DATE}-é+.ndjson", "--json")
    (found,) = said.document["found"]
    assert said.code == 0
    assert (found["status"], found["size_bytes"], found["manifest"], found["job_run"]) == ("pending", MB, None, None)


def test_where_a_quarantined_file_is_and_why(operator: Operator) -> None:
    operator.deliver(operator.upload(f"a/{DATE}.csv", MB))
    (found,) = operator.ops("where", f"s3://{INPUT_BUCKET}/a/{DATE}.csv", "--json").document["found"]
    assert (found["status"], found["reason"]) == ("quarantined", "Invalid extension")
    assert found["copied_to"].endswith(f"/a/{DATE}.csv")


def test_where_a_manifested_file_is_down_to_the_state_of_its_run(operator: Operator) -> None:
    record = operator.a_manifest(f"a/{DATE}-1.ndjson")
    said = operator.ops("where", f"a/{DATE}-1.ndjson", "--json")
    (found,) = said.document["found"]
    assert found["status"] == "manifested"
    assert (found["manifest"]["path"], found["manifest"]["status"]) == (record["file_path"], "started")
    assert found["job_run"]["run_id"] == record["job_run_id"]
    assert found["job_run"]["state"] in ("RUNNING", "SUCCEEDED")
    assert record["file_path"] in operator.ops("where", f"a/{DATE}-1.ndjson").out


def test_where_shows_each_version_of_a_file_and_the_run_that_got_it(operator: Operator) -> None:
    key = f"a/{DATE}-1.ndjson"
    operator.deliver(operator.upload(key, MB, version_id="the-first", sequencer="01"))
    record = operator.a_manifest()
    operator.deliver(operator.upload(key, 2 * MB, version_id="the-second", sequencer="02"))

    said = operator.ops("where", key)
    newest, older = operator.ops("where", key, "--json").document["found"]

    assert (newest["version_id"], newest["status"], newest["manifest"]) == ("the-second", "pending", None)
    assert (older["version_id"], older["manifest"]["path"]) == ("the-first", record["file_path"])
    assert older["job_run"]["run_id"] == record["job_run_id"]
    assert said.out.index("the-second") < said.out.index("the-first") < said.out.index(record["file_path"])


def test_a_run_that_glue_has_forgotten_is_said_to_be_unknown(operator: Operator) -> None:
    operator.a_manifest(f"a/{DATE}-1.ndjson", job_run_id="jr_long_ago")
    (found,) = operator.ops("where", f"a/{DATE}-1.ndjson", "--json").document["found"]
    assert found["job_run"] == {"run_id": "jr_long_ago", "state": "unknown to Glue", "error": None}


def test_of_two_files_of_one_name_each_is_found_by_its_own_key(operator: Operator) -> None:
    operator.deliver(operator.upload(f"a/{DATE}.ndjson", MB))
    operator.deliver(operator.upload(f"b/{DATE}.ndjson", 2 * MB))
    for key, size_bytes in {f"a/{DATE}.ndjson": MB, f"b/{DATE}.ndjson": 2 * MB}.items():
        (found,) = operator.ops("where", key, "--json").document["found"]
        assert found["size_bytes"] == size_bytes
    assert operator.ops("where", f"c/{DATE}.ndjson").code == 1


def test_an_unknown_file_that_is_in_the_bucket_can_be_backfilled_and_one_that_is_not_cannot(operator: Operator) -> None:
    operator.put(f"a/{DATE}-1.ndjson")
    said = operator.ops("where", f"a/{DATE}-1.ndjson")
    assert said.code == 1
    assert said.out.startswith("unknown: ")
    assert f"python -m ops backfill a/{DATE}-1.ndjson --stack the-stack\n" in said.out
    assert operator.ops("where", f"a/{DATE}-1.ndjson", "--json").document["in_bucket"] is True
    said = operator.ops("where", f"a/{DATE}-2.ndjson")
    assert said.code == 1
    assert "backfill" not in said.out


NEWER = "a newer version is in the bucket, which the table does not know (yet)"


@pytest.mark.parametrize("versioning", ["Enabled", "Suspended"])
def test_where_says_whether_the_row_is_of_what_is_in_the_bucket(operator: Operator, versioning: str) -> None:
    operator.s3.put_bucket_versioning(Bucket=INPUT_BUCKET, VersioningConfiguration={"Status": versioning})
    key = f"a/{DATE}-1.ndjson"
    answer = operator.put(key)
    operator.deliver(message(key, MB, etag=answer["ETag"].strip('"'), version_id=answer.get("VersionId")))

    def where() -> tuple[bool, bool]:
        document = operator.ops("where", key, "--json").document
        return document["in_bucket"], document["newer_version"]

    assert where() == (True, False)
    assert NEWER not in operator.ops("where", key).out
    operator.put(key, 2 * MB)
    assert where() == (True, True)
    said = operator.ops("where", key)
    assert said.code == 0
    assert f"{NEWER}. To send it: python -m ops backfill {key} --stack the-stack\n" in said.out
    assert said.calls.count("HeadObject") == 1
    operator.s3.delete_object(Bucket=INPUT_BUCKET, Key=key)
    assert where() == (False, False)


def test_a_file_that_is_back_though_its_row_says_deleted_is_said_to_be(operator: Operator) -> None:
    key = f"a/{DATE}-1.ndjson"
    answer = operator.put(key)
    operator.deliver(message(key, MB, etag=answer["ETag"].strip('"'), version_id=answer["VersionId"]))
    (row,) = operator.files().values()
    operator.change(row, status="deleted", pending_since=None)
    assert (
        f"the object is in the bucket again. To send it: python -m ops backfill {key}" in operator.ops("where", key).out
    )


def test_where_is_asked_of_the_input_bucket_and_of_a_keys_own_date(operator: Operator) -> None:
    said = operator.ops("where", f"s3://other/a/{DATE}.ndjson")
    assert (said.code, said.calls) == (2, [])
    assert f"other is not the input bucket, which is {INPUT_BUCKET}" in said.err
    said = operator.ops("where", f"a/{DATE}.ndjson", "--date", "2025-12-24")
    assert (said.code, said.calls) == (2, [])
    assert said.err == f"error: the date of a/{DATE}.ndjson is its key's own, {DATE}: leave --date out\n"
    assert operator.ops("where", f"a/{DATE}.ndjson", "--date", DATE).code == 1


def test_where_shows_the_whole_path_whatever_is_in_it(operator: Operator) -> None:
    key = f"a/[red]x[/] :fire: it's\x1b[31m {'long ' * 40}{DATE}.ndjson"
    operator.deliver(operator.upload(key, MB))
    out = operator.ops("where", key).out
    shown = key.replace("\x1b", "\\x1b")
    assert f"file           s3://{INPUT_BUCKET}/{shown}\n" in out
    assert out.replace("\n", "").isprintable()


def test_a_quarantined_file_names_the_command_that_releases_it(operator: Operator) -> None:
    operator.deliver(operator.upload(f"a/{DATE}.csv", MB), operator.upload("x y.csv", MB))
    release = "after the settings accept it: python -m ops release"
    assert f"{release} a/{DATE}.csv --stack the-stack\n" in operator.ops("where", f"a/{DATE}.csv").out
    assert f"{release} 'x y.csv' --date {DATE} --stack the-stack\n" in operator.ops("where", "x y.csv").out


@pytest.mark.parametrize("columns", [40, 80, 130])
def test_status_cuts_no_number_however_narrow_the_terminal(operator: Operator, columns: int) -> None:
    operator.deliver(operator.upload(f"a/{DATE}-1.ndjson", 3 * MB))
    operator.deliver(operator.upload("a/2025-12-24.ndjson", MB))
    locks.acquire(DATE, "run-1", "token", clock.now())
    with mock.patch("ops.screen.make_console", lambda kind: kind(highlight=False, emoji=False, width=columns)):
        lines = operator.ops("status").out.splitlines()
    text = " ".join(" ".join(lines).split())
    assert "…" not in text
    assert all(number in text for number in (DATE, "2025-12-24", "1 file", "3.0 MB", "1.0 MB", "held by run run-1"))
    assert ("──" in text) is (columns > 80)
    assert all(len(line) <= columns for line in lines if not line.startswith("Lock"))


def test_status_of_dates_without_a_lock_is_a_table_of_eighty_columns(operator: Operator) -> None:
    operator.deliver(operator.upload(f"a/{DATE}-1.ndjson", MB))
    with mock.patch("ops.screen.make_console", lambda kind: kind(highlight=False, width=80)):
        assert "──" in operator.ops("status").out


def test_unlock_reads_no_more_locks_than_it_shows(operator: Operator) -> None:
    operator.a_manifest("a/2025-12-20-done.ndjson", status="succeeded", pending_since=None)
    operator.deliver(operator.upload(f"a/{DATE}.ndjson", MB))
    said = operator.ops("unlock", "--json")
    assert [lock["date"] for lock in said.document["locks"]] == [DATE]
    assert (said.calls.count("Query"), said.calls.count("GetItem")) == (0, 1)
    assert operator.ops("unlock", DATE).calls == ["GetItem"]


def test_a_key_without_a_date_is_looked_for_on_all_days_and_that_is_said(operator: Operator) -> None:
    for day in ("2025-12-23", "2025-12-24"):
        operator.deliver(operator.upload("a/x.ndjson", MB, event_time=f"{day}T10:00:00.000Z"))
    found = operator.ops("where", "a/x.ndjson", "--json").document["found"]
    assert sorted(each["date"] for each in found) == ["2025-12-23", "2025-12-24"]
    assert "reading the whole table" in operator.ops("where", "a/x.ndjson").out
    said = operator.ops("where", "a/x.ndjson", "--date", "2025-12-24", "--json")
    assert [each["date"] for each in said.document["found"]] == ["2025-12-24"]
    assert "Scan" not in said.calls


def test_unlock_is_never_needed_and_says_who_holds_the_lock_until_when(operator: Operator) -> None:
    locks.acquire(DATE, "run-1", "token", clock.now())
    said = operator.ops("unlock", DATE)
    assert said.code == 0
    assert "a lock is a lease" in said.out
    assert f"{DATE}  held by run run-1 until 2025-12-23T10:05:0" in said.out
    (lock,) = operator.ops("unlock", DATE, "--json").document["locks"]
    assert (lock["date"], lock["lock"]["holder"]) == (DATE, "run-1")
    assert operator.locks()
    operator.wait(seconds=timedelta(minutes=5, seconds=1).total_seconds())
    assert f"{DATE}  free: the lease of run run-1 is over" in operator.ops("unlock", DATE).out
    assert f"{DATE}  free\n" not in operator.ops("unlock", DATE).out
    assert "2025-12-24  free\n" in operator.ops("unlock", "2025-12-24").out


@pytest.mark.parametrize("json", [[], ["--json"]], ids=["person", "script"])
@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["status", DATE],
        ["where", f"a/{DATE}-1.ndjson"],
        ["where", f"a/{DATE}.csv"],
        ["where", "undated.ndjson"],
        ["unlock"],
        ["unlock", DATE],
        ["backfill", "--dry-run"],
    ],
    ids=" ".join,
)
def test_reading_commands_make_reading_calls_alone(operator: Operator, command: list[str], json: list[str]) -> None:
    operator.a_manifest(f"a/{DATE}-1.ndjson", status="failed")
    operator.deliver(operator.upload(f"a/{DATE}.csv", MB), operator.upload(f"a/{DATE}-2.ndjson", MB))
    operator.put(f"a/{DATE}-unknown.ndjson")
    locks.acquire(DATE, "run-1", "token", clock.now())
    said = operator.ops(*command, *json)
    assert said.calls
    assert said.writes == []
