"""Scenarios of the fault sweep: a preparation without faults, and an act in which every call suffers in turn."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from unittest import mock

from moto.glue.exceptions import ConcurrentRunsExceededException, GlueClientError
from moto.glue.models import glue_backends

from dev.faults.lab import Lab
from dev.simulator.world import ACCOUNT, GLUE_JOB, INPUT_BUCKET, MANIFEST_BUCKET, REGION, TRACKING_TABLE
from manifest_builder import clock, redelivery
from manifest_builder.files import FileVersion
from manifest_builder.manifests import START_SETTLE_SECONDS
from manifest_builder.rows import FileRow
from manifest_builder.settings import settings
from manifest_builder.tracking import file_rows, locks, marking, table
from manifest_builder.tracking.pending import pending_files

MB = 1024**2
DAY = "2025-12-23"
NEXT_DAY = "2025-12-24"
SETTLED = timedelta(seconds=START_SETTLE_SECONDS + 1)
"""After this, a start that was given up may be made again."""
LIMIT_30_MB = {"MAX_BATCH_SIZE_GB": "0.029296875"}


def nothing(lab: Lab) -> None:
    pass


def message_of(*messages: dict[str, str]) -> dict[str, str]:
    """One message with the records of these."""
    records = [record for message in messages for record in json.loads(message["body"])["Records"]]
    return {"messageId": "large", "body": json.dumps({"Records": records})}


@dataclass(frozen=True, eq=False)
class Scenario:
    """Every call of `act` suffers in turn; those of `prepare` do not."""

    name: str
    act: Callable[[Lab], None]
    prepare: Callable[[Lab], None] = nothing
    environment: dict[str, str] = field(default_factory=lambda: LIMIT_30_MB)
    again: Callable[[Lab], None] = nothing
    """What a schedule does once more, after the faults."""

    def __str__(self) -> str:
        return self.name

    def play(self, lab: Lab) -> None:
        """Prepares, acts under the lab's faults, and continues until everything has settled."""
        self.prepare(lab)
        with lab.armed():
            self.act(lab)
        self.again(lab)
        lab.settle()


@dataclass(frozen=True, eq=False)
class Divided(Scenario):
    """An execution takes one record, so that a message of several is divided."""

    def play(self, lab: Lab) -> None:
        with mock.patch.object(redelivery, "MAX_RECORDS", 1):
            super().play(lab)


def arrive(lab: Lab, number: int, day: str = DAY, folder: str = "a", sequencer: str = "01") -> None:
    for index in range(number):
        lab.arrive(f"{folder}/{day}-{index}.ndjson", 15 * MB, sequencer)


def prepare_one_date(lab: Lab) -> None:
    arrive(lab, 2)


def prepare_large_message(lab: Lab) -> None:
    files = [
        lab.upload(f"a/{DAY}-{index}.ndjson", 15 * MB, message_id=f"a/{DAY}-{index}.ndjson#01") for index in range(2)
    ]
    lab.queue.send(message_of(*files), lab.time())


def prepare_two_dates(lab: Lab) -> None:
    arrive(lab, 2)
    arrive(lab, 2, NEXT_DAY)


def prepare_mixed(lab: Lab) -> None:
    arrive(lab, 1)
    lab.deliver_all()
    lab.arrive(f"a/{DAY}-0.ndjson", 14 * MB, "02")
    arrive(lab, 2, folder="b")
    lab.arrive(f"{DAY}-large.ndjson", 20 * MB)
    lab.queue.send({"messageId": "poison", "body": "not an event"}, lab.now())


def prepare_open_manifest(lab: Lab, day: str = DAY) -> None:
    """A manifest that was committed and never marked: its function died right after the commit."""
    arrive(lab, 2, day)
    leave_unmarked(lab)


def leave_unmarked(lab: Lab) -> None:
    def dies(function: object, event: object) -> None:
        raise RuntimeError("UpdateStatus broke")

    lab.around["UpdateStatus"] = dies
    lab.deliver_all()
    del lab.around["UpdateStatus"]
    lab.later += SETTLED


