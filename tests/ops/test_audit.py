"""`ops audit`: every file has exactly one state, and nothing is called missing that is only under way."""

from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from unittest import mock

import pytest

from dev.simulator.world import BEGINNING, INPUT_BUCKET, MANIFEST_BUCKET, message
from manifest_builder import inputs, manifest_objects
from manifest_builder.auditing import dates
from manifest_builder.documents import to_document
from manifest_builder.rows import FileRow
from manifest_builder.tracking import file_rows, table
from ops.replay import CHANGED
from tests.ops.operator import DATE, MB, Operator, Said

HOUR = timedelta(hours=1)


def path(key: str) -> str:
    return f"s3://{INPUT_BUCKET}/{key}"


def key(name: str, date: str = DATE) -> str:
    return f"orders/{date}/{name}.ndjson"


def later(operator: Operator, than_now: timedelta = HOUR) -> None:
    """Sets the clock to so long after now: the simulated S3 notes the real time of an upload."""
    operator.later = datetime.now(UTC) + than_now - BEGINNING


def states(said: Said) -> dict[str, int]:
    return {state: count for state, count in said.document["states"].items() if count}


def audit(operator: Operator, *arguments: str) -> Said:
    return operator.ops("audit", *(arguments or ("--all",)), "--json")


def flushed(operator: Operator) -> dict[str, Any]:
    """All pending files are put into a manifest. Returns its record."""
    known = {record["file_path"] for record in operator.manifest_records()}
    operator.wait(days=2)
    operator.sweep()
    (record,) = (record for record in operator.manifest_records() if record["file_path"] not in known)
    return record


def test_each_file_has_the_one_state_that_it_is_in(operator: Operator) -> None:
    later(operator)
    for name, end in (("read", "SUCCEEDED"), ("failed", "FAILED"), ("being-read", None)):
        operator.put_and_tell(key(name))
        record = flushed(operator)
        if end:
            operator.settings(JOB_RETRIES="0")
            operator.end_run(record["job_run_id"], end)
            operator.tell_of_run(record["job_run_id"])
    operator.put_and_tell(key("waits"))
    operator.put_and_tell("orders/refused.csv")
    operator.put_and_tell(key("deleted"))
    operator.deliver(operator.delete(key("deleted")))
    operator.put("orders/", 0)
    operator.put(key("lost"))

    said = audit(operator)

    assert said.code == 1
    assert said.document["files"] == 8
    assert states(said) == {
        "succeeded": 1,
        "failed": 1,
        "running": 1,
        "pending": 1,
        "quarantined": 1,
        "deleted": 1,
        "other": 1,
        "missing": 1,
    }
    (of_date,) = (each for each in said.document["dates"] if each["date"] == DATE)
    assert of_date["missing"] == [path(key("lost"))]
    assert len(of_date["failed_manifests"]) == 1
    assert said.writes == []


def test_a_complete_date_is_complete(operator: Operator) -> None:
    later(operator)
    operator.put_and_tell(key("a"))
    operator.put_and_tell(key("b"))
    said = operator.ops("audit", "--all")
    assert said.code == 0
    assert "complete: 2 files of 1 date, each accounted for" in said.out
    assert said.out.split()[:5] == ["Date", "Files", "Pending", "Oldest", "Missing"]


def test_a_failed_manifest_makes_its_date_incomplete(operator: Operator) -> None:
    later(operator)
    operator.put_and_tell(key("a"))
    operator.change(flushed(operator), status="failed")
    said = operator.ops("audit", "--all")
    assert said.code == 1
    assert "not complete: 1 file of 1 date, 1 failed\n" in said.out
    assert "after the cause is fixed: python -m ops replay s3://" in said.out


def test_an_empty_bucket_is_complete(operator: Operator) -> None:
    assert audit(operator).code == 0
    assert "complete: 0 files of 0 dates" in operator.ops("audit").out


def test_what_is_missing_is_told_and_the_exit_code_says_so(operator: Operator) -> None:
    operator.put(key("lost"))
    later(operator)
    said = operator.ops("audit", "--all")
    assert said.code == 1
    assert f"missing  {path(key('lost'))}\nnot complete: 1 file of 1 date, 1 missing\n" in said.out


