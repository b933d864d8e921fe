"""RecordOutcome: the status of a manifest after its run has ended."""

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from moto.glue.models import FakeJobRun, glue_backends

import find_stalled_dates
import record_outcome
from dev.simulator.telemetry import Telemetry
from dev.simulator.world import ACCOUNT, GLUE_JOB, MANIFEST_BUCKET, REGION
from dev.template import all_states
from manifest_builder import aws, clock, job_runs
from manifest_builder.errors import RunNotRecorded
from manifest_builder.manifests import ManifestRecord
from manifest_builder.tracking import manifest_records, pending
from tests.unit.support import DATE, Account, a_document, a_manifest, aws_error, commit, intercepted

TOPIC = "arn:aws:sns:us-east-1:123456789012:alarms"
PARTITION = f"MANIFEST#{DATE}"


def start(account: Account, manifest: ManifestRecord) -> str:
    """Start a run for the manifest and name it in the record, as UpdateStatus and RecordJobRun do. Returns its id."""
    arguments = {"--MANIFEST_PATH": manifest.file_path, "--DATE_PREFIX": manifest.date_prefix}
    run_id: str = account.glue.start_job_run(JobName=GLUE_JOB, Arguments=arguments)["JobRunId"]
    account.dynamodb.update_item(
        TableName="tracking-table",
        Key={"date_prefix": {"S": f"MANIFEST#{manifest.date_prefix}"}, "file_name": {"S": manifest.record_name}},
        UpdateExpression="SET #status = :started, job_run_id = :run, job_name = :job, start_attempted_at = :now",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={
            ":started": {"S": "started"},
            ":run": {"S": run_id},
            ":job": {"S": GLUE_JOB},
            ":now": {"S": account.moment()},
        },
    )
    return run_id


@pytest.fixture
def run(account: Account) -> str:
    """The id of a run whose manifest names two files."""
    manifest = a_manifest()
    commit(manifest)
    key = manifest.file_path.removeprefix(f"s3://{MANIFEST_BUCKET}/")
    account.s3.put_object(Bucket=MANIFEST_BUCKET, Key=key, Body=a_document("s3://in/a", "s3://in/b").encode())
    return start(account, manifest)


@pytest.fixture
def reports(environment: Callable[..., None]) -> Iterator[mock.Mock]:
    """The mocked `publish` of the alarm topic."""
    environment(ALARM_TOPIC_ARN=TOPIC)
    with mock.patch.object(aws, "sns") as sns:
        yield sns.return_value.publish


