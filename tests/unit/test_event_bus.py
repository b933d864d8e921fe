"""The workflow's own events: their content by the schemas of docs/events, their ids, their order, and failures."""

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

import create_manifest
import quarantine_file
import record_outcome
import update_status
from dev.simulator.world import INPUT_BUCKET, QUARANTINE_BUCKET
from manifest_builder import aws, clock, event_bus
from manifest_builder.errors import EventNotSent
from manifest_builder.manifests import ManifestRecord
from manifest_builder.tracking import file_rows, locks, manifest_records, vanished
from tests.unit.support import DATE, MB, Account, a_file, a_manifest, aws_error, commit, manifest_state, track
from tests.unit.test_record_outcome import run, start, tell

__all__ = ["run"]  # a fixture

MANIFEST = a_manifest()
REFUSED = a_file(f"in/{DATE}-a.csv", 2)


def quarantine(file: Any = REFUSED, reason: str = "Invalid extension") -> dict[str, Any]:
    event = {"run_id": "run-1", "date_prefix": DATE, "file": file.to_state(), "reason": reason}
    return quarantine_file.handler(event, None)


def flush(token: str = "token-1", flush_before: str | None = "9") -> dict[str, Any]:
    assert locks.acquire(DATE, token, token, clock.now())
    event = {"run_id": token, "date_prefix": DATE, "flush_before": flush_before, "batch_index": 1, "token": token}
    answer = create_manifest.handler(event, None)
    assert locks.release(DATE, token, token)
    return answer


def find_object_gone() -> dict[str, Any]:
    """UpdateStatus meets a manifest without object whose start was claimed."""
    commit(MANIFEST)
    partition = f"MANIFEST#{DATE}"
    assert manifest_records.claim_start(partition, MANIFEST.record_name, "run-0", None, clock.now())
    (record,) = manifest_records.open_manifests(DATE)
    state = manifest_state(marked=True, stale_starter="run-0", stale_attempted_at=record.start_attempted_at)
    return update_status.handler({"run_id": "run-1", "date_prefix": DATE, "manifest": state}, None)


# Content


def test_a_succeeded_manifest_is_told(account: Account, run: str, events: list[dict[str, Any]]) -> None:
    account.end_run(run)
    tell(run)

    (event,) = events
    record = account.record()
    assert (event["source"], event["detail-type"]) == ("manifest-builder-test", "Manifest Status Change")
    assert event["detail"] == {
        "version": "1",
        "id": mock.ANY,
        "status": "succeeded",
        "date": DATE,
        "manifestPath": MANIFEST.file_path,
        "fileCount": 2,
        "sizeBytes": 2 * MB,
        "cut": MANIFEST.cut,
        "attempt": 1,
        "jobRunId": run,
        "runStartedAt": record["run_started_at"],
        "runFinishedAt": record["finished_at"],
        "reason": None,
    }


def test_a_run_that_failed_is_told_and_then_that_the_manifest_waits(
    account: Account, run: str, events: list[dict[str, Any]]
) -> None:
    account.end_run(run, "FAILED", "first")
    tell(run)
    second = start(account, MANIFEST)
    account.end_run(second, "TIMEOUT")
    tell(second)

    told = [{name: event["detail"][name] for name in ("status", "attempt", "jobRunId", "reason")} for event in events]
    assert told == [
        {"status": "failed", "attempt": 1, "jobRunId": run, "reason": "FAILED: first"},
        {
            "status": "waiting_for_operator",
            "attempt": 2,
            "jobRunId": second,
            "reason": "TIMEOUT: Glue gives no reason",
        },
    ]


def test_a_manifest_whose_object_is_gone_waits_for_an_operator(account: Account, events: list[dict[str, Any]]) -> None:
    find_object_gone()

    (event,) = events
    assert (event["detail"]["status"], event["detail"]["jobRunId"]) == ("waiting_for_operator", None)
    assert event["detail"]["reason"] == update_status.GONE
    assert account.record()["status"] == "failed"


