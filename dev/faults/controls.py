"""Controls that must fail: the system with one clause of its protocol broken, and the run that has to notice.

A sweep that cannot fail proves nothing. Each control is a test double for one clause, the schedule under which it does
harm, and the invariant that says so. The same schedule does no harm to the system as it is.
"""

import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

from moto.glue.exceptions import ConcurrentRunsExceededException, GlueClientError

import acquire_lock
import check_threshold
import create_manifest
import find_stalled_dates
import record_outcome
import start_workflow
import track_file
import update_status
from dev.faults import invariants, queue, sweep
from dev.faults.calls import SKEW, Call, Fault, Kind
from dev.faults.invariants import Invariant, violations
from dev.faults.lab import Lab, Outage
from dev.faults.outages import Outlasted
from dev.faults.scenarios import (
    ASKED_AT_EVERY_SWEEP,
    DAY,
    DELETED_VERSIONS,
    FLUSH,
    LARGE,
    LOST_EVENTS,
    MB,
    NAMESAKE,
    RELEASE,
    REMOVALS,
    RETRIED,
    SETTLED,
    SMALLEST,
    SUCCEEDED,
    VANISHED,
    VERSIONS,
    Scenario,
    arrive,
    delete_manifest_objects,
    deliver,
    deliver_and_fill,
    prepare_backlog,
    prepare_failed_run,
    prepare_given_up_start,
    prepare_lost_start,
    prepare_one_date,
    prepare_open_manifest,
    prepare_refused_file,
    prepare_untold_runs,
    prepare_versions,
    tell_of_the_run,
)
from dev.simulator.world import INPUT_BUCKET, TRACKING_TABLE, Function
from dev.template import all_states
from manifest_builder import (
    aws,
    batching,
    clock,
    event_bus,
    job_runs,
    manifests,
    planning,
    queues,
    redelivery,
    removals,
    turns,
    versions,
)
from manifest_builder.auditing import dates
from manifest_builder.batching import Batch, PendingFile
from manifest_builder.documents import NamedFile
from manifest_builder.errors import RunNotRecorded
from manifest_builder.files import FileVersion
from manifest_builder.planning import Plan
from manifest_builder.redelivery import Message
from manifest_builder.rows import FileRow
from manifest_builder.tracking import (
    file_rows,
    locks,
    manifest_records,
    marking,
    pending,
    retention,
    table,
    vanished,
)
from manifest_builder.versions import Change

Event = dict[str, Any]
Double = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Hit:
    """A fault of the `nth` call of an operation, counted from 0."""

    operation: str
    kind: Kind
    nth: int = 0
    lasting: bool = False


@dataclass
class AimedLab(Lab):
    """A lab whose faults are aimed at operations, not at numbers of calls."""

    hits: tuple[Hit, ...] = ()

    def _fault_for(self, call: Call, is_first: bool) -> Fault | None:
        for hit in self.hits:
            alike = [known.number for known in self.calls if known.operation == hit.operation]
            if call.number in alike[hit.nth : hit.nth + 1] and (hit.lasting or is_first):
                self.reached.append(Fault(call.number, hit.kind, hit.lasting))
                return self.reached[-1]
        return None


@dataclass(frozen=True)
class Unswept(Scenario):
    """Without a sweep: work that only a sweep would find stays undone in this scenario."""

    def play(self, lab: Lab) -> None:
        with mock.patch.object(lab, "sweep"):
            super().play(lab)


@dataclass(frozen=True, eq=False)
class Overtaken(Scenario):
    """A newer version of a file is tracked after UpdateStatus has read the index, and before it marks the older one."""

    def play(self, lab: Lab) -> None:
        read = pending.pending_files
        key = f"a/{DAY}-0.ndjson"

        def and_overtaken(date_prefix: str, until: str | None = None) -> Iterator[PendingFile]:
            entries = list(read(date_prefix, until))
            if until and not any(version.version_id == "v3" for version in lab.seen.versions):
                lab.upload(key, 15 * MB, sequencer="03", version_id="v3", message_id=f"{key}#03")
                newer = FileVersion(
                    "message", INPUT_BUCKET, key, 15 * MB, "d41d8cd98f00b204e9800998ecf8427e", "v3", "03"
                )
                file_rows.track_file(date_prefix, newer)
            return iter(entries)

        with mock.patch.object(pending, "pending_files", and_overtaken):
            super().play(lab)


@dataclass(frozen=True)
class Control:
    """A broken clause, the double that breaks it, the run, and the invariant that must notice."""

    clause: str
    scenario: Scenario
    caught_by: Invariant
    double: Double = nullcontext
    edit_definition: Callable[[str], str] = str
    hits: tuple[Hit, ...] = ()
    skews: dict[str, timedelta] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.clause

    def run(self, broken: bool) -> set[str]:
        """Play the scenario. Returns the names of the invariants that do not hold afterwards."""
        edit_definition, double = (self.edit_definition, self.double) if broken else (str, nullcontext)
        lab = AimedLab(
            environment=self.scenario.environment,
            edit_definition=edit_definition,
            hits=self.hits,
            skews=self.skews,
            rival=sweep.rival,
        )
        with lab, double():
            self.scenario.play(lab)
            assert len({fault.call for fault in lab.reached}) == len(self.hits), "a fault was not reached"
            return {violation.partition(":")[0] for violation in violations(lab)}


# Parts of doubles


def both(one: Double, other: Double) -> Double:
    @contextmanager
    def doubles() -> Iterator[None]:
        with one(), other():
            yield

    return doubles


def deliver_a_file(lab: Lab) -> None:
    arrive(lab, 1, folder="b")
    lab.deliver_all()