def prepare_given_up_start(lab: Lab) -> None:
    """A manifest whose start was refused by a busy Glue a while ago."""
    arrive(lab, 2)

    def busy(start: object) -> str:
        raise ConcurrentRunsExceededException("busy")

    lab.start_job_run = busy
    lab.deliver_all()
    lab.start_job_run = None
    arrive(lab, 1, folder="later")
    lab.later += SETTLED


def prepare_lost_start(lab: Lab) -> None:
    """A manifest whose job was started a while ago, the answer being lost."""
    arrive(lab, 2)

    def answer_lost(start: Callable[[], str]) -> str:
        start()
        raise GlueClientError("InternalServiceException", "nobody knows")

    lab.start_job_run = answer_lost
    lab.deliver_all()
    lab.start_job_run = None
    lab.later += SETTLED


def prepare_busy_glue(lab: Lab) -> None:
    """Glue refuses the next five starts."""
    arrive(lab, 4)
    refusals = iter(range(5))

    def busy(start: Callable[[], str]) -> str:
        if next(refusals, None) is None:
            return start()
        raise ConcurrentRunsExceededException("busy")

    lab.start_job_run = busy


def prepare_old_file(lab: Lab) -> None:
    arrive(lab, 1)
    lab.deliver_all()
    lab.later += timedelta(hours=25)


def prepare_backlog(lab: Lab) -> None:
    """Files of three batches, tracked while another run held the lock."""
    arrive(lab, 5)
    assert locks.acquire(DAY, "somebody else", "its token", clock.now())
    lab.deliver_all()
    lab.later += timedelta(seconds=301)
    arrive(lab, 1, folder="last")


def prepare_failed_run(lab: Lab) -> None:
    """A manifest of two namesakes whose run has just failed, for the first time."""
    for folder in ("a", "b"):
        arrive(lab, 1, folder=folder)
    lab.deliver_all()
    lab.end_run(run_of(lab, DAY), "FAILED", "out of memory")


def prepare_run_that_glue_retries(lab: Lab) -> None:
    """A run of a job with MaxRetries has just failed."""
    arrive(lab, 2)
    lab.deliver_all()
    glue_backends[ACCOUNT][REGION].jobs[GLUE_JOB].max_retries = 1
    lab.end_run(run_of(lab, DAY), "FAILED")


def prepare_succeeded_run(lab: Lab) -> None:
    arrive(lab, 2)
    lab.deliver_all()
    lab.end_run(run_of(lab, DAY))


def prepare_refused_file(lab: Lab) -> None:
    lab.arrive(f"{DAY}-large.ndjson", 20 * MB)


def prepare_untold_runs(lab: Lab) -> None:
    """Two manifests whose runs have ended, one well; the events got lost."""
    arrive(lab, 2)
    arrive(lab, 2, NEXT_DAY)
    lab.deliver_all()
    lab.end_run(run_of(lab, DAY), "TIMEOUT")
    lab.end_run(run_of(lab, NEXT_DAY))


def prepare_vanished(lab: Lab) -> None:
    """A manifest that has marked one of its two files when its object is deleted."""
    prepare_open_manifest(lab)
    (record,) = lab.manifest_records()
    files = list(pending_files(DAY))[:1]
    until = clock.now() + timedelta(hours=1)
    assert marking.mark_manifested(DAY, files, record["file_path"], record["cut"], until).marked == files
    delete_manifest_objects(lab)
    arrive(lab, 1, folder="later")


def prepare_vanished_after_its_attempt(lab: Lab) -> None:
    """The object is deleted while the manifest waits for a busy Glue."""
    prepare_given_up_start(lab)
    delete_manifest_objects(lab)


def delete_manifest_objects(lab: Lab) -> None:
    """As a lifecycle rule does."""
    for path in lab.manifest_objects():
        lab.s3.delete_object(Bucket=MANIFEST_BUCKET, Key=path.removeprefix(f"s3://{MANIFEST_BUCKET}/"))


def deliver_and_fill(lab: Lab) -> None:
    """Then another batch of the date."""
    lab.deliver_all()
    arrive(lab, 2, folder="filling")
    lab.deliver_all()


def run_of(lab: Lab, day: str) -> str:
    (run,) = (record["job_run_id"] for record in lab.manifest_records() if day in record["date_prefix"])
    return str(run)