def test_a_manifest_that_is_void_is_not_told(account: Account, events: list[dict[str, Any]]) -> None:
    commit(MANIFEST)
    update_status.handler({"run_id": "run-1", "date_prefix": DATE, "manifest": manifest_state()}, None)

    assert account.record()["status"] == "void"
    assert events == []


def test_a_manifest_that_another_attempt_has_taken_meanwhile_is_not_told(
    account: Account, events: list[dict[str, Any]]
) -> None:
    commit(MANIFEST)
    partition = f"MANIFEST#{DATE}"
    assert manifest_records.claim_start(partition, MANIFEST.record_name, "another run", None, clock.now())

    update_status.leave_to_an_operator(partition, MANIFEST.record_name, ("run-0", account.moment()))

    assert account.record()["status"] == "open"
    assert events == []


def test_a_refused_file_is_told(account: Account, events: list[dict[str, Any]]) -> None:
    account.s3.put_object(Bucket=INPUT_BUCKET, Key=REFUSED.key, Body=b"{}")
    quarantine()

    (event,) = events
    assert event["detail-type"] == "File Quarantined"
    assert event["detail"] == {
        "version": "1",
        "id": mock.ANY,
        "date": DATE,
        "bucket": INPUT_BUCKET,
        "key": REFUSED.key,
        "versionId": None,
        "etag": REFUSED.etag,
        "sequencer": REFUSED.sequencer,
        "sizeBytes": 2,
        "reason": "Invalid extension",
        "copiedTo": f"s3://{QUARANTINE_BUCKET}/{REFUSED.key}",
    }


def test_a_refused_version_is_told_with_its_id(account: Account, events: list[dict[str, Any]]) -> None:
    account.s3.put_bucket_versioning(Bucket=INPUT_BUCKET, VersioningConfiguration={"Status": "Enabled"})
    version = str(account.s3.put_object(Bucket=INPUT_BUCKET, Key=REFUSED.key, Body=b"{}")["VersionId"])
    account.s3.delete_object(Bucket=INPUT_BUCKET, Key=REFUSED.key, VersionId=version)
    quarantine(a_file(REFUSED.key, 2, version_id=version))

    assert events[0]["detail"]["versionId"] == version
    assert events[0]["detail"]["copiedTo"] == "not copied: the object has vanished"


def test_a_flush_is_told(account: Account, events: list[dict[str, Any]]) -> None:
    track(MB, 2 * MB)
    flush()

    (event,) = events
    assert event["detail-type"] == "Date Flushed"
    assert event["detail"] == {
        "version": "1",
        "id": mock.ANY,
        "date": DATE,
        "cut": account.record()["cut"],
        "fileCount": 2,
        "sizeBytes": 3 * MB,
    }


def test_a_full_manifest_is_no_flush(account: Account, events: list[dict[str, Any]]) -> None:
    track(751_619_276)
    flush()

    assert account.record()["status"] == "open"
    assert events == []


# Ids


def ids(events: list[dict[str, Any]]) -> list[str]:
    return [event["detail"]["id"] for event in events]


def act_and_die(act: Callable[[], Any], owner: Any, recording: str) -> None:
    with mock.patch.object(owner, recording, side_effect=SystemExit), pytest.raises(SystemExit):
        act()


def test_an_event_is_sent_before_the_outcome_is_recorded_and_again_with_its_id(
    account: Account, run: str, events: list[dict[str, Any]]
) -> None:
    account.end_run(run)
    act_and_die(lambda: tell(run), manifest_records, "record_outcome")
    assert account.record()["status"] == "started"
    tell(run)

    assert len(events) == 2
    assert events[0] == events[1]


def test_an_event_of_a_failed_run_is_sent_before_its_manifest_is_reopened(
    account: Account, run: str, events: list[dict[str, Any]]
) -> None:
    account.end_run(run, "FAILED")
    act_and_die(lambda: tell(run), manifest_records, "reopen")
    tell(run)

    assert len(events) == 2
    assert events[0] == events[1]


def test_an_event_of_a_refused_file_is_sent_before_it_is_recorded(
    account: Account, events: list[dict[str, Any]]
) -> None:
    act_and_die(quarantine, file_rows, "record_quarantine")
    quarantine()
    quarantine()

    assert len(events) == 2, "the third call finds the file recorded"
    assert events[0] == events[1]