def put_in_any_case(item: dict[str, Any], known: object, compared: object) -> None:
    aws.dynamodb().put_item(TableName=TRACKING_TABLE, Item=table.to_dynamodb(item))


def without_rows_apart(arrive: Callable[..., Change]) -> Callable[..., Change]:
    """The row of the newest version takes the place of the older one's."""

    def forgetting(row: FileRow | None, *arguments: Any) -> Change:
        change = arrive(row, *arguments)
        return replace(change, apart=None)

    return forgetting


def with_all_versions(next_batch: Callable[..., Batch]) -> Callable[..., Batch]:
    """Versions of one file count as files of different paths."""

    def unaware(waiting: Iterable[PendingFile], *arguments: Any, **options: Any) -> Batch:
        known: dict[str, PendingFile] = {}

        def renamed() -> Iterator[PendingFile]:
            for file in waiting:
                known[file.file_name] = file
                yield replace(file, file_path=file.file_name)

        batch = next_batch(renamed(), *arguments, **options)
        return replace(batch, files=[known[file.file_name] for file in batch.files])

    return unaware


@contextmanager
def changed_requests(client: Any, operation: str, change: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Changes the requests of the functions to an operation."""

    def handle(params: dict[str, Any], **_: Any) -> None:
        change(params)

    name = f"provide-client-params.{client.meta.service_model.service_id.hyphenize()}.{operation}"
    client.meta.events.register(name, handle)
    try:
        yield
    finally:
        client.meta.events.unregister(name, handle)


def rewritten(operation: str, old: str, new: str) -> Double:
    """One clause of the conditions of a DynamoDB operation replaced."""

    def rewrite(params: dict[str, Any]) -> None:
        for request in [params, *(action for item in params.get("TransactItems", []) for action in item.values())]:
            if "ConditionExpression" in request:
                request["ConditionExpression"] = request["ConditionExpression"].replace(old, new)

    return lambda: changed_requests(aws.dynamodb(), operation, rewrite)


def always(operation: str, clause: str) -> Double:
    """The clause always holds. (DynamoDB refuses a placeholder that no expression uses, so the clause stays in the
    text.)"""
    return rewritten(operation, clause, f"({clause} OR attribute_not_exists(no_such_attribute))")


def never(operation: str, clause: str) -> Double:
    return rewritten(operation, clause, f"({clause} AND attribute_exists(no_such_attribute))")


def replaced(target: Any, attribute: str, substitute: Any) -> Double:
    return lambda: mock.patch.object(target, attribute, substitute, create=True)


def edited(old: str, new: str) -> Callable[[str], str]:
    """The definition with one text replaced."""

    def edit(text: str) -> str:
        assert text.count(old) == 1, old
        return text.replace(old, new)

    return edit


def edited_state(state: str, **fields: Any) -> Callable[[str], str]:
    """The definition with fields of one state replaced. Lists are extended instead."""

    def edit(text: str) -> str:
        definition = json.loads(text)
        found = all_states(definition)[state]
        for name, value in fields.items():
            found[name] = found[name] + value if isinstance(value, list) else value
        return json.dumps(definition)

    return edit


# Doubles


@contextmanager
def no_check_if_every_file_was_a_duplicate() -> Iterator[None]:
    outcomes: dict[tuple[str, str], set[str]] = defaultdict(set)
    track, check = track_file.handler, check_threshold.handler

    def track_and_remember(event: Event, context: object) -> Event:
        result = track(event, context)
        outcomes[event["run_id"], event["date_prefix"]].add(result["outcome"])
        return result

    def check_if_anything_is_new(event: Event, context: object) -> Event:
        if outcomes[event["run_id"], event["date_prefix"]] == {"duplicate"}:
            return {"build": False, "reason": "below", "batch_index": 0, "jobs_waiting": 0}
        return check(event, context)

    with (
        mock.patch.object(track_file, "handler", track_and_remember),
        mock.patch.object(check_threshold, "handler", check_if_anything_is_new),
    ):
        yield


def plan_of_files_only(*args: Any, **kwargs: Any) -> Plan:
    return replace(planning.plan(*args, **kwargs), manifest=None)


def plan_that_cuts_first(*args: Any, **kwargs: Any) -> Plan:
    with mock.patch.object(planning, "open_manifests", return_value=[]):
        cutting = planning.plan(*args, **kwargs)
    return cutting if cutting.batch.files else planning.plan(*args, **kwargs)


def least_of_the_chosen(*values: Any) -> Any:
    """`max`, but `min` for the pending_since of the chosen files."""
    return min(*values) if len(values) == 1 else max(*values)


def objects_may_be_overwritten() -> AbstractContextManager[Any]:
    def overwrite(params: dict[str, Any]) -> None:
        del params["IfNoneMatch"]

    return changed_requests(aws.s3(), "PutObject", overwrite)


@contextmanager
def token_of_the_run() -> Iterator[None]:
    handler = acquire_lock.handler

    def acquire(event: Event, context: object) -> Event:
        with mock.patch.object(uuid, "uuid4", return_value=SimpleNamespace(hex=event["run_id"])):
            return handler(event, context)

    with mock.patch.object(acquire_lock, "handler", acquire):
        yield


def nothing_is_released_without_a_token() -> AbstractContextManager[Any]:
    release = locks.release
    return mock.patch.object(
        locks, "release", lambda date, run_id, token: token is not None and release(date, run_id, token)
    )


def removal_only_recorded(remove: Callable[..., Change]) -> Callable[..., Change]:
    def record(row: FileRow | None, *of_removal: Any) -> Change:
        change = remove(row, *of_removal)
        if change.row and row and row.status == "pending":
            still_pending = replace(change.row, status="pending", pending_since=row.pending_since)
            return replace(change, row=still_pending)
        return change

    return record


def released_counts_as_new(relation_of: Callable[..., str | None]) -> Callable[..., str | None]:
    def relation(file: FileVersion, row: FileRow, *of_version: Any) -> str | None:
        return None if row.released else relation_of(file, row, *of_version)

    return relation


def by_the_clocks_of_functions() -> AbstractContextManager[Any]:
    return mock.patch.object(clock, "machine_time", side_effect=lambda event: clock.now())


@contextmanager
def every_manifest_without_object_is_void() -> Iterator[None]:
    def retire(manifest: Event, at: datetime) -> None:
        key = (manifest["record"]["date_prefix"], manifest["record"]["file_name"])
        vanished.void(*key, manifest["cut"], update_status.GONE, at)
        update_status.give_files_back(manifest)

    anyway = always("UpdateItem", "attribute_not_exists(start_attempted_at) AND attribute_not_exists(starter)")
    with mock.patch.object(update_status, "retire", retire), anyway():
        yield


def void_manifests_are_forgotten() -> AbstractContextManager[Any]:
    open_manifests = manifest_records.open_manifests
    return mock.patch.object(
        planning,
        "open_manifests",
        lambda date: [manifest for manifest in open_manifests(date) if manifest.status != "void"],
    )


@contextmanager
def glues_retry_is_overlooked() -> Iterator[None]:
    with (
        mock.patch.object(job_runs, "glues_own_retry", return_value=None),
        mock.patch.object(job_runs, "is_retry_due", return_value=False),
    ):
        yield


def without_waiting_for_the_record(text: str) -> str:
    definition = json.loads(text)
    state = all_states(definition)["RecordOutcome"]
    kept = [retrier for retrier in state["Retry"] if "RunNotRecorded" not in retrier["ErrorEquals"]]
    assert len(kept) == len(state["Retry"]) - 1
    state["Retry"] = kept
    return json.dumps(definition)


def parts_are_sent_once_and_forgotten() -> AbstractContextManager[Any]:
    put_back = queues.put_back_in_parts

    def forget(message: Message, parts: list[str]) -> list[Any]:
        put_back(message, parts)
        return []

    return mock.patch.object(queues, "put_back_in_parts", forget)


def told_after(event: str, owner: Any, recording: str) -> Double:
    """The state is recorded first, and the event sent after that."""

    @contextmanager
    def double() -> Iterator[None]:
        tell, record = getattr(event_bus, event), getattr(owner, recording)
        later: list[Callable[[], None]] = []

        def record_and_tell(*arguments: Any) -> Any:
            recorded = record(*arguments)
            while later:
                later.pop()()
            return recorded

        with (
            mock.patch.object(event_bus, event, lambda *facts, **more: later.append(lambda: tell(*facts, **more))),
            mock.patch.object(owner, recording, record_and_tell),
        ):
            yield

    return double


@contextmanager
def refusals_of_events_are_overlooked() -> Iterator[None]:
    def overlook(parsed: dict[str, Any], **_: Any) -> None:
        parsed["FailedEntryCount"] = 0

    client = aws.events()
    client.meta.events.register("after-call.eventbridge.PutEvents", overlook)
    try:
        yield
    finally:
        client.meta.events.unregister("after-call.eventbridge.PutEvents", overlook)


# Schedules


STUCK = ("2025-11-01", "2025-11-02")


def prepare_stuck_dates(lab: Lab) -> None:
    """Two manifests that nobody can finish for the time being, and a file of another day that waits for a day."""

    def fails_for_them(function: Function, event: Event) -> Any:
        if event["date_prefix"] in STUCK:
            raise RuntimeError("the key of this date's files is disabled")
        return function(event, None)

    lab.around["UpdateStatus"] = fails_for_them
    for day in STUCK:
        arrive(lab, 2, day)
    lab.later += timedelta(hours=1)
    arrive(lab, 1)
    lab.deliver_all()
    lab.later += timedelta(hours=25)


def sweep_past_stuck_dates(lab: Lab) -> None:
    """Four sweeps that take two dates each; then the two dates can be finished."""
    with mock.patch.object(turns, "DATES_PER_SWEEP", 2), mock.patch.object(turns, "TRIED_PER_SWEEP", 1):
        for _ in range(4):
            lab.sweep()
            lab.later += timedelta(minutes=15)
    lab.seen.starved += [row["date_prefix"] for row in lab.files().values() if row["status"] == "pending"]
    lab.seen.starved = [day for day in lab.seen.starved if day not in STUCK]
    del lab.around["UpdateStatus"]


def tell_before_it_is_recorded(lab: Lab) -> None:
    """RecordJobRun takes effect between two attempts of RecordOutcome."""
    (run,) = lab.starts

    def recorded_meanwhile(function: Function, event: Event) -> Any:
        try:
            return function(event, None)
        except RunNotRecorded:
            (record,) = lab.manifest_records()
            named = record | {"status": "started", "job_run_id": run}
            lab.dynamodb.put_item(TableName=TRACKING_TABLE, Item=table.to_dynamodb(named))
            raise

    lab.around["RecordOutcome"] = recorded_meanwhile
    lab.tell_of_run(run)
    del lab.around["RecordOutcome"]


def sweep_twice(lab: Lab) -> None:
    lab.sweep()
    lab.later += timedelta(minutes=15)
    lab.sweep()


def prepare_vanished_run(lab: Lab) -> None:
    """The object of a started manifest is deleted; the answer to the start was lost."""
    prepare_lost_start(lab)
    delete_manifest_objects(lab)


def vanish_before_a_late_mark(lab: Lab) -> None:
    lab.deliver_all()
    delete_manifest_objects(lab)
    arrive(lab, 1, folder="later")

    def after_the_late_mark(function: Function, event: Event) -> Any:
        if any(record["status"] == "void" for record in lab.manifest_records()):
            lab.land_zombies()
        return function(event, None)

    lab.around["UpdateStatus"] = after_the_late_mark
    lab.later += SETTLED
    lab.deliver_all()
    del lab.around["UpdateStatus"]


def prepare_ended_lost_start(lab: Lab) -> None:
    prepare_lost_start(lab)
    (run,) = lab.starts
    lab.end_run(run)


def prepare_lost_start_by_a_slow_clock(lab: Lab) -> None:
    prepare_lost_start(lab)
    (run,) = lab.starts
    lab.starts[run] -= timedelta(minutes=4)


def sweep_once(lab: Lab) -> None:
    lab.sweep()


def answer_lost(start: Callable[[], str]) -> str:
    start()
    raise GlueClientError("InternalServiceException", "nobody knows")


def busy(start: Callable[[], str]) -> str:
    raise ConcurrentRunsExceededException("busy")


def dies(function: Function, event: Event) -> None:
    raise RuntimeError("the function died")


def against(rival: Callable[[Lab], None], prepare: Callable[[Lab], None] = prepare_one_date) -> Callable[[Lab], None]:
    """A beginning after which a rival of its own is ready."""

    def prepare_both(lab: Lab) -> None:
        prepare(lab)
        lab.rival = rival

    return prepare_both


def same_end(lab: Lab) -> None:
    for job_run_id in lab.ends:
        lab.tell_of_run(job_run_id)


def rival_then_a_third_holder(lab: Lab) -> None:
    sweep.rival(lab)
    assert locks.acquire(DAY, "somebody else", "its token", clock.now())


def rival_whose_start_is_lost(lab: Lab) -> None:
    arrive(lab, 1, folder="rival")
    lab.start_job_run = answer_lost
    lab.deliver_all()
    lab.start_job_run = None


def same_sweep_whose_start_is_lost(lab: Lab) -> None:
    lab.start_job_run = answer_lost
    lab.execute({"sweep": True})
    lab.start_job_run = None


def two_files_while_the_lock_is_held(lab: Lab) -> None:
    arrive(lab, 2, folder="held")
    lab.deliver_all()


def dies_while_marking(lab: Lab) -> None:
    """The first run dies after its commit."""
    lab.around["UpdateStatus"] = dies
    lab.deliver_all()
    del lab.around["UpdateStatus"]


def late_acquire_then_late_commit(lab: Lab) -> None:
    """A run is given up with its AcquireLock and its commit still under way; both land after the next run."""
    late: list[Callable[[], Any]] = []

    def given_up(function: Function, event: Event) -> Any:
        del lab.around["AcquireLock"]
        late.append(lambda: function(event, None))
        raise type("Lambda.SdkClientException", (Exception,), {})

    lab.around["AcquireLock"] = given_up
    lab.deliver_all()
    with lab.armed(False):
        lab.later += SETTLED
        lab.deliver_all()
        late.pop()()
        lab.land_zombies()


def late_commit_before_release(lab: Lab) -> None:
    def land_then_release(function: Function, event: Event) -> Any:
        lab.land_zombies()
        return function(event, None)

    lab.around["ReleaseLock"] = land_then_release
    lab.deliver_all()


def overtaken_by_its_retry(lab: Lab) -> None:
    """CreateManifest is invoked again while its first invocation is still about to commit."""
    events: list[Event] = []

    def remember(function: Function, event: Event) -> Any:
        events.append(event)
        return function(event, None)

    def invoke_again(lab: Lab) -> None:
        create_manifest.handler(events[-1], None)

    lab.around["CreateManifest"] = remember
    lab.rival = invoke_again
    lab.deliver_all()


def two_cuts_in_one_microsecond(lab: Lab) -> None:
    """The clocks of two runs read the same when they name their objects."""
    object_key, moments = manifests.object_key, [lab.now()] * 2

    def key_of_that_moment(date_prefix: str, batch_index: int, at: datetime) -> str:
        return object_key(date_prefix, batch_index, moments.pop() if moments else at)

    with mock.patch.object(manifests, "object_key", key_of_that_moment):
        lab.deliver_all()
        arrive(lab, 2, folder="b")
        lab.deliver_all()


def upload_again(lab: Lab) -> None:
    """All goes well, then the first file comes again."""
    lab.deliver_all()
    lab.arrive(f"a/{DAY}-0.ndjson", 15 * MB, "02")
    lab.deliver_all()


def upload_again_by_a_slow_clock(lab: Lab) -> None:
    lab.deliver_all()
    lab.arrive(f"a/{DAY}-0.ndjson", 15 * MB, "02")
    with lab.skewed(-timedelta(minutes=4)):
        lab.deliver_all()


def send_again(lab: Lab) -> None:
    """Every message is delivered twice, the second time when all is done."""
    messages = [lab.arrive(f"a/{DAY}-{number}.ndjson", 15 * MB) for number in range(2)]
    lab.deliver_all()
    for message in messages:
        lab.queue.send(message, lab.now())
    lab.deliver_all()


def given_up_start_lands_after_ten_seconds(lab: Lab) -> None:
    """And a file arrives in between."""
    late: list[Callable[[], str]] = []

    def given_up(start: Callable[[], str]) -> str:
        late.append(start)
        raise GlueClientError("InternalServiceException", "nobody knows")

    lab.start_job_run = given_up
    lab.deliver_all()
    lab.start_job_run = None
    lab.later += timedelta(seconds=10)
    arrive(lab, 1, folder="later")
    lab.deliver_all()
    late.pop()()


def prepare_two_batches(lab: Lab) -> None:
    arrive(lab, 4)


ONE_DATE_UNSWEPT = Unswept("one date, no sweep", deliver, prepare_one_date)
EXACTLY_ONE_COMMIT = "the record's sort key holds the lock's token and is put only if absent"
CLAIM = "the start is claimed only if never attempted, ours, or the stale attempt that was looked into"

CONTROLS = [
    Control(
        "CheckThreshold runs even if every file was a duplicate",
        Unswept("a run dies after its commit, no sweep", dies_while_marking, prepare_one_date),
        invariants.every_manifest_starts_its_job,
        double=no_check_if_every_file_was_a_duplicate,
    ),
    Control(
        "a resumable manifest is reason enough to build",
        Scenario("a run dies after its commit", dies_while_marking, prepare_one_date),
        invariants.every_manifest_starts_its_job,
        double=replaced(check_threshold, "plan", plan_of_files_only),
    ),
    Control(
        "AcquireLock writes a fresh token each time",
        Scenario("two calls of a run land after the next run", late_acquire_then_late_commit, prepare_one_date),
        invariants.a_file_is_named_once_for_each_of_its_versions_at_most,
        double=token_of_the_run,
        hits=(Hit("TransactWriteItems", Kind.ZOMBIE_AT_THE_END, lasting=True),),
    ),
    Control(
        "AcquireLock takes what is its own run's already",
        ONE_DATE_UNSWEPT,
        invariants.the_latest_version_of_each_file_is_in_one_manifest_or_waits_for_a_reason,
        double=never("PutItem", "lock_id = :lock_id"),
        hits=(Hit("PutItem", Kind.LOST, nth=2),),
    ),
    Control(
        "an expired lock is taken over, whether or not TTL has deleted it",
        SMALLEST,
        invariants.the_latest_version_of_each_file_is_in_one_manifest_or_waits_for_a_reason,
        double=never("PutItem", "#ttl < :now"),
        hits=(Hit("CreateManifest", Kind.ABORTED),),
    ),
    Control(
        "CreateManifest resumes an open manifest before it cuts another",
        Scenario("a run dies after its commit", dies_while_marking, prepare_one_date),
        invariants.a_file_is_named_once_for_each_of_its_versions_at_most,
        double=replaced(create_manifest, "plan", plan_that_cuts_first),
    ),
    Control(
        "the cut is the greatest pending_since among the chosen",
        SMALLEST,
        invariants.a_file_is_named_once_for_each_of_its_versions_at_most,
        double=replaced(create_manifest, "max", least_of_the_chosen),
    ),
    Control(
        "no manifest object is overwritten",
        Scenario("two cuts in one microsecond", two_cuts_in_one_microsecond, prepare_one_date),
        invariants.no_committed_object_is_overwritten,
        double=objects_may_be_overwritten,
    ),
    Control(
        "a commit needs the lock's token (fencing)",
        Scenario("one date, a rival and a third run", deliver, against(rival_then_a_third_holder)),
        invariants.a_file_is_named_once_for_each_of_its_versions_at_most,
        double=always("TransactWriteItems", "#token = :token"),
        hits=(Hit("TransactWriteItems", Kind.PREEMPTED_PAST_LEASE),),
    ),
    Control(
        "the record is put only if absent",
        Scenario("a late commit lands before the release", late_commit_before_release, prepare_one_date),
        invariants.states_only_move_forward,
        double=always("TransactWriteItems", "attribute_not_exists(date_prefix)"),
        hits=(Hit("TransactWriteItems", Kind.ZOMBIE_AT_THE_END),),
    ),
    Control(
        "the record's sort key is the token's: one commit per token",
        Scenario("CreateManifest is overtaken by its retry", overtaken_by_its_retry, prepare_one_date),
        invariants.a_file_is_named_once_for_each_of_its_versions_at_most,
        double=replaced(manifests, "record_name", lambda batch_index, token: f"batch-{batch_index}-{uuid.uuid4()}"),
        hits=(Hit("TransactWriteItems", Kind.PREEMPTED),),
    ),
    Control(
        "only rows that are pending since before the cut are marked",
        Scenario("a file comes again after the start", upload_again, prepare_one_date),
        invariants.each_marked_version_was_there_when_its_job_started,
        double=always("UpdateItem", "pending_since <= :cut"),
        hits=(Hit("UpdateItem", Kind.ZOMBIE_AT_THE_END),),
    ),
    Control(
        "a re-upload is pending since after the cut, whatever its clock says",
        Scenario("a file comes again, by a slow clock", upload_again_by_a_slow_clock, prepare_one_date),
        invariants.each_marked_version_was_there_when_its_job_started,
        double=replaced(clock, "microsecond_after", lambda text: ""),
        hits=(Hit("UpdateItem", Kind.ZOMBIE_AT_THE_END),),
    ),
    Control(
        "the start is claimed only if nobody has attempted it",
        Scenario("a rival claims first and loses its answer", deliver, against(rival_whose_start_is_lost)),
        invariants.no_manifest_starts_a_second_run,
        double=always("UpdateItem", "attribute_not_exists(start_attempted_at)"),
        hits=(Hit("UpdateStatus", Kind.PREEMPTED_PAST_LEASE),),
    ),
    Control(
        "or if the attempt is the one that CreateManifest looked into",
        Scenario(
            "a rival resumes first and loses its answer",
            deliver,
            against(rival_whose_start_is_lost, prepare_given_up_start),
        ),
        invariants.no_manifest_starts_a_second_run,
        double=always("UpdateItem", "(starter = :stale_starter AND start_attempted_at = :stale_attempted_at)"),
        hits=(Hit("UpdateStatus", Kind.PREEMPTED_PAST_LEASE),),
    ),
    Control(
        "or if the attempt is our own",
        ONE_DATE_UNSWEPT,
        invariants.every_manifest_starts_its_job,
        double=never("UpdateItem", "starter = :run_id"),
        hits=(Hit("UpdateItem", Kind.LOST, nth=2),),
    ),
    Control(
        "an attempted manifest is resumable only after a while",
        Scenario("a given-up start lands after ten seconds", given_up_start_lands_after_ten_seconds, prepare_one_date),
        invariants.no_manifest_starts_a_second_run,
        double=replaced(manifests, "START_SETTLE_SECONDS", 0),
    ),
    Control(
        "the age of an attempt is measured by the clock of the state machine",
        Scenario("a given-up start lands after ten seconds", given_up_start_lands_after_ten_seconds, prepare_one_date),
        invariants.no_manifest_starts_a_second_run,
        double=by_the_clocks_of_functions,
        skews={"UpdateStatus": -SKEW},
    ),
    Control(
        "and so is the time that is left to an execution",
        SMALLEST,
        invariants.the_latest_version_of_each_file_is_in_one_manifest_or_waits_for_a_reason,
        double=by_the_clocks_of_functions,
        skews={"CheckThreshold": SKEW},
    ),
    Control(
        "and so is a lease",
        SMALLEST,
        invariants.the_latest_version_of_each_file_is_in_one_manifest_or_waits_for_a_reason,
        double=by_the_clocks_of_functions,
        skews={"CreateManifest": SKEW + timedelta(seconds=1)},
    ),
    Control(
        "the search for a run allows for Glue's clock",
        Scenario(
            "a lost start, by a clock of Glue that is 4 minutes behind", deliver, prepare_lost_start_by_a_slow_clock
        ),
        invariants.no_manifest_starts_a_second_run,
        double=replaced(job_runs, "CLOCK_SKEW", timedelta(0)),
    ),
    Control(
        "CreateManifest looks for the run of an earlier attempt",
        Scenario("a start whose answer was lost is found", deliver, prepare_lost_start),
        invariants.no_manifest_starts_a_second_run,
        double=replaced(create_manifest, "find_job_run", lambda manifest: None),
    ),
    Control(
        "StartGlueJob is not retried where its answer was lost",
        SMALLEST,
        invariants.no_manifest_starts_a_second_run,
        edit_definition=edited_state(
            "StartGlueJob", Retry=[{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 1}]
        ),
        hits=(Hit("StartJobRun", Kind.LOST),),
    ),
    Control(
        "RecordJobRun writes only while the manifest is open, or the run is the same",
        SMALLEST,
        invariants.a_record_names_one_run_for_ever,
        edit_definition=edited("(#status = :open AND", "((#status = :open OR attribute_exists(#status)) AND"),
        hits=(Hit("StartJobRun", Kind.PREEMPTED_PAST_LEASE),),
    ),
    Control(
        "a lock is released by its token",
        Scenario("one date, a rival and a third run", deliver, against(rival_then_a_third_holder)),
        invariants.a_lock_is_given_up_by_its_holder_only,
        double=always("DeleteItem", "#holder = :holder"),
        hits=(Hit("DeleteItem", Kind.PREEMPTED_PAST_LEASE),),
    ),
    Control(
        "or by its run, where AcquireLock's answer was lost",
        ONE_DATE_UNSWEPT,
        invariants.the_latest_version_of_each_file_is_in_one_manifest_or_waits_for_a_reason,
        double=nothing_is_released_without_a_token,
        hits=(Hit("AcquireLock", Kind.LOST, lasting=True),),
    ),
    Control(
        "where a lock was left, the messages come back after its lease",
        Unswept("two batches, no sweep", deliver, prepare_two_batches),
        invariants.the_latest_version_of_each_file_is_in_one_manifest_or_waits_for_a_reason,
        double=replaced(start_workflow, "LOCK_NOT_RELEASED", "no such error"),
        hits=(Hit("ReleaseLock", Kind.FAILS, lasting=True),),
    ),
    Control(
        "a manifest whose start was claimed is never void",
        Scenario(
            "a started manifest's object is deleted, Glue does not know its run yet",
            deliver_and_fill,
            prepare_vanished_run,
        ),
        invariants.every_manifest_starts_its_job,
        double=every_manifest_without_object_is_void,
        hits=(Hit("GetJobRuns", Kind.LATE_RUNS, lasting=True),),
    ),
    Control(
        "files that a void manifest has not marked are pending beyond its cut",
        Scenario(
            "a mark of a void manifest lands while the next one is built", vanish_before_a_late_mark, prepare_one_date
        ),
        invariants.the_latest_version_of_each_file_is_in_one_manifest_or_waits_for_a_reason,
        double=replaced(vanished, "_stay_pending", lambda *of_row: None),
        hits=(Hit("UpdateItem", Kind.ZOMBIE_AT_THE_END, lasting=True),),
    ),
    Control(
        "nothing is cut before a void manifest has given back all of its files",
        VANISHED,
        invariants.the_latest_version_of_each_file_is_in_one_manifest_or_waits_for_a_reason,
        double=void_manifests_are_forgotten,
        hits=(Hit("UpdateItem", Kind.KILLED_BEFORE, nth=2),),
    ),
    Control(
        "a file is given back by the void manifest that has marked it",
        VANISHED,
        invariants.states_only_move_forward,
        double=always("UpdateItem", "manifest_path = :path"),
        hits=(Hit("UpdateItem", Kind.ZOMBIE_AT_THE_END, nth=2, lasting=True),),
    ),
    Control(
        "a divided message is acknowledged only after its parts were sent",
        LARGE,
        invariants.the_latest_version_of_each_file_is_in_one_manifest_or_waits_for_a_reason,
        double=parts_are_sent_once_and_forgotten,
        hits=(Hit("SendMessage", Kind.FAILS, nth=1, lasting=True),),
    ),
    Control(
        "a run that was found after a lost start is asked about at the next sweep",
        Scenario("a lost start whose run has ended, and two sweeps", sweep_twice, prepare_ended_lost_start),
        invariants.the_end_of_every_run_is_recorded,
        double=replaced(create_manifest, "LONG_AGO", "2999-12-31T00:00:00.000000Z"),
    ),
    Control(
        "the run that Glue itself starts after a failure is the run of the manifest",
        RETRIED,
        invariants.no_manifest_starts_a_second_run,
        double=glues_retry_is_overlooked,
    ),
    Control(
        "RecordOutcome waits for a record that does not name the run yet",
        Scenario("the end of a run is told before RecordJobRun", tell_before_it_is_recorded, prepare_ended_lost_start),
        invariants.the_end_of_every_run_is_recorded,
        edit_definition=without_waiting_for_the_record,
    ),
    Control(
        "every stalled date has its turn, whatever others do",
        Scenario("two dates that cannot be finished, and an overdue one", sweep_past_stuck_dates, prepare_stuck_dates),
        invariants.no_date_waits_behind_others,
        double=replaced(find_stalled_dates, "choose", lambda stalled, *_: sorted(stalled, key=stalled.get)[:2]),
    ),
    Control(
        "a message is received until the outage is over",
        Outlasted("a table that is out for twelve hours", deliver, prepare_one_date),
        invariants.every_input_is_accounted_for,
        double=replaced(queue, "MAX_RECEIVES", 5),
    ),
    Control(
        "no failed message comes back later than half an hour after an outage",
        Outlasted("a table that is out for twelve hours", deliver, prepare_one_date),
        invariants.every_input_is_accounted_for,
        double=replaced(redelivery, "LONGEST_DELAY_SECONDS", 43_200),
    ),
    Control(
        "a message that meets an outage is not taken for one that fails by itself",
        Outlasted(
            "functions are out for a day", deliver, prepare_one_date, outage=Outage("lambda", Kind.THROTTLED, 1_440)
        ),
        invariants.every_input_is_accounted_for,
        double=replaced(redelivery, "is_of_the_messages", lambda error: error != "ManifestFailed"),
    ),
    Control(
        "a run has an id of its own, not its execution's name",
        Scenario("a sweep is restarted", sweep_once, against(same_sweep_whose_start_is_lost, prepare_open_manifest)),
        invariants.no_manifest_starts_a_second_run,
        double=replaced(find_stalled_dates, "uuid", SimpleNamespace(uuid4=lambda: "the execution's name")),
        hits=(Hit("UpdateItem", Kind.PREEMPTED, nth=2),),
    ),
    Control(
        "after the release comes another check: no wake-up is lost",
        Unswept("files arrive while the lock is held, no sweep", deliver, against(two_files_while_the_lock_is_held)),
        invariants.the_latest_version_of_each_file_is_in_one_manifest_or_waits_for_a_reason,
        edit_definition=edited_state("DidBuildFail", Default="DateDone"),
        hits=(Hit("TransactWriteItems", Kind.PREEMPTED),),
    ),
    Control(
        "after the release comes another check: a backlog is worked off",
        Scenario("a backlog of several manifests", deliver, prepare_backlog),
        invariants.the_latest_version_of_each_file_is_in_one_manifest_or_waits_for_a_reason,
        edit_definition=edited_state("DidBuildFail", Default="DateDone"),
    ),
    Control(
        "the run of a failed attempt is not taken for that of the next",
        Scenario(
            "a run fails, and the next start is given up", tell_of_the_run, prepare_failed_run, ASKED_AT_EVERY_SWEEP
        ),
        invariants.every_manifest_starts_its_job,
        double=replaced(job_runs, "failed_runs", lambda date_prefix, record_name: []),
        hits=(Hit("StartJobRun", Kind.FAILS, lasting=True),),
    ),
    Control(
        "the end of a run is recorded only where the record names the run",
        Scenario(
            "the end of a run is told twice",
            tell_of_the_run,
            against(same_end, prepare_failed_run),
            ASKED_AT_EVERY_SWEEP,
        ),
        invariants.a_record_names_one_run_for_ever,
        double=always("UpdateItem", "job_run_id = :run"),
        hits=(Hit("UpdateItem", Kind.PREEMPTED),),
    ),
    Control(
        "the sweep asks about runs whose events may be lost",
        Scenario("the ends of two runs were never told", sweep_once, prepare_untold_runs, ASKED_AT_EVERY_SWEEP),
        invariants.the_end_of_every_run_is_recorded,
        double=replaced(find_stalled_dates, "overdue_runs", lambda backlogs, now: []),
    ),
    Control(
        "a run that Glue does not know is asked about again",
        Scenario("the ends of two runs were never told", sweep_once, prepare_untold_runs, ASKED_AT_EVERY_SWEEP),
        invariants.the_end_of_every_run_is_recorded,
        double=replaced(record_outcome, "is_asked_again", lambda manifest: False),
        hits=(Hit("GetJobRun", Kind.LATE_RUNS, lasting=True), Hit("GetJobRun", Kind.LATE_RUNS, nth=1, lasting=True)),
    ),
    Control(
        "a pending file that is deleted is pending no more",
        REMOVALS,
        invariants.what_was_removed_before_the_cut_is_in_no_manifest,
        double=replaced(removals, "remove", removal_only_recorded(removals.remove)),
    ),
    Control(
        "the deletion of a file that nothing is known of leaves a row",
        REMOVALS,
        invariants.every_input_is_accounted_for,
        double=replaced(removals, "is_worth_a_row", lambda removal: False),
    ),
    Control(
        "a released file is tracked only if it is still there",
        RELEASE,
        invariants.every_input_is_accounted_for,
        double=replaced(versions, "relation_of", released_counts_as_new(versions.relation_of)),
    ),
    Control(
        "whether rows have expired is not judged by today's setting",
        NAMESAKE,
        invariants.a_file_is_named_once_for_each_of_its_versions_at_most,
        double=replaced(retention, "may_have_forgotten", lambda: False),
    ),
    Control(
        "a file is tracked only if it is new",
        Scenario("every message comes twice", send_again),
        invariants.each_version_is_in_one_manifest_at_most,
        double=replaced(table, "put_if_unchanged", put_in_any_case),
    ),
    Control(
        "a version that is replaced by a newer one is kept",
        VERSIONS,
        invariants.every_version_is_named_by_one_manifest_or_waits,
        double=replaced(versions, "arrive", without_rows_apart(versions.arrive)),
    ),
    Control(
        "an older version whose event is late is tracked",
        VERSIONS,
        invariants.every_version_is_named_by_one_manifest_or_waits,
        double=replaced(versions, "is_late", lambda file, row: False),
    ),
    Control(
        "a row is marked only if the manifest names its version",
        VERSIONS,
        invariants.every_version_is_named_by_one_manifest_or_waits,
        double=replaced(NamedFile, "names", lambda self, file: file.file_path == self.file_path),
        hits=(Hit("TrackFile", Kind.CLOCK_BEHIND, nth=1),),
    ),
    Control(
        "a version whose row moves during the marking is marked",
        Overtaken("a newer version comes during the marking", deliver_a_file, prepare_versions),
        invariants.every_version_is_named_by_one_manifest_or_waits,
        double=both(
            replaced(marking, "present_names", lambda file: [file.file_name]),
            replaced(marking, "mark_others", lambda *_: marking.Marking([], 0)),
        ),
    ),
    Control(
        "older versions that wait are deleted with their file",
        DELETED_VERSIONS,
        invariants.what_was_removed_before_the_cut_is_in_no_manifest,
        double=replaced(file_rows, "_remove_older_versions", lambda row, removal: None),
    ),
    Control(
        "the end of a manifest is told before it is recorded",
        SUCCEEDED,
        invariants.whatever_is_recorded_has_been_told,
        double=told_after("manifest_ended", manifest_records, "record_outcome"),
        hits=(Hit("UpdateItem", Kind.KILLED_AFTER),),
    ),
    Control(
        "a refused file is told before it is recorded",
        Scenario("a file is refused", deliver, prepare_refused_file),
        invariants.whatever_is_recorded_has_been_told,
        double=told_after("file_quarantined", file_rows, "record_quarantine"),
        hits=(Hit("PutItem", Kind.KILLED_AFTER),),
    ),
    Control(
        "a flush is told before its manifest is committed",
        FLUSH,
        invariants.whatever_is_recorded_has_been_told,
        double=told_after("date_flushed", manifest_records, "commit"),
        hits=(Hit("TransactWriteItems", Kind.KILLED_AFTER),),
    ),
    Control(
        "nothing is recorded whose event EventBridge has not taken",
        SUCCEEDED,
        invariants.whatever_is_recorded_has_been_told,
        double=refusals_of_events_are_overlooked,
        hits=(Hit("PutEvents", Kind.THROTTLED, lasting=True),),
    ),
    Control(
        "an event that is sent again has the same id",
        SUCCEEDED,
        invariants.an_event_has_the_same_id_each_time,
        double=replaced(
            event_bus, "uuid", SimpleNamespace(uuid5=lambda namespace, name: uuid.uuid4(), NAMESPACE_URL=None)
        ),
        hits=(Hit("UpdateItem", Kind.KILLED_BEFORE),),
    ),
    Control(
        "a manifest names one version of a file",
        VERSIONS,
        invariants.a_manifest_names_what_the_table_says,
        double=replaced(planning, "next_batch", with_all_versions(batching.next_batch)),
    ),
    Control(
        "the audit looks into the bucket, and does not trust the table",
        LOST_EVENTS,
        invariants.the_latest_version_of_each_file_is_in_one_manifest_or_waits_for_a_reason,
        double=replaced(dates._Audit, "judge_objects", lambda audit, objects: None),
    ),
]

UNREACHABLE = {
    "CreateManifest returns the oldest of the resumable manifests": (
        "the order is fairness: every one of them is resumed in its turn, whichever comes first"
    ),
    "a commit needs a lease that is not over": (
        "the token covers it: whoever takes an expired lock writes another token into the item that the commit checks"
    ),
    "only rows still pending are marked": (
        "the cut covers it: a row that is marked or quarantined has no pending_since, which fails the comparison"
    ),
    "the cut is not later than the greatest pending_since among the chosen": (
        "marked is the version that the manifest names; without versions, one that comes before the marking is there "
        "before the start, so the job reads it; one that comes after "
        "the marking is pending since after the cut, however late that is"
    ),
}
"""Clauses whose absence no run can notice, and why. They stay: they cost nothing and state the intention."""