def prepare_removals(lab: Lab) -> None:
    """One pending file, and one unmarked file that a manifest names."""
    arrive(lab, 1)
    lab.deliver_all()
    prepare_open_manifest(lab, NEXT_DAY)


def prepare_released_file(lab: Lab) -> None:
    """A valid file that was refused under other settings, and released since."""
    arrive(lab, 1)
    lab.around["ValidateFile"] = lambda function, event: {"valid": False, "reason": "too large, by other settings"}
    lab.deliver_all()
    del lab.around["ValidateFile"]
    (item,) = lab.items().values()
    assert file_rows.release_version(FileRow.from_item(item))


def delete_released(lab: Lab) -> None:
    """The released file is deleted before its event is processed; then two files fill a batch of its date."""
    (event,) = lab.seen.messages
    lab.remove(f"a/{DAY}-0.ndjson", "02")
    lab.deliver_all()
    lab.queue.send(without_sequencer(event), lab.time())
    arrive(lab, 2, folder="b")
    lab.deliver_all()


def prepare_forgotten_namesake(lab: Lab) -> None:
    """Two files of one name in two folders. The first one's row has expired, by a setting that is changed since."""
    with mock.patch.dict("os.environ", RETENTION_DAYS="1"):
        settings.cache_clear()
        file = FileVersion("message", INPUT_BUCKET, f"earlier/{DAY}-0.ndjson", 15 * MB, "etag", None, "01")
        name = file_rows.record_quarantine(DAY, file, "wrong, whatever it is", None).file_name
    settings.cache_clear()
    arrive(lab, 1)
    lab.deliver_all()
    lab.dynamodb.delete_item(TableName=TRACKING_TABLE, Key=table.key(DAY, name))
    lab.later += timedelta(days=2)


def send_again_and_fill(lab: Lab) -> None:
    """A file fills a batch with the second one. Then the second one's event comes again, with another file."""
    lab.arrive(f"b/{DAY}-of-another-name.ndjson", 15 * MB)
    lab.deliver_all()
    lab.repeat(lab.seen.messages[0])
    lab.deliver_all()
    arrive(lab, 1, folder="c")
    lab.deliver_all()


def without_sequencer(event: dict[str, str]) -> dict[str, str]:
    """The event as `ops release` sends it."""
    document = json.loads(event["body"])
    for record in document["Records"]:
        del record["s3"]["object"]["sequencer"]
    return {"messageId": f"release of {event['messageId']}", "body": json.dumps(document)}


def prepare_versions(lab: Lab) -> None:
    """In a bucket with versions: an unmarked manifest names two of three files, the third one is pending."""
    for index in range(3):
        lab.arrive(f"a/{DAY}-{index}.ndjson", 15 * MB, "02", "v2")
    leave_unmarked(lab)


def deliver_other_versions(lab: Lab) -> None:
    """Newer versions of the pending file and of a named one; of the other an older one, whose event was late."""
    lab.arrive(f"a/{DAY}-2.ndjson", 15 * MB, "03", "v3")
    lab.arrive(f"a/{DAY}-0.ndjson", 15 * MB, "03", "v3")
    lab.arrive(f"a/{DAY}-1.ndjson", 15 * MB, "01", "v1")
    lab.deliver_all()


def prepare_waiting_versions(lab: Lab) -> None:
    """Two versions of one file wait; together they are not enough for a manifest."""
    for sequencer in ("01", "02"):
        lab.arrive(f"a/{DAY}-0.ndjson", 14 * MB, sequencer, f"v{sequencer}")
    lab.deliver_all()


def delete_waiting_versions(lab: Lab) -> None:
    """The file is deleted; then the date gets a batch without it."""
    lab.remove(f"a/{DAY}-0.ndjson", "03")
    lab.deliver_all()
    arrive(lab, 2, folder="b")
    lab.deliver_all()


def prepare_lost_events(lab: Lab, seed: int = 1, files: int = 4) -> None:
    """Each event is lost with a chance of a half. All others have been processed, and the files are old enough."""
    drawn = random.Random(seed)
    for index in range(files):
        send = lab.lose if drawn.random() < 0.5 else lab.arrive
        send(f"a/{drawn.choice((DAY, NEXT_DAY))}-{index}.ndjson", 15 * MB)
    lab.deliver_all()
    assert 0 < len(lab.seen.untold) < files
    lab.later += timedelta(hours=1)


