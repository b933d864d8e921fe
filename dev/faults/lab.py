"""The account under faults: each AWS call passes through here, is numbered, and may suffer a planned fault."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, Self, cast
from unittest import mock

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from moto.core.botocore_stubber import BotocoreStubber
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.glue.models import glue_backends
from moto.s3.models import FakeKey, s3_backends

import audit_files
import find_stalled_dates
import start_workflow
from dev.engines.lambda_endpoint import Invocation
from dev.faults.calls import PREEMPTIONS, READS, SKEWS, ZOMBIES, Call, Fault, Killed, Kind, Source, TimedOut
from dev.faults.queue import Queue
from dev.simulator import wire
from dev.simulator.context import AT_ITS_BEGINNING, WHOLE_AUDIT
from dev.simulator.world import (
    ACCOUNT,
    BEGINNING,
    ETAG,
    GLUE_JOB,
    INPUT_BUCKET,
    MANIFEST_BUCKET,
    NOT_FILES,
    REGION,
    TICK,
    TRACKING_TABLE,
    Execution,
    World,
)
from manifest_builder import documents, event_bus, manifests, queues, redelivery
from manifest_builder.auditing import dates
from manifest_builder.documents import NamedFile
from manifest_builder.settings import settings
from manifest_builder.tracking import marking, table

SUBJECTS = {
    event_bus.MANIFEST_STATUS_CHANGE: ("manifestPath", "attempt", "status"),
    event_bus.FILE_QUARANTINED: ("bucket", "key", "versionId", "etag", "sequencer", "reason"),
    event_bus.DATE_FLUSHED: ("date", "cut"),
}
"""By type of event: the fields that say what it is about."""
NOT_COUNTED = -1
INVOCATION_ERRORS = {
    Kind.FAILS: "Lambda.ServiceException",
    Kind.LOST: "Lambda.SdkClientException",
    Kind.THROTTLED: "Lambda.TooManyRequestsException",
    Kind.KILLED_BEFORE: "Lambda.Unknown",
    Kind.KILLED_AFTER: "Lambda.Unknown",
    Kind.TIMES_OUT: "States.Timeout",
    Kind.ABORTED: "Lambda.Aborted",
}
"""The error that the interpreter gets if a fault strikes the invocation of a function."""
LEASE = timedelta(seconds=301)
START_SETTLES = timedelta(seconds=manifests.START_SETTLE_SECONDS)
SWEEP_EVERY = timedelta(minutes=15)
REDELIVERIES = 5
"""Rounds of redelivery in which everything has to settle once faults have stopped."""


@dataclass(frozen=True)
class Version:
    """One version of a file, as uploaded. Sequencers order the versions of a key."""

    key: str
    size_bytes: int
    sequencer: str
    version_id: str | None = None
    """None in a bucket without versions."""

    @property
    def file_path(self) -> str:
        return f"s3://{INPUT_BUCKET}/{self.key}"


@dataclass
class Observations:
    """The true events, observed behind the services; nothing comes from the code under test."""

    versions: list[Version] = field(default_factory=list)
    removals: dict[str, str] = field(default_factory=dict)
    """By file_path: the sequencer of its last removal."""
    messages: list[dict[str, str]] = field(default_factory=list)
    """The event of each version and each removal, as it was sent first."""
    untold: set[tuple[str, str]] = field(default_factory=set)
    """By (file_path, sequencer): versions whose own event was lost. An event of the audit has no sequencer."""
    rows: dict[tuple[str, str], list[tuple[str, str | None]]] = field(default_factory=lambda: defaultdict(list))
    """By (file_path, sequencer): the (status, manifest_path) that the version's row went through. For a removal
    without a known version it is the removal's sequencer."""
    records: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By manifest path: the statuses that its record went through."""
    objects: dict[str, list[list[NamedFile]]] = field(default_factory=lambda: defaultdict(list))
    """By manifest path: the files that each successful put of its object named."""
    deleted_objects: set[str] = field(default_factory=set)
    excused_starts: Counter[str] = field(default_factory=Counter)
    """By manifest path: starts that DESIGN says may make a second run. They landed when their claim looked given up to
    some clock, or GetJobRuns was late to tell of the run."""
    runs: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By manifest path: how many of `versions` had been uploaded when each run of its job was started."""
    recorded_runs: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By manifest path: the job runs that its record has named."""
    told: dict[tuple[Any, ...], list[str]] = field(default_factory=lambda: defaultdict(list))
    """By type and SUBJECTS of an event: the different ids that it was sent with."""
    flushes: list[tuple[str, str]] = field(default_factory=list)
    """Date and cut of each manifest that an execution began with although its date had less than a batch."""
    starved: list[str] = field(default_factory=list)
    """Dates that a scenario found unfinished though they had time enough."""
    foreign_releases: list[str] = field(default_factory=list)
    """Locks that a call deleted although it named neither their token nor their run."""


@dataclass
class Outage:
    """A service that fails for some minutes, from its `after`th call on."""

    service: str
    how: Kind
    minutes: int
    after: int = 0
    ended_at: datetime | None = None
    """Known since it has begun."""

    def __str__(self) -> str:
        return f"{self.service} {self.how} for {self.minutes} minutes{' from its second call on' if self.after else ''}"

    def strikes(self, service: str, at: datetime) -> bool:
        """Whether this call, made at that moment, fails."""
        if service != self.service or (self.ended_at and not self.is_on(at)):
            return False
        if self.after:
            self.after -= 1
            return False
        self.ended_at = self.ended_at or at + timedelta(minutes=self.minutes)
        return True

    def is_on(self, at: datetime) -> bool:
        return self.ended_at is not None and at < self.ended_at


@dataclass
class _Running:
    """An execution under way."""

    started_at: str = ""
    aborted: bool = False
    last_invocation: tuple[str, str, int] | None = None
    update_entered_at: datetime = BEGINNING
    """When it entered UpdateStatus the last time: the moment of its claim."""
    claims: dict[str, datetime] = field(default_factory=dict)
    """By manifest path: the moment of its own claim of the start."""


@dataclass
class _Zombie:
    """A call that was given up and lands later: when `due` says so of a call that has just taken effect."""

    land: Callable[[], Any]
    due: Callable[[Call, bytes], bool]


def _at_once(call: str) -> None:
    """Waits for nothing: there is only one actor."""


# State of one execution.
_running: ContextVar[_Running] = ContextVar("running")
_watching: ContextVar[bool] = ContextVar("watching", default=False)
_skew: ContextVar[timedelta] = ContextVar("skew", default=timedelta(0))
turn: ContextVar[Callable[[str], None]] = ContextVar("turn", default=_at_once)
"""Waits until a call may be made. The scheduler of interleaved executions sets it for each."""


@dataclass
class Lab(World):
    """A world whose calls can suffer. While `armed`, calls are numbered and may; looking at the world never counts."""

    faults: tuple[Fault, ...] = ()
    skews: dict[str, timedelta] = field(default_factory=dict)
    """By state name: how far the clock of its function is ahead, besides what `skewed` says of all functions."""
    has_versions: bool = False
    """Whether every upload gets a version id."""
    outage: Outage | None = None
    """All calls of its service fail, as long as it lasts."""
    rival: Callable[["Lab"], None] | None = None
    before_call: Callable[["Lab", Call], None] | None = None
    """Called before each call that is counted, before it is decided whether a fault strikes it."""
    at_rest: Callable[["Lab"], None] | None = None
    """Called where nothing is half done: before a function is invoked the first time, and between deliveries."""

    def __enter__(self) -> Self:
        super().__enter__()
        # Each execution is sequential, and one that is stopped inside a function must not stop the others.
        self._handlers = cast(Any, nullcontext())
        outside = _running.set(_Running())
        self._exit.callback(_running.reset, outside)
        self.queue = Queue()
        self.seen = Observations()
        self._copies = 0
        self.calls: list[Call] = []
        self.reached: list[Fault] = []
        self.zombies: list[_Zombie] = []
        self._landings = 0
        self._place = ["prepare"]
        """What the scenario has done so far. Together with the world it says what is to come."""
        self._story: list[tuple[str, str]] = []
        """What the trigger or the sweep under way, and its execution, have been told so far. Of the attempts of a state
        only the last one: with the state, the interpreter leaves the number of its attempts behind."""
        self._armed = False
        self._suffering = 0
        """Calls under way that a fault has struck: what it does to them may be still to come."""
        self._numbers: dict[str, int] = {}
        self._snapshot: dict[tuple[str, str], dict[str, Any]] = {}
        self._versions: dict[tuple[str, str], str] = {}
        """The sequencer of the version of each row, by its key. The sequencer of a removal belongs to no version."""
        enter = self._exit.enter_context
        lab = self

        def send(stubber: BotocoreStubber, event_name: str, request: Any, **_: Any) -> AWSResponse | None:
            return lab._send(stubber, event_name, request)

        enter(mock.patch.object(BotocoreStubber, "__call__", send))
        enter(mock.patch.object(FakeKey, "size", property(_told_size)))
        enter(mock.patch.object(marking, "ThreadPoolExecutor", _InThisThread))
        enter(mock.patch.object(dates, "ThreadPoolExecutor", _InThisThread))
        enter(mock.patch.object(redelivery, "random", SimpleNamespace(uniform=lambda least, most: most)))
        in_order = SimpleNamespace(sample=lambda population, k: population[:k])
        enter(mock.patch.object(find_stalled_dates, "random", in_order))
        enter(mock.patch.object(table, "time", SimpleNamespace(sleep=lambda _: None)))
        enter(mock.patch.object(event_bus, "time", SimpleNamespace(sleep=lambda _: None)))
        enter(mock.patch("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None)))
        return self

    def time(self) -> datetime:
        """As in World, but time passes where something changes, not where the clock is read: a call that changed
        nothing leaves the world as it was."""
        return BEGINNING + self._ticks * TICK + self.later

    def now(self) -> datetime:
        """The time that a function reads from its clock."""
        return self.time() + _skew.get()

    @contextmanager
    def skewed(self, skew: timedelta) -> Iterator[None]:
        """Functions that are started in this block have a skewed clock."""
        right = _skew.set(skew)
        try:
            yield
        finally:
            _skew.reset(right)

    @staticmethod
    def _forget_caches() -> None:
        World._forget_caches()
        start_workflow.stepfunctions.cache_clear()
        queues.sqs.cache_clear()

    # Events

    def arrive(self, key: str, size_bytes: int, sequencer: str = "01", version_id: str | None = None) -> dict[str, str]:
        """A file version is uploaded and its event sent. Returns the message, so that it can be sent again."""
        event = self.upload(
            key, size_bytes, sequencer=sequencer, version_id=version_id, message_id=f"{key}#{sequencer}"
        )
        self.queue.send(event, self.time())
        return event

    def upload(self, key: str, size_bytes: int, *, sequencer: str = "01", **event: Any) -> dict[str, str]:
        """As in World: the event is still under way."""
        if self.has_versions:
            event["version_id"] = f"v{sequencer}"
        self.seen.versions.append(Version(key, size_bytes, sequencer, event.get("version_id")))
        self.seen.messages.append(super().upload(key, size_bytes, sequencer=sequencer, **event))
        # S3 lists it as its event says, and as written at this moment.
        stored = s3_backends[ACCOUNT]["aws"].buckets[INPUT_BUCKET].keys[key]
        stored._etag, stored.told_size = ETAG, size_bytes
        stored.last_modified = self.time().replace(tzinfo=None)
        return self.seen.messages[-1]

    def lose(self, key: str, size_bytes: int, sequencer: str = "01") -> None:
        """A file version is uploaded, and its event never reaches the queue."""
        self.upload(key, size_bytes, sequencer=sequencer, message_id=f"{key}#{sequencer}")
        self.seen.untold.add((self.seen.versions[-1].file_path, sequencer))

    def remove(self, key: str, sequencer: str) -> None:
        """A file is deleted and its event sent."""
        event = self.delete(key, sequencer=sequencer, message_id=f"{key}#{sequencer}")
        self.seen.messages.append(event)
        self.seen.removals[f"s3://{INPUT_BUCKET}/{key}"] = sequencer
        self.queue.send(event, self.time())

    def repeat(self, event: dict[str, str]) -> None:
        """S3 sends an event once more: to the queue it is another message."""
        self._copies += 1
        self.queue.send(event | {"messageId": f"{event['messageId']} again {self._copies}"}, self.time())

    def trigger(self) -> bool:
        """Delivers one batch, as Lambda's event source mapping does. False if no message was visible."""
        self._rest()
        records = self.queue.receive(self.time())
        if not records:
            return False
        with self.watch():
            self._told("trigger", records)
            try:
                answer = start_workflow.handler({"Records": records}, AT_ITS_BEGINNING)
            except (Exception, Killed, TimedOut):
                return True  # no answer: the visibility timeout brings the messages back
        back = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        for record in records:
            if record["messageId"] not in back:
                self.queue.acknowledge(record["messageId"])
        return True

    def sweep(self) -> Execution:
        self._place.append("sweep")
        with self.watch():
            return self.execute({"sweep": True})

    def audit(self) -> None:
        """A run of the scheduled audit. If it fails, the schedule does not repeat it."""
        self._place.append("audit")
        with self.watch(), suppress(Exception, Killed, TimedOut):
            audit_files.handler({}, WHOLE_AUDIT)

    def tell_of_run(self, job_run_id: str) -> Execution:
        self._place.append("tell of a run")
        with self.watch():
            return super().tell_of_run(job_run_id)

    def expect(self, *faults: Fault) -> None:
        """Plans faults for the calls from now on, and numbers them from 0."""
        self.faults, self.calls, self._numbers = faults, [], {}

    @contextmanager
    def armed(self, armed: bool = True) -> Iterator[None]:
        outer, self._armed = self._armed, armed
        try:
            yield
        finally:
            self._armed = outer

    def settle(self) -> None:
        """Stops the faults. Given-up calls land when they are due, or when everything has settled."""
        self.start_job_run = None
        self._landings = -1
        while self._landings:
            # What was done before has ended: how often it was done makes no difference any more.
            self._place = ["settle"]
            self._landings = 0
            self._go_on()
            self.land_zombies()

    def _go_on(self) -> None:
        """The queue redelivers, the lease ends, and one sweep runs."""
        for _ in range(REDELIVERIES):
            self.deliver_all()
            due = self.queue.next_visible()
            if due is None:
                break
            self.later += max(due - self.time(), timedelta(0)) + timedelta(seconds=1)
        self.later += max(LEASE, SWEEP_EVERY)
        self.sweep()
        self.deliver_all()

    def live(self, until: datetime) -> None:
        """Lets time go by: messages come back, and a sweep runs every 15 minutes."""
        next_sweep = self.time() + SWEEP_EVERY
        while self.time() < until:
            self.deliver_all()
            due = self.queue.next_visible() or next_sweep
            self.later += max(min(due, next_sweep) - self.time(), timedelta(0)) + timedelta(seconds=1)
            if self.time() >= next_sweep:
                next_sweep += SWEEP_EVERY
                # The schedule starts executions by Step Functions too.
                if not (self.outage and self.outage.service == "sfn" and self.outage.is_on(self.time())):
                    self.sweep()

    def deliver_all(self) -> None:
        self._place.append("deliver all")
        while self.trigger():
            pass

    def land_zombies(self) -> None:
        """Lands all given-up calls that have not landed yet."""
        zombies, self.zombies = self.zombies, []
        for zombie in zombies:
            self._landings += 1
            zombie.land()

    # Executions

    def execute(self, execution_input: dict[str, Any]) -> Execution:
        """As in World, without the history (reading one takes as long as the run), and nested if need be."""
        running = _Running()
        outer = _running.set(running)
        try:
            execution = super().execute(execution_input)
        finally:
            _running.reset(outer)
        return replace(execution, status="TIMED_OUT", output=None, error=None) if running.aborted else execution

    @property
    def _started_at(self) -> str:
        return _running.get().started_at

    @_started_at.setter
    def _started_at(self, moment: str) -> None:
        _running.get().started_at = moment

    def _read_history(self, execution_arn: str) -> list[Any]:
        return []

    @contextmanager
    def watch(self) -> Iterator[None]:
        outer = _watching.set(True)
        try:
            yield
        finally:
            _watching.reset(outer)
            if not _watching.get():
                self._story.clear()

    def _told(self, call: str, answer: Any, again: bool = False) -> None:
        """`again`: a further attempt of the last call takes its place."""
        if again and self._story and self._story[-1][0] == call:
            self._story.pop()
        self._story.append((call, json.dumps(answer)))

    def _rest(self) -> None:
        if self.at_rest and not self._suffering:
            self.at_rest(self)

    def state(self) -> dict[str, Any]:
        """All that this lab knows about its world beside what its services hold: the rest of a `fingerprint`."""
        running = _running.get()
        return {
            "place": self._place,
            "told so far": self._story,
            "under way": [running.started_at, running.aborted, running.update_entered_at, running.claims, _skew.get()],
            "time": [self._ticks, self.later, self.skews],
            "queue": [self.queue.messages, self.queue.dead, self.queue.lost, self.queue.sent, self._copies],
            "versions": list(self._versions.items()),
            "seen": {
                name: list(seen.items()) if isinstance(seen, dict) else seen for name, seen in vars(self.seen).items()
            },
        }

    # Calls of the SDK

    def _send(self, stubber: BotocoreStubber, event_name: str, request: Any) -> AWSResponse | None:
        _, service, operation = event_name.split(".")

        def process() -> AWSResponse:
            answer = stubber.process_request(request)
            assert answer is not None, f"moto does not know {service} {operation}"
            status, headers, body = answer
            return wire.response(request, status, headers, body)

        if operation == "StartSyncExecution":
            process = lambda: self.start_sync_execution(request)  # noqa: E731
        elif operation == "ChangeMessageVisibilityBatch":
            process = lambda: wire.answer(  # noqa: E731
                request, 200, self.queue.change_visibility(request.body, self.time())
            )
        elif operation == "SendMessageBatch":
            process = lambda: wire.answer(  # noqa: E731
                request, 200, self.queue.send_message_batch(request.body, self.time())
            )
        elif operation == "SendMessage":
            process = lambda: wire.answer(request, 200, self.queue.send_message(request.body, self.time()))  # noqa: E731
        elif service == "sfn" or not _watching.get():
            return process()
        source = self._source_of(service, operation, request)
        identity = str(request.headers.get("amz-sdk-invocation-id"))
        if _running.get().aborted and source == "integration":
            raise ConnectionClosedError(endpoint_url=request.url)  # the machine is stopped: nothing is called any more
        turn.get()(f"{service} {operation} by {source}")
        call, is_first = self._numbered(identity, source, service, operation)
        fault = self._outage_of(call) or self._fault_for(call, is_first)
        if source != "integration":
            return self._answer(fault, call, request, process)
        try:
            answer = self._answer(fault, call, request, process)
        except Exception as error:
            self._told(f"{operation} {wire.body_of(request)!r}", repr(error), again=True)
            raise
        self._told(f"{operation} {wire.body_of(request)!r}", [answer.status_code, answer.text], again=True)
        return answer

    def _answer(self, fault: Fault | None, call: Call, request: Any, process: Callable[[], AWSResponse]) -> AWSResponse:
        if fault is None:
            return self._take_effect(call, request, process)
        with self._struck():
            return self._suffer(fault, call, request, process)

    @contextmanager
    def _struck(self) -> Iterator[None]:
        self._suffering += 1
        try:
            yield
        finally:
            self._suffering -= 1

    def _source_of(self, service: str, operation: str, request: Any) -> Source:
        if service in ("sfn", "sqs"):
            return "trigger"
        native = operation == "StartJobRun" or (
            operation == "UpdateItem" and b"job_run_id = :job_run_id" in wire.body_of(request)
        )
        return "integration" if native else "function"

    def _suffer(self, fault: Fault, call: Call, request: Any, process: Callable[[], AWSResponse]) -> AWSResponse:
        kind = fault.kind
        lost = ReadTimeoutError(endpoint_url=request.url)
        match kind:
            case Kind.FAILS:
                raise ConnectionClosedError(endpoint_url=request.url)
            case Kind.LOST:
                self._take_effect(call, request, process)
                raise lost
            case Kind.THROTTLED:
                return _throttled(request, call.operation)
            case Kind.LATE_RUNS:
                return self._hide_runs(request, call.operation)
            case Kind.CONFLICT:
                return _conflict(request, call.operation)
            case Kind.KILLED_BEFORE:
                raise Killed
            case Kind.KILLED_AFTER:
                self._take_effect(call, request, process)
                raise Killed
            case Kind.TIMES_OUT:
                self._take_effect(call, request, process)
                raise lost if call.source == "integration" else TimedOut
            case Kind.ABORTED:
                _running.get().aborted = True
                if call.source == "integration":
                    raise ConnectionClosedError(endpoint_url=request.url)
                return self._take_effect(call, request, process)  # a running function is not stopped with its execution
            case _ if kind in ZOMBIES:
                self._bury(kind, call, lambda: self._land(call, request, process))
                raise lost
            case _:
                self._let_the_rival_run(kind)
                return self._take_effect(call, request, process)

    def _take_effect(self, call: Call, request: Any, process: Callable[[], AWSResponse]) -> AWSResponse:
        response = self._land(call, request, process)
        if response.status_code < 300:
            self._wake_zombies(call, wire.body_of(request))
        return response

    def _land(self, call: Call, request: Any, process: Callable[[], AWSResponse]) -> AWSResponse:
        if call.operation == "StartJobRun":
            self._excuse_late_start(json.loads(wire.body_of(request))["Arguments"]["--MANIFEST_PATH"])
        response = process()
        self._observe_object(request, call, response.status_code)
        if call.operation == "PutEvents" and response.status_code < 300:
            self._observe_events(json.loads(wire.body_of(request))["Entries"])
        if call.operation == "DeleteItem" and response.status_code < 300:
            self._observe_release(wire.body_of(request).decode())
        changed = self._observe() or (call.service != "dynamodb" and call.operation not in READS)
        if changed and response.status_code < 300:
            self._ticks += 1
        return response

    # Calls of functions by the interpreter

    def invoke(self, parameters: dict[str, Any]) -> Invocation:
        running = _running.get()
        if running.aborted:
            return _function_error("Lambda.Aborted")
        state = parameters["FunctionName"].rpartition(":")[2]
        turn.get()(f"lambda {state} by invocation")
        payload = str(parameters["Payload"])
        last = running.last_invocation
        retried = last is not None and last[:2] == (state, payload)
        if not retried:
            self._rest()
        identity = f"invocation {last[2]}" if retried and last else f"invocation {len(self.calls)}"
        call, is_first = self._numbered(identity, "invocation", "lambda", state)
        running.last_invocation = (state, payload, call.number if not retried or last is None else last[2])
        self._numbers[f"invocation {running.last_invocation[2]}"] = call.number
        fault = self._outage_of(call) or self._fault_for(call, is_first)
        if fault is None:
            answer = self._run_function(parameters)
            if "FunctionError" not in answer:
                running.last_invocation = None
        else:
            with self._struck():
                answer = self._suffer_invocation(fault, call, parameters)
        self._told(f"{state} {payload}", answer, again=retried)
        return answer

    def _suffer_invocation(self, fault: Fault, call: Call, parameters: dict[str, Any]) -> Invocation:
        kind = fault.kind
        if kind in ZOMBIES:
            self._bury(kind, call, lambda: self._run_function(parameters))
            return _function_error("States.Timeout")
        if kind in PREEMPTIONS:
            self._let_the_rival_run(kind)
            return self._run_function(parameters)
        if kind in SKEWS:
            self.skews[call.operation] = SKEWS[kind]
            return self._run_function(parameters)
        if kind in (Kind.LOST, Kind.KILLED_AFTER, Kind.TIMES_OUT):
            self._run_function(parameters)
        if kind is Kind.ABORTED:
            _running.get().aborted = True
        return _function_error(INVOCATION_ERRORS[kind])

    def _run_function(self, parameters: dict[str, Any]) -> Invocation:
        state = parameters["FunctionName"].rpartition(":")[2]
        if state == "UpdateStatus":
            _running.get().update_entered_at = self.time()
        skew = _skew.set(_skew.get() + self.skews.get(state, timedelta(0)))
        try:
            return super().invoke(parameters)
        except Killed:
            return _function_error("Lambda.Unknown")
        except TimedOut:
            return _function_error("Lambda.Unknown")
        finally:
            _skew.reset(skew)

    # Faults

    def _numbered(self, identity: str, source: Source, service: str, operation: str) -> tuple[Call, bool]:
        if not self._armed:
            return Call(NOT_COUNTED, source, service, operation), True
        number = self._numbers.get(identity)
        if number is not None:
            return self.calls[number], False
        call = Call(len(self.calls), source, service, operation)
        self.calls.append(call)
        self._numbers[identity] = call.number
        if self.before_call:
            self.before_call(self, call)
        return call, True

    def _fault_for(self, call: Call, is_first: bool) -> Fault | None:
        for fault in self.faults:
            if fault.call == call.number and (fault.lasting or is_first) and call.suffers(fault.kind):
                self.reached.append(fault)
                return fault
        return None

    def _outage_of(self, call: Call) -> Fault | None:
        if self.outage and self.outage.strikes(call.service, self.time()):
            return Fault(call.number, self.outage.how)
        return None

    def _let_the_rival_run(self, kind: Kind) -> None:
        assert kind in PREEMPTIONS
        assert self.rival is not None
        if kind is Kind.PREEMPTED_PAST_LEASE:
            self.later += LEASE
        with self.armed(False):
            self.rival(self)

    def _bury(self, kind: Kind, call: Call, land: Callable[[], Any]) -> None:
        released = False
        context = copy_context()
        context.run(turn.set, _at_once)

        def after_retry(landed: Call, body: bytes) -> bool:
            return (landed.service, landed.operation) == (call.service, call.operation)

        def after_release(landed: Call, body: bytes) -> bool:
            return landed.operation == "DeleteItem" and b"LOCK#" in body

        def after_next_holder(landed: Call, body: bytes) -> bool:
            nonlocal released
            if released and landed.operation == "PutItem" and b"LOCK#" in body:
                return True
            released = released or after_release(landed, body)
            return False

        due = {
            Kind.ZOMBIE_AFTER_RETRY: after_retry,
            Kind.ZOMBIE_AFTER_RELEASE: after_release,
            Kind.ZOMBIE_AFTER_NEXT_HOLDER: after_next_holder,
        }
        self.zombies.append(_Zombie(partial(context.run, land), due.get(kind, lambda *_: False)))

    def _wake_zombies(self, call: Call, body: bytes) -> None:
        due = [zombie for zombie in self.zombies if zombie.due(call, body)]
        self.zombies = [zombie for zombie in self.zombies if zombie not in due]
        for zombie in due:
            self._landings += 1
            zombie.land()

    def _hide_runs(self, request: Any, operation: str) -> AWSResponse:
        if operation == "GetJobRun":
            return wire.answer(request, 400, {"__type": "EntityNotFoundException", "Message": "no such run"})
        self._excuse_starts_of_unknown_runs()
        return wire.answer(request, 200, {"JobRuns": []})

    def _excuse_late_start(self, manifest_path: str) -> None:
        claimed = _running.get().claims.get(manifest_path)
        if claimed and self.time() - claimed >= START_SETTLES:
            self.seen.excused_starts[manifest_path] += 1

    def _excuse_starts_of_unknown_runs(self) -> None:
        runs = self.runs_by_manifest()
        for (partition, _), item in self.items().items():
            if partition.startswith("MANIFEST#") and item["status"] == "open" and item["file_path"] in runs:
                self.seen.excused_starts[item["file_path"]] += 1

    # Observations

    def items(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The table as it is, read behind DynamoDB's back."""
        table = dynamodb_backends[ACCOUNT][REGION].tables[TRACKING_TABLE]
        return {
            (item.hash_key.value, item.range_key.value if item.range_key else ""): {
                name: _plain(value) for name, value in item.attrs.items()
            }
            for item in table.all_items()
        }

    def paths_of_manifest_objects(self) -> set[str]:
        """Those that are there, read behind S3's back."""
        keys = s3_backends[ACCOUNT]["aws"].buckets[MANIFEST_BUCKET].keys
        return {f"s3://{MANIFEST_BUCKET}/{key}" for key in keys}

    def ends_of_runs(self) -> dict[str, dict[str, str]]:
        """By manifest path: the states of the runs that have ended."""
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for run in glue_backends[ACCOUNT][REGION].jobs[GLUE_JOB].job_runs:
            end = self.ends.get(run.job_run_id)
            if end:
                found[(run.arguments or {})["--MANIFEST_PATH"]][run.job_run_id] = end["JobRunState"]
        return found

    def runs_by_manifest(self) -> dict[str, int]:
        runs: dict[str, int] = defaultdict(int)
        for run in glue_backends[ACCOUNT][REGION].jobs[GLUE_JOB].job_runs:
            runs[(run.arguments or {})["--MANIFEST_PATH"]] += 1
        return dict(runs)

    def second_runs(self) -> int:
        """Runs of jobs beyond one for each attempt of each manifest."""
        failed = {
            item["file_path"]: len(item.get("failed_runs", []))
            for (partition, _), item in self.items().items()
            if partition.startswith("MANIFEST#")
        }
        return sum(times - 1 - failed.get(path, 0) for path, times in self.runs_by_manifest().items())

    def _observe(self) -> bool:
        """Whether something in the table has changed."""
        items = self.items()
        if items == self._snapshot:
            return False
        for key, item in items.items():
            if self._snapshot.get(key) == item:
                continue
            if key[0].startswith("MANIFEST#"):
                if key not in self._snapshot and _is_flush(item, items):
                    self.seen.flushes.append((manifests.date_of(key[0]) or "", item["cut"]))
                _append(self.seen.records[item["file_path"]], item["status"])
                claim = item.get("start_attempted_at")
                if claim and claim != self._snapshot.get(key, {}).get("start_attempted_at"):
                    running = _running.get()
                    running.claims[item["file_path"]] = running.update_entered_at
                if "job_run_id" in item:
                    _append(self.seen.recorded_runs[item["file_path"]], item["job_run_id"])
            elif not key[0].startswith(NOT_FILES):
                if "deleted_at" not in item or key not in self._versions:
                    self._versions[key] = item.get("sequencer", "")
                version = (item["file_path"], self._versions[key])
                _append(self.seen.rows[version], (item["status"], item.get("manifest_path")))
        self._snapshot = items
        return True

    def _observe_events(self, entries: list[dict[str, str]]) -> None:
        for entry in entries:
            detail = json.loads(entry["Detail"])
            subject = (entry["DetailType"], *(detail[name] for name in SUBJECTS[entry["DetailType"]]))
            if detail["id"] not in self.seen.told[subject]:
                self.seen.told[subject].append(detail["id"])

    def _observe_release(self, request_body: str) -> None:
        for (partition, _), lock in self._snapshot.items():
            is_deleted = partition.startswith("LOCK#") and f'"{partition}"' in request_body
            if is_deleted and lock["token"] not in request_body and lock["lock_id"] not in request_body:
                self.seen.foreign_releases.append(f"{partition} of {lock['lock_id']}")

    def _start_job_run(self, start: Callable[[], str]) -> str:
        def observed() -> str:
            run_id = start()
            arguments = glue_backends[ACCOUNT][REGION].jobs[GLUE_JOB].job_runs[-1].arguments or {}
            self.seen.runs[arguments["--MANIFEST_PATH"]].append(len(self.seen.versions))
            return run_id

        return super()._start_job_run(observed)

    def _observe_object(self, request: Any, call: Call, status: int) -> None:
        if call.service != "s3" or MANIFEST_BUCKET not in request.url or status >= 300:
            return
        key = "manifests/" + request.url.split("/manifests/", 1)[-1].partition("?")[0]
        path = f"s3://{MANIFEST_BUCKET}/{key}"
        if call.operation == "PutObject":
            stored = s3_backends[ACCOUNT]["aws"].get_object(MANIFEST_BUCKET, key)
            assert stored is not None
            self.seen.objects[path].append(documents.from_document(stored.value))
        elif call.operation == "DeleteObject":
            self.seen.deleted_objects.add(path)


class _InThisThread:
    """A thread pool without threads: calls come in one order, so that their numbers mean something."""

    def __init__(self, max_workers: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def map(self, call: Callable[[Any], Any], items: Any) -> list[Any]:
        return [call(item) for item in items]


def _told_size(key: FakeKey) -> int:
    """The size of an object as its event says, where it has none of these bytes."""
    return int(getattr(key, "told_size", key.contentsize))


def _plain(value: DynamoType) -> Any:
    if value.type == "L":
        return [_plain(element) for element in value.value]
    return int(value.value) if value.type == "N" and "." not in value.value else value.value


def _append(states: list[Any], state: Any) -> None:
    if not states or states[-1] != state:
        states.append(state)


def _is_flush(record: dict[str, Any], items: dict[tuple[str, str], dict[str, Any]]) -> bool:
    """Of a manifest that is committed now: the first batch of an execution needs a full batch, but for a flush."""
    date = record["date_prefix"].removeprefix("MANIFEST#")
    pending_bytes = sum(
        item["file_size_bytes"]
        for (partition, _), item in items.items()
        if partition == date and "pending_since" in item
    )
    begins = str(record["file_name"]).startswith("batch-0001-")
    return begins and bool(pending_bytes < settings().max_batch_bytes)


def _throttled(request: Any, operation: str) -> AWSResponse:
    if operation == "PutEvents":  # answers 200, whether it has taken the event or not
        entry = {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded"}
        return wire.answer(request, 200, {"FailedEntryCount": 1, "Entries": [entry]})
    return wire.answer(request, 400, {"__type": "ThrottlingException", "message": "Rate exceeded"})


def _conflict(request: Any, operation: str) -> AWSResponse:
    if operation != "TransactWriteItems":
        return wire.answer(request, 400, {"__type": "TransactionConflictException", "message": "ongoing"})
    reasons = [{"Code": "TransactionConflict"}, {"Code": "None"}]
    cancelled = {"__type": "TransactionCanceledException", "message": "cancelled", "CancellationReasons": reasons}
    return wire.answer(request, 400, cancelled)


def _function_error(error: str) -> Invocation:
    return {"Payload": {"errorType": error, "errorMessage": error}, "FunctionError": "Unhandled"}