@pytest.mark.parametrize(
    ("minutes", "grace", "state"), [(10, "15", "young"), (20, "15", "missing"), (20, "30", "young")]
)
def test_a_file_is_too_young_to_judge_within_the_grace(
    operator: Operator, minutes: int, grace: str, state: str
) -> None:
    operator.put(key("new"))
    later(operator, timedelta(minutes=minutes))
    said = audit(operator, "--all", "--grace", grace)
    assert states(said) == {state: 1}
    # Of a young file the bucket is not asked a second time.
    assert said.calls.count("ListObjectVersions") == (1 if state == "young" else 2)


@pytest.mark.parametrize("grace", ["-1", "1.5", "²", "999999999999"])
def test_a_grace_that_is_no_number_of_minutes_is_a_mistake(operator: Operator, grace: str) -> None:
    said = audit(operator, "--grace", grace)
    assert said.code == 2
    assert "whole number of minutes" in said.err


def test_repair_sends_what_is_missing_and_replays_what_has_failed_and_then_all_is_complete(operator: Operator) -> None:
    later(operator)
    operator.put_and_tell(key("failed"))
    record = flushed(operator)
    operator.settings(JOB_RETRIES="0")
    operator.end_run(record["job_run_id"], "FAILED")
    operator.tell_of_run(record["job_run_id"])
    for number in range(12):
        operator.put(key(f"lost-{number}"))

    said = operator.ops("audit", "--all", "--repair", "--yes", "--json")
    operator.wait_for_executions()
    operator.deliver_queued()

    assert said.code == 1
    assert said.document["repair"] == {"sent": 12, "replayed": [record["file_path"]], "refused": {}}
    again = audit(operator)
    assert again.code == 0
    assert states(again) == {"running": 1, "pending": 12}


def test_repair_asks_and_without_consent_nothing_is_done(operator: Operator) -> None:
    operator.put(key("lost"))
    later(operator)
    said = operator.ops("audit", "--all", "--repair", "--json", answer="n")
    assert said.code == 1
    assert "Sends an S3 event for 1 missing file, and starts the job again for 0 failed manifests" in said.err
    assert (said.document["repair"], said.writes) == (None, [])


def test_repair_needs_a_terminal_or_yes_before_it_reads_anything(operator: Operator) -> None:
    said = operator.ops("audit", "--repair")
    assert (said.code, said.calls) == (2, [])
    assert "add --yes" in said.err


def test_repair_leaves_a_manifest_that_changed_meanwhile(operator: Operator) -> None:
    later(operator)
    operator.put_and_tell(key("a"))
    record = flushed(operator) | {"status": "failed"}
    operator.change(record)
    find = dates.audit_date

    def changed(*arguments: Any, **options: Any) -> Any:
        found = find(*arguments, **options)
        operator.change(record, status="succeeded")
        return found

    with mock.patch("ops.audit.audit_date", changed):
        said = operator.ops("audit", "--all", "--repair", "--yes", "--json")
    assert said.document["repair"] == {"sent": 0, "replayed": [], "refused": {record["file_path"]: CHANGED}}
    assert operator.started == []


def test_a_repair_that_the_queue_refuses_is_no_success(operator: Operator) -> None:
    operator.put(key("lost"))
    later(operator)
    refused = {"Failed": [{"Id": "0", "Code": "InternalError", "Message": "try later", "SenderFault": False}]}
    with mock.patch("manifest_builder.announcements.sqs") as sqs:
        sqs.return_value.send_message_batch.return_value = refused
        said = operator.ops("audit", "--all", "--repair", "--yes")
    assert said.code == 2
    assert "the queue refused 1 messages: try later" in said.err


# What happens while the audit runs


def during(operator: Operator, owner: Any, name: str, act: Callable[[], object], *, after: bool = False) -> Said:
    """An audit; before (or after) its first call of this function, something happens."""
    function = getattr(owner, name)
    acted: list[bool] = []

    def with_act(*arguments: Any, **options: Any) -> Any:
        if after:
            result = function(*arguments, **options)
            result = list(result)
        if not acted:
            acted.append(True)
            with redirect_stdout(StringIO()):  # functions print their metrics
                act()
        return result if after else function(*arguments, **options)

    with mock.patch.object(owner, name, with_act):
        said = audit(operator)
    assert acted
    return said