def audit(lab: Lab) -> None:
    lab.audit()
    lab.deliver_all()


def audit_a_day_later(lab: Lab) -> None:
    lab.later += timedelta(days=1)
    audit(lab)


def deliver(lab: Lab) -> None:
    lab.deliver_all()


def remove(lab: Lab) -> None:
    """Both are deleted, and one that nothing is known of yet; then the first one's date gets a batch without it."""
    for key in (f"a/{DAY}-0.ndjson", f"late/{DAY}-0.ndjson", f"a/{NEXT_DAY}-0.ndjson"):
        lab.remove(key, "02")
    lab.deliver_all()
    arrive(lab, 1, folder="late")
    arrive(lab, 2, folder="b")
    lab.deliver_all()


def sweep(lab: Lab) -> None:
    lab.sweep()


def tell_of_the_run(lab: Lab) -> None:
    lab.tell_of_run(run_of(lab, DAY))


def tell_of_both_attempts(lab: Lab) -> None:
    """The failure is told before Glue lists its next attempt, which succeeds."""
    first = run_of(lab, DAY)
    lab.tell_of_run(first)
    second = lab.retry_run(first)
    lab.end_run(second)
    lab.tell_of_run(second)


ASKED_AT_EVERY_SWEEP = LIMIT_30_MB | {"OUTCOME_AFTER_MINUTES": "0"}

FLUSH = Scenario("the sweep flushes an old file", sweep, prepare_old_file)
SUCCEEDED = Scenario("a run of the job succeeds", tell_of_the_run, prepare_succeeded_run, ASKED_AT_EVERY_SWEEP)
SMALLEST = Scenario("one date reaches the threshold", deliver, prepare_one_date)
GIVEN_UP = Scenario("a given-up start is resumed", deliver, prepare_given_up_start)
REMOVALS = Scenario("files are deleted before and after their manifest is cut", remove, prepare_removals)
RELEASE = Scenario("a released file is deleted before its event comes", delete_released, prepare_released_file)
LARGE = Divided("a large message is divided", deliver, prepare_large_message)
VERSIONS = Scenario("versions of files that a manifest names", deliver_other_versions, prepare_versions)
DELETED_VERSIONS = Scenario(
    "a file is deleted while two of its versions wait", delete_waiting_versions, prepare_waiting_versions
)
VANISHED = Scenario("a manifest's object is deleted before its job is started", deliver, prepare_vanished)
LOST_EVENTS = Scenario("events are lost, and an audit follows", audit, prepare_lost_events, again=audit_a_day_later)
NAMESAKE = Scenario(
    "a namesake's row has expired under an earlier setting", send_again_and_fill, prepare_forgotten_namesake
)
RETRIED = Scenario(
    "Glue itself tries a failed run again", tell_of_both_attempts, prepare_run_that_glue_retries, ASKED_AT_EVERY_SWEEP
)

SCENARIOS = [
    SMALLEST,
    Scenario("two dates", deliver, prepare_two_dates),
    Scenario("valid, invalid, re-uploaded and poison", deliver, prepare_mixed),
    Scenario("an open manifest is resumed", deliver, prepare_open_manifest),
    GIVEN_UP,
    Scenario("a start whose answer was lost is found", deliver, prepare_lost_start),
    Scenario("Glue is busy for a while", deliver, prepare_busy_glue),
    FLUSH,
    Scenario("a backlog of several manifests", deliver, prepare_backlog),
    SUCCEEDED,
    Scenario("a run of the job fails", tell_of_the_run, prepare_failed_run, ASKED_AT_EVERY_SWEEP),
    RETRIED,
    Scenario("the ends of two runs were never told", sweep, prepare_untold_runs, ASKED_AT_EVERY_SWEEP),
    REMOVALS,
    VERSIONS,
    DELETED_VERSIONS,
    RELEASE,
    LARGE,
    VANISHED,
    Scenario("a manifest's object is deleted while Glue is busy", sweep, prepare_vanished_after_its_attempt),
    NAMESAKE,
    LOST_EVENTS,
]