def test_an_event_of_a_flush_is_sent_before_the_commit(account: Account, events: list[dict[str, Any]]) -> None:
    track(MB)
    act_and_die(flush, manifest_records, "commit")
    account.wait(hours=1)
    flush("token-2")

    assert len(events) == 2
    assert events[0] == events[1]


def test_an_event_of_a_manifest_without_object_is_sent_before_it_fails(
    account: Account, events: list[dict[str, Any]]
) -> None:
    act_and_die(find_object_gone, vanished, "fail_unstarted")

    assert account.record()["status"] == "open"
    assert len(events) == 1


def test_different_facts_have_different_ids(
    account: Account, environment: Callable[..., None], events: list[dict[str, Any]]
) -> None:
    def told(manifest: ManifestRecord, status: event_bus.ManifestStatus = "failed") -> None:
        event_bus.manifest_ended(manifest, status)

    told(MANIFEST)
    told(MANIFEST, "waiting_for_operator")
    told(a_manifest(attempt=2))
    told(a_manifest("token-2"))
    for file, reason in (
        (REFUSED, "a"),
        (REFUSED, "b"),
        (a_file("another", 2), "a"),
        (a_file(REFUSED.key, 2, version_id="v1"), "a"),
        (a_file(REFUSED.key, 2, sequencer="another"), "a"),
    ):
        event_bus.file_quarantined(DATE, file, reason, "not copied: why")
    environment(POWERTOOLS_SERVICE_NAME="another-stack")
    told(MANIFEST)

    assert len(set(ids(events))) == 10
    assert events[-1]["source"] == "another-stack"


# Off, and failing


def test_without_a_bus_nothing_is_sent_and_no_client_is_made(
    account: Account, environment: Callable[..., None], run: str
) -> None:
    environment(EVENT_BUS_NAME="none")
    account.end_run(run)
    with mock.patch.object(aws, "events", side_effect=AssertionError("no client is needed")):
        tell(run)

    assert account.record()["status"] == "succeeded"


def test_events_go_to_the_bus_that_is_set(
    account: Account, environment: Callable[..., None], events: list[dict[str, Any]]
) -> None:
    environment(EVENT_BUS_NAME="orders")
    aws.events().create_event_bus(Name="orders")
    event_bus.manifest_ended(MANIFEST, "succeeded")

    assert [event["bus"] for event in events] == ["orders"]


REFUSAL = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}]}
TAKEN = {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}


def test_an_event_that_is_not_taken_is_sent_again(sleeps: list[float]) -> None:
    with mock.patch.object(aws, "events") as client:
        client.return_value.put_events.side_effect = [REFUSAL, TAKEN]
        event_bus.manifest_ended(MANIFEST, "succeeded")

    assert client.return_value.put_events.call_count == 2
    assert len(sleeps) == 1


def test_an_event_that_is_never_taken_is_an_error_that_gives_the_reason(sleeps: list[float]) -> None:
    with mock.patch.object(aws, "events") as client:
        client.return_value.put_events.return_value = REFUSAL
        with pytest.raises(EventNotSent, match="Manifest Status Change to default: ThrottlingException: slow down"):
            event_bus.manifest_ended(MANIFEST, "succeeded")

    assert client.return_value.put_events.call_count == 3
    assert sum(sleeps) < 1


def test_an_outcome_that_cannot_be_told_is_not_recorded_and_not_reported(account: Account, run: str) -> None:
    account.end_run(run, "FAILED")
    with (
        mock.patch.object(aws, "events") as client,
        mock.patch.object(record_outcome, "report") as report,
    ):
        client.return_value.put_events.side_effect = aws_error("InternalFailure", "PutEvents")
        tell(run)

    assert account.record()["status"] == "started"
    report.assert_not_called()


def test_a_refused_file_that_cannot_be_told_is_not_recorded(account: Account) -> None:
    with mock.patch.object(aws, "events") as client:
        client.return_value.put_events.return_value = REFUSAL
        with pytest.raises(EventNotSent):
            quarantine()

    assert account.rows() == []