def test_a_file_whose_event_arrives_during_the_audit_is_not_missing(operator: Operator) -> None:
    put = operator.put(key("late"))
    event = message(key("late"), MB, etag=put["ETag"].strip('"'), version_id=put["VersionId"])
    later(operator)
    said = during(operator, file_rows, "of_date", lambda: operator.deliver(event), after=True)
    assert states(said) == {"pending": 1}


def test_a_file_that_is_deleted_during_the_audit_is_not_missing(operator: Operator) -> None:
    operator.put(key("gone"))
    later(operator)

    def delete() -> None:
        operator.s3.delete_object(Bucket=INPUT_BUCKET, Key=key("gone"))

    assert states(during(operator, inputs, "current_object", delete)) == {"deleted": 1}


def test_a_file_that_is_replaced_during_the_audit_is_judged_as_it_is_then(operator: Operator) -> None:
    operator.put(key("replaced"))
    later(operator, timedelta(minutes=16))
    said = during(operator, inputs, "current_object", lambda: operator.put(key("replaced"), 2 * MB))
    assert states(said) == {"missing": 1}
    said = operator.ops("audit", "--all", "--repair", "--yes", "--json")
    operator.deliver_queued()
    (row,) = operator.files().values()
    assert row["file_size_bytes"] == 2 * MB


def test_a_manifest_that_is_cut_during_the_audit_contradicts_nothing(operator: Operator) -> None:
    later(operator)
    operator.put_and_tell(key("a"))
    said = during(operator, file_rows, "of_date", lambda: flushed(operator))
    assert (said.code, states(said)) == (0, {"running": 1})


def test_a_manifest_that_becomes_void_during_the_audit_contradicts_nothing(operator: Operator) -> None:
    later(operator)
    operator.put_and_tell(key("a"))
    operator.start_job_run = lambda start: (_ for _ in ()).throw(KeyError)

    def lose(function: Any, event: Any) -> Any:
        (lost,) = operator.manifest_objects()
        operator.s3.delete_object(Bucket=MANIFEST_BUCKET, Key=lost.removeprefix(f"s3://{MANIFEST_BUCKET}/"))
        del operator.around["UpdateStatus"]
        return function(event, None)

    operator.around["UpdateStatus"] = lose
    said = during(operator, file_rows, "of_date", lambda: flushed(operator))
    assert (said.code, states(said)) == (0, {"pending": 1})


def test_what_an_eventually_consistent_read_does_not_show_yet_is_not_missing(operator: Operator) -> None:
    later(operator)
    operator.put_and_tell(key("a"))
    with mock.patch.object(table, "query_eventually", return_value=iter(())):
        said = audit(operator)
    assert (said.code, states(said)) == (0, {"pending": 1})


def test_a_file_that_was_just_released_waits_for_its_event(operator: Operator) -> None:
    later(operator)
    operator.settings(EXPECTED_FILE_SIZE_MB="0.1")
    operator.put_and_tell(key("a"))
    operator.settings(EXPECTED_FILE_SIZE_MB="10")
    (row,) = operator.files().values()
    assert file_rows.release_version(FileRow.from_item(row))
    assert states(audit(operator)) == {"quarantined": 1, "young": 1}
    operator.wait(minutes=16)
    assert states(audit(operator)) == {"quarantined": 1, "missing": 1}


# Contradictions


def problems(said: Said) -> list[str]:
    return [problem for date in said.document["dates"] for problem in date["problems"]]


def test_a_row_whose_manifest_was_never_committed_contradicts_itself(operator: Operator) -> None:
    later(operator)
    operator.put_and_tell(key("a"))
    flushed(operator)
    (row,) = operator.files().values()
    operator.change(row, manifest_path="s3://elsewhere/manifests/x.json")
    said = audit(operator)
    assert (said.code, states(said)) == (1, {"contradicted": 1})
    assert problems(said) == [
        f"{path(key('a'))}: its row names s3://elsewhere/manifests/x.json, which was never committed"
    ]