def tell(*runs: str | dict[str, str], dates: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    job_runs = [run if isinstance(run, dict) else {"job_run_id": run} for run in runs]
    return record_outcome.handler(
        {"request": {"job_runs": job_runs, "dates": dates or [], "rejected": [], "ignored": 0}}, None
    )


def the_date() -> dict[str, Any]:
    return {"date_prefix": DATE, "files": [], "flush_before": None}


def test_the_manifest_of_a_succeeded_run_is_succeeded(account: Account, run: str) -> None:
    account.end_run(run)

    assert tell(run)["dates"] == []

    record = account.record()
    assert (record["status"], record["job_run_id"]) == ("succeeded", run)
    assert record["run_started_at"] <= record["finished_at"]
    assert "pending_since" not in record
    assert list(pending.scan_unfinished()) == []


@pytest.mark.parametrize("state", ["FAILED", "TIMEOUT", "ERROR", "EXPIRED"])
def test_a_run_that_failed_leaves_its_manifest_open_for_another_attempt(account: Account, run: str, state: str) -> None:
    account.end_run(run, state, "out of memory")

    assert tell(run)["dates"] == [the_date()]

    record = account.record()
    assert (record["status"], record["attempt"], record["failed_runs"]) == ("open", 2, [run])
    assert record["error"] == f"{state}: out of memory"
    assert not {"job_run_id", "starter", "start_attempted_at"} & record.keys()
    assert [manifest.record_name for manifest in manifest_records.open_manifests(DATE)] == [record["file_name"]]


def test_the_search_for_the_run_of_the_next_attempt_ignores_the_failed_run(account: Account, run: str) -> None:
    account.end_run(run, "FAILED")
    tell(run)
    assert manifest_records.claim_start(PARTITION, "batch-0001-token-1", "run-2", None, clock.now())
    (manifest,) = manifest_records.open_manifests(DATE)

    assert job_runs.find_job_run(manifest) is None
    second = start(account, a_manifest())
    assert job_runs.find_job_run(manifest) == second


def test_a_manifest_waits_for_an_operator_when_its_attempts_are_used_up(account: Account, run: str) -> None:
    account.end_run(run, "FAILED", "first")
    tell(run)
    second = start(account, a_manifest())
    account.end_run(second, "FAILED", "second")

    assert tell(second)["dates"] == []

    record = account.record()
    assert (record["status"], record["attempt"], record["job_run_id"]) == ("failed", 2, second)
    assert record["error"] == "FAILED: second"
    assert "pending_since" not in record


@pytest.mark.parametrize(("retries", "status"), [("0", "failed"), ("1", "open")])
def test_the_number_of_retries_follows_the_setting(
    environment: Callable[..., None], account: Account, run: str, retries: str, status: str
) -> None:
    environment(JOB_RETRIES=retries)
    account.end_run(run, "FAILED")
    tell(run)
    assert account.record()["status"] == status


def test_a_run_that_somebody_stopped_is_not_started_again(account: Account, run: str) -> None:
    account.end_run(run, "STOPPED")
    tell(run)
    assert account.record()["status"] == "failed"


@pytest.mark.parametrize("state", ["STARTING", "RUNNING", "STOPPING", "WAITING"])
def test_a_run_that_has_not_ended_changes_nothing(account: Account, run: str, state: str) -> None:
    account.end_run(run, state)
    before = account.record()
    tell(run)
    assert account.record() == before


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED"])
def test_a_redelivered_event_changes_nothing(account: Account, run: str, reports: mock.Mock, state: str) -> None:
    account.end_run(run, state)
    tell(run)
    before, reported = account.record(), reports.call_count

    assert tell(run)["dates"] == []
    assert (account.record(), reports.call_count) == (before, reported)


def test_one_of_two_concurrent_executions_records_the_outcome(account: Account, run: str) -> None:
    account.end_run(run, "FAILED")

    def while_another_does(proceed: Callable[..., Any], number: int, arguments: dict[str, Any]) -> Any:
        if number == 1:
            tell(run)
        return proceed()

    with intercepted(aws.dynamodb(), "update_item", while_another_does):
        assert tell(run)["dates"] == []
    assert account.record()["attempt"] == 2


def test_a_record_that_does_not_name_the_run_yet_is_left_to_the_sweep(account: Account) -> None:
    manifest = a_manifest()
    commit(manifest)
    arguments = {"--MANIFEST_PATH": manifest.file_path, "--DATE_PREFIX": DATE}
    run = account.glue.start_job_run(JobName=GLUE_JOB, Arguments=arguments)["JobRunId"]
    account.end_run(run, "FAILED")
    before = account.record()
    tell(run)
    assert account.record() == before


def test_a_run_that_somebody_started_by_hand_changes_nothing(account: Account, run: str) -> None:
    arguments = {"--MANIFEST_PATH": a_manifest().file_path, "--DATE_PREFIX": DATE}
    by_hand = [
        account.glue.start_job_run(JobName=GLUE_JOB, Arguments=given)["JobRunId"] for given in (arguments, {"--X": "y"})
    ]
    for other in by_hand:
        account.end_run(other, "FAILED")
    before = account.record()
    tell(*by_hand)
    assert account.record() == before


def ask(run: str) -> dict[str, str]:
    """As a sweep asks about a run."""
    return {"job_run_id": run, "date_prefix": DATE, "manifest_path": a_manifest().file_path}


def tell_of_an_unknown_run(run: str) -> None:
    with mock.patch.object(aws.glue(), "get_job_run", side_effect=aws_error("EntityNotFoundException")):
        tell(ask(run))


def test_a_run_that_glue_does_not_know_yet_is_asked_about_again(account: Account, run: str) -> None:
    before = account.record()
    account.wait(hours=23)
    tell_of_an_unknown_run(run)
    assert account.record() == before

    account.end_run(run)
    tell(ask(run))
    assert account.record()["status"] == "succeeded"


def test_a_manifest_whose_run_glue_has_deleted_waits_for_an_operator(account: Account, run: str) -> None:
    account.wait(hours=25)
    tell_of_an_unknown_run(run)
    record = account.record()
    assert record["status"] == "failed"
    assert record["error"] == f"UNKNOWN: {GLUE_JOB} has no run {run}"


@pytest.mark.parametrize(("state", "status"), [("SUCCEEDED", "succeeded"), ("FAILED", "open"), ("RUNNING", "failed")])
def test_a_run_that_was_given_up_as_unknown_is_corrected_when_its_end_is_told(
    account: Account, run: str, state: str, status: str
) -> None:
    account.wait(hours=25)
    tell_of_an_unknown_run(run)
    account.end_run(run, state)
    tell(run)
    assert account.record()["status"] == status


def test_a_failure_that_glue_told_of_is_not_corrected(account: Account, run: str) -> None:
    account.end_run(run, "STOPPED")
    tell(run)
    account.end_run(run, "SUCCEEDED")
    tell(run)
    assert account.record()["status"] == "failed"


def test_a_run_is_looked_for_under_the_job_that_it_is_of(
    environment: Callable[..., None], account: Account, run: str
) -> None:
    environment(GLUE_JOB_NAME="another-job")
    account.end_run(run)
    tell(ask(run))
    assert account.record()["status"] == "succeeded"


def test_a_replayed_manifest_has_all_its_retries_again(
    environment: Callable[..., None], account: Account, run: str
) -> None:
    environment(JOB_RETRIES="2")
    statuses = []
    for attempt in range(1, 7):
        account.end_run(run, "FAILED")
        tell(run)
        record = account.record()
        statuses.append(record["status"])
        if record["status"] == "failed":
            assert manifest_records.reopen(DATE, record["file_name"], run_id=run, is_replay=True)
        run = start(account, a_manifest())
        assert account.record()["attempt"] == attempt + 1

    assert statuses == ["open", "open", "failed"] * 2


def test_an_error_for_one_run_does_not_stop_the_others(account: Account, run: str, log: Telemetry) -> None:
    account.end_run(run)
    get_job_run = aws.glue().get_job_run

    def answer(JobName: str, RunId: str) -> Any:
        if RunId == "broken":
            raise aws_error("InternalServiceException")
        return get_job_run(JobName=JobName, RunId=RunId)

    with mock.patch.object(aws.glue(), "get_job_run", answer):
        answered = tell("broken", run, dates=[the_date()])
    assert account.record()["status"] == "succeeded"
    assert answered["dates"] == [the_date()]
    (line,) = [line for line in log.lines if line.get("job_run_id") == "broken"]
    assert line["level"] == "ERROR"


def test_runs_that_exceed_the_time_budget_are_left_to_the_next_sweep(account: Account, run: str) -> None:
    account.end_run(run)
    account.tick = record_outcome.ASKING_TIME
    tell(run)
    assert account.record()["status"] == "started"


def test_the_dates_of_the_sweep_are_passed_on_unchanged(account: Account, run: str) -> None:
    account.end_run(run, "FAILED")
    flushed = the_date() | {"flush_before": "2025-12-22T10:00:00.000000Z"}
    other = flushed | {"date_prefix": "2025-12-01"}
    assert tell(run, dates=[other, flushed])["dates"] == [other, flushed]


def test_each_event_gets_its_own_run_id(account: Account) -> None:
    assert len({tell()["run_id"] for _ in range(3)}) == 3


def test_a_sweep_keeps_its_run_id(account: Account) -> None:
    request = {"run_id": "run-1", "job_runs": [], "dates": [], "rejected": [], "ignored": 0}
    assert record_outcome.handler({"request": request}, None)["run_id"] == "run-1"


def test_a_failed_run_is_reported_with_its_manifest_its_files_and_the_error(
    account: Account, run: str, reports: mock.Mock
) -> None:
    account.end_run(run, "FAILED", "out of memory")
    tell(run)

    report = reports.call_args.kwargs
    assert report["TopicArn"] == TOPIC
    assert report["Subject"] == f"Job run failed: {DATE}, 2 files"
    for part in ("FAILED: out of memory", a_manifest().file_path, run, "s3://in/a\ns3://in/b", "started again"):
        assert part in report["Message"]


def test_a_report_says_that_the_job_is_not_started_again(
    environment: Callable[..., None], account: Account, run: str, reports: mock.Mock
) -> None:
    environment(ALARM_TOPIC_ARN=TOPIC, JOB_RETRIES="0")
    account.end_run(run, "FAILED")
    tell(run)
    assert "not started again automatically" in reports.call_args.kwargs["Message"]


def test_a_report_of_many_files_names_a_hundred(account: Account, run: str, reports: mock.Mock) -> None:
    key = a_manifest().file_path.removeprefix(f"s3://{MANIFEST_BUCKET}/")
    many = a_document(*(f"s3://in/{number:04}" for number in range(150)))
    account.s3.put_object(Bucket=MANIFEST_BUCKET, Key=key, Body=many.encode())
    account.end_run(run, "FAILED", "x" * 5000)
    tell(run)
    message = reports.call_args.kwargs["Message"]
    assert "s3://in/0099\n... and 50 more" in message
    assert "s3://in/0100" not in message
    assert "x" * 1001 not in message


def test_a_report_that_cannot_be_sent_does_not_stop_the_next_attempt(
    account: Account, run: str, reports: mock.Mock
) -> None:
    reports.side_effect = aws_error("AuthorizationErrorException")
    account.end_run(run, "FAILED")
    assert tell(run)["dates"] == [the_date()]
    assert account.record()["status"] == "open"


def test_outcomes_are_counted(account: Account, run: str, environment: Callable[..., None], log: Telemetry) -> None:
    account.end_run(run, "FAILED")
    tell(run)
    second = start(account, a_manifest())
    account.end_run(second, "FAILED")
    tell(second)
    assert log.metrics == {"JobRunsFailed": 2, "ManifestsFailed": 1}


@pytest.mark.parametrize(("minutes", "asked"), [(59, False), (60, True)])
def test_the_sweep_asks_about_runs_that_are_old_enough(account: Account, run: str, minutes: int, asked: bool) -> None:
    account.wait(minutes=minutes)
    answer = find_stalled_dates.handler({"sweep": True}, None)
    expected = {"job_run_id": run, "date_prefix": DATE, "manifest_path": a_manifest().file_path}
    assert answer["job_runs"] == ([expected] if asked else [])
    assert answer["dates"] == []


def test_a_sweep_asks_about_a_limited_number_of_runs_and_later_sweeps_ask_about_the_others(account: Account) -> None:
    paths = set()
    for number in range(find_stalled_dates.RUNS_PER_SWEEP + 2):
        manifest = a_manifest(f"token-{number}", created_at=account.moment(minutes=-number))
        commit(manifest)
        start(account, manifest)
        paths.add(manifest.file_path)
    account.wait(hours=1)
    asked: set[str] = set()
    for _ in range(100):  # a sweep asks about 25 of the 26 runs, chosen at random
        job_runs = find_stalled_dates.handler({"sweep": True}, None)["job_runs"]
        assert len({run["job_run_id"] for run in job_runs}) == find_stalled_dates.RUNS_PER_SWEEP
        asked |= {run["manifest_path"] for run in job_runs}
        if asked == paths:
            break
    assert asked == paths


def test_the_age_of_a_reopened_manifest_starts_again(account: Account, run: str) -> None:
    account.wait(hours=5)
    assert manifest_records.reopen(DATE, "batch-0001-token-1", run_id=run)
    assert not manifest_records.reopen(DATE, "batch-0001-token-1", run_id=run)
    record = account.record()
    assert record["pending_since"] == account.moment()
    assert "error" not in record


# A run that no record names yet


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED", "TIMEOUT"])
def test_a_run_that_ended_before_its_record_names_it_is_asked_about_again_by_the_states_retry(
    account: Account, state: str
) -> None:
    manifest = a_manifest()
    commit(manifest)
    assert manifest_records.claim_start(PARTITION, manifest.record_name, "run-1", None, clock.now())
    arguments = {"--MANIFEST_PATH": manifest.file_path, "--DATE_PREFIX": manifest.date_prefix}
    run_id = account.glue.start_job_run(JobName=GLUE_JOB, Arguments=arguments)["JobRunId"]
    account.end_run(run_id, state)

    with pytest.raises(RunNotRecorded):
        tell(run_id)

    retrier = next(each for each in all_states()["RecordOutcome"]["Retry"] if "RunNotRecorded" in each["ErrorEquals"])
    assert retrier["MaxAttempts"] >= 3


def test_a_run_that_is_still_running_while_no_record_names_it_is_not_waited_for(account: Account) -> None:
    manifest = a_manifest()
    commit(manifest)
    assert manifest_records.claim_start(PARTITION, manifest.record_name, "run-1", None, clock.now())
    arguments = {"--MANIFEST_PATH": manifest.file_path, "--DATE_PREFIX": manifest.date_prefix}
    run_id = account.glue.start_job_run(JobName=GLUE_JOB, Arguments=arguments)["JobRunId"]

    assert tell(run_id)["dates"] == []


def test_a_failed_run_of_an_earlier_attempt_is_not_waited_for(account: Account, run: str) -> None:
    account.end_run(run, "FAILED")
    tell(run)
    assert manifest_records.claim_start(PARTITION, "batch-0001-token-1", "run-2", None, clock.now())

    assert tell(run)["dates"] == []


# Glue's own retries


@pytest.fixture
def retried_by_glue(account: Account, run: str) -> Iterator[Callable[[str, str], str]]:
    """A job with MaxRetries 2: starts Glue's next attempt of a run."""
    job = glue_backends[ACCOUNT][REGION].jobs[GLUE_JOB]
    job.max_retries = 2
    previous: dict[str, tuple[str, int]] = {}
    describe = FakeJobRun.as_dict

    def with_previous(job_run: FakeJobRun) -> dict[str, Any]:
        of, attempt = previous.get(job_run.job_run_id, (None, 0))
        return describe(job_run) | {"Attempt": attempt} | ({"PreviousRunId": of} if of else {})

    def retry(of: str, state: str = "RUNNING") -> str:
        first = glue_backends[ACCOUNT][REGION].jobs[GLUE_JOB].job_runs[0]
        run_id: str = account.glue.start_job_run(JobName=GLUE_JOB, Arguments=first.arguments)["JobRunId"]
        previous[run_id] = (of, previous.get(of, ("", 0))[1] + 1)
        if state != "RUNNING":
            account.end_run(run_id, state)
        return run_id

    with mock.patch.object(FakeJobRun, "as_dict", with_previous):
        yield retry


Retry = Callable[..., str]


def test_the_outcome_of_glues_own_retry_is_the_outcome_of_the_manifest(
    account: Account, run: str, retried_by_glue: Retry
) -> None:
    account.end_run(run, "FAILED")
    second = retried_by_glue(run)
    assert tell(run)["dates"] == []
    record = account.record()
    assert (record["status"], record["job_run_id"], record["failed_runs"]) == ("started", second, [run])

    account.end_run(second)
    tell(second)

    assert account.record()["status"] == "succeeded"
    assert account.record().get("attempt", 1) == 1


def test_glues_own_retry_is_followed_even_if_its_event_comes_first(
    account: Account, run: str, retried_by_glue: Retry
) -> None:
    account.end_run(run, "FAILED")
    second = retried_by_glue(run, "SUCCEEDED")

    tell(second)
    assert account.record()["status"] == "succeeded"
    tell(run)
    assert account.record()["status"] == "succeeded"


def test_a_failed_run_is_left_to_glue_until_its_retry_is_listed(
    account: Account, run: str, retried_by_glue: Retry
) -> None:
    account.end_run(run, "FAILED")

    assert tell(run)["dates"] == []
    assert account.record()["job_run_id"] == run

    account.wait(minutes=31)
    assert tell(run)["dates"] == [the_date()], "Glue never made it"


def test_when_glues_retries_are_used_up_those_of_the_stack_follow(
    account: Account, run: str, retried_by_glue: Retry
) -> None:
    account.end_run(run, "FAILED")
    second = retried_by_glue(run, "FAILED")
    third = retried_by_glue(second, "FAILED")

    assert tell(run)["dates"] == [the_date()], "one event is enough for all attempts"
    assert tell(second)["dates"] == tell(third)["dates"] == []

    record = account.record()
    assert (record["status"], record["attempt"]) == ("open", 2)
    assert record["failed_runs"] == [run, second, third]


def test_a_run_that_somebody_stopped_is_not_left_to_glue(account: Account, run: str, retried_by_glue: Retry) -> None:
    account.end_run(run, "STOPPED")

    tell(run)

    assert account.record()["status"] == "failed"


def test_a_retry_that_glue_has_made_is_followed_whatever_the_job_says_now(
    account: Account, run: str, retried_by_glue: Retry
) -> None:
    account.end_run(run, "FAILED")
    second = retried_by_glue(run)
    glue_backends[ACCOUNT][REGION].jobs[GLUE_JOB].max_retries = 0

    assert tell(run)["dates"] == []

    assert account.record()["job_run_id"] == second