@pytest.mark.parametrize("change", [{"etag": "another"}, {"version_id": "another"}])
def test_a_row_of_a_version_that_its_manifest_does_not_name_contradicts_itself(
    operator: Operator, change: dict[str, str]
) -> None:
    later(operator)
    operator.put_and_tell(key("a"))
    record = flushed(operator)
    (row,) = operator.files().values()
    operator.change(row, **change)
    said = audit(operator)
    assert said.code == 1
    assert said.document["states"]["contradicted"] == 1
    assert problems(said) == [f"{path(key('a'))}: its row names {record['file_path']}, which does not name it"]


def test_a_version_in_two_manifests_is_a_contradiction_and_a_file_in_two_is_none(operator: Operator) -> None:
    later(operator)
    operator.put_and_tell(key("a"))
    first = flushed(operator)
    operator.put_and_tell(key("a"), sequencer="0055AED6DCD90281E6")
    second = flushed(operator)
    assert problems(audit(operator)) == []
    manifest = first["file_path"].removeprefix(f"s3://{MANIFEST_BUCKET}/")
    both = [file for record in (first, second) for file in manifest_objects.read(record["file_path"])]
    operator.s3.put_object(Bucket=MANIFEST_BUCKET, Key=manifest, Body=to_document(both).encode())
    said = audit(operator)
    assert said.code == 1
    (problem,) = problems(said)
    assert problem.startswith(f"{path(key('a'))} version {both[1].version_id} is named by ")


@pytest.mark.parametrize(
    ("body", "problem"),
    [(None, "{} was deleted"), (b"{}", "{} is not the document of a manifest"), (b"\xff", "{} is not the document")],
)
def test_a_manifest_that_cannot_be_read_is_one_problem(operator: Operator, body: bytes | None, problem: str) -> None:
    later(operator)
    for name in "ab":
        operator.put_and_tell(key(name))
    record = flushed(operator)
    of_manifest = {"Bucket": MANIFEST_BUCKET, "Key": record["file_path"].removeprefix(f"s3://{MANIFEST_BUCKET}/")}
    if body is None:
        operator.s3.delete_object(**of_manifest)
    else:
        operator.s3.put_object(**of_manifest, Body=body)
    said = audit(operator)
    assert (said.code, states(said)) == (1, {"running": 2})
    (found,) = problems(said)
    assert found.startswith(problem.format(record["file_path"]))


def test_an_object_that_was_never_committed_is_litter_and_no_harm(operator: Operator) -> None:
    operator.s3.put_object(Bucket=MANIFEST_BUCKET, Key=f"manifests/{DATE}/batch-0001-x.json", Body=b"never committed")
    later(operator, timedelta(minutes=5))
    assert [date["litter"] for date in audit(operator).document["dates"]] == [0]
    later(operator)
    said = audit(operator)
    assert said.code == 0
    assert [date["litter"] for date in said.document["dates"]] == [1]
    assert "1 manifest object never committed" in operator.ops("audit", "--all").out


# Versions, expired rows, names


def test_a_missing_version_of_a_known_file_is_missing(operator: Operator) -> None:
    operator.put_and_tell(key("a"))
    operator.put(key("a"), 2 * MB)
    later(operator)
    assert states(audit(operator)) == {"pending": 1, "missing": 1}


def test_each_version_that_the_table_knows_counts(operator: Operator) -> None:
    later(operator)
    for sequencer in ("0055AED6DCD90281E5", "0055AED6DCD90281E7", "0055AED6DCD90281E6"):
        operator.put_and_tell(key("a"), sequencer=sequencer)
    operator.wait(days=2)
    operator.sweep()
    said = audit(operator)
    assert said.code == 0
    assert states(said) == {"running": 3}


@pytest.mark.parametrize("versioning", ["Enabled", "Suspended"])
def test_a_file_uploaded_again_with_the_same_content_contradicts_nothing(operator: Operator, versioning: str) -> None:
    later(operator)
    operator.s3.put_bucket_versioning(Bucket=INPUT_BUCKET, VersioningConfiguration={"Status": versioning})
    for sequencer in ("0055AED6DCD90281E5", "0055AED6DCD90281E6"):
        operator.put_and_tell(key("a"), sequencer=sequencer)
        flushed(operator)
    assert audit(operator).code == 0


def test_a_file_whose_row_has_expired_is_known_by_its_manifest_or_may_be_forgotten(operator: Operator) -> None:
    operator.settings(RETENTION_DAYS="30")
    later(operator)
    operator.put_and_tell(key("read"))
    flushed(operator)
    operator.put_and_tell(key("forgotten"))
    for row in operator.files().values():
        operator.dynamodb.delete_item(TableName="tracking-table", Key=table.key(row["date_prefix"], row["file_name"]))
    assert states(audit(operator)) == {"running": 1, "missing": 1}
    operator.wait(days=31)
    assert states(audit(operator)) == {"running": 1, "expired": 1}


HOSTILE = [
    f"a/{DATE}/" + name
    for name in (
        "new\nline",
        "tab\t",
        "'; DROP TABLE objects; --",
        '"',
        "%25+ %",
        "é😀",
        "[red]",
        "a#0123456789abcdef",
    )
]


def test_keys_may_hold_any_character(operator: Operator) -> None:
    keys = [f"{each}.ndjson" for each in HOSTILE] + [f"{DATE}-{'x' * 1006}.ndjson", f"{DATE}/.ndjson"]
    for each in keys:
        operator.put_and_tell(each)
        operator.put(f"{each[:900]}-lost.ndjson")
    later(operator)
    said = audit(operator)
    assert said.code == 1, said.err
    assert states(said) == {"pending": len(keys), "missing": len(keys)}
    operator.ops("audit", "--all", "--repair", "--yes")
    operator.deliver_queued()
    assert states(audit(operator)) == {"pending": 2 * len(keys)}


def test_files_of_one_name_in_several_folders_are_told_apart(operator: Operator) -> None:
    for folder in "abc":
        operator.put_and_tell(f"{folder}/{DATE}.ndjson")
    operator.put(f"d/{DATE}.ndjson")
    later(operator)
    assert states(audit(operator)) == {"pending": 3, "missing": 1}


# Dates


def test_a_key_without_a_date_is_known_by_the_day_of_its_event(operator: Operator) -> None:
    put = operator.put("plain.ndjson")
    written = operator.s3.head_object(Bucket=INPUT_BUCKET, Key="plain.ndjson")["LastModified"]
    tomorrow = written.date() + timedelta(days=1)
    version = {"etag": put["ETag"].strip('"'), "version_id": put["VersionId"]}
    operator.deliver(message("plain.ndjson", MB, event_time=f"{tomorrow}T00:10:00.000Z", **version))
    later(operator, timedelta(days=2))
    assert states(audit(operator)) == {"pending": 1}
    assert states(audit(operator, f"{written:%Y-%m-%d}")) == {}
    assert states(audit(operator, str(tomorrow))) == {"pending": 1}


def test_the_dates_are_chosen(operator: Operator) -> None:
    later(operator)
    today = datetime.now(UTC).date()
    recent, old = str(today - timedelta(days=3)), "2025-01-01"
    for date in (recent, old):
        operator.put(key("lost", date))
    assert states(audit(operator, recent)) == {"missing": 1}
    assert states(audit(operator, "--since", recent)) == {"missing": 2}, "a file was written for the old date since"
    later(operator, timedelta(days=30))
    assert states(audit(operator, "--since", str(today + timedelta(days=10)))) == {}
    assert [date["date"] for date in audit(operator, "--all").document["dates"]] == [old, recent]
    later(operator, timedelta(days=10))
    assert [date["date"] for date in operator.ops("audit", "--json").document["dates"]] == [old, recent]
    assert operator.ops("audit", old, "--all").code == 2


def test_a_date_without_objects_is_compared_too(operator: Operator) -> None:
    later(operator)
    operator.put_and_tell(key("a"))
    flushed(operator)
    operator.put_and_tell(key("b", "2025-12-24"))
    for each in (key("a"), key("b", "2025-12-24")):
        operator.s3.delete_object(Bucket=INPUT_BUCKET, Key=each)
    assert states(audit(operator)) == {"running": 1, "pending": 1}
