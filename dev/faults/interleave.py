"""Executions that run at the same time: a seeded scheduler lets one of them make one call, then draws again."""

import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from dev.faults.calls import PREEMPTIONS, Fault, Kind
from dev.faults.invariants import violations
from dev.faults.lab import LEASE, Lab, turn
from dev.faults.scenarios import (
    DAY,
    LIMIT_30_MB,
    MB,
    SETTLED,
    arrive,
    nothing,
    prepare_backlog,
    prepare_given_up_start,
    prepare_lost_start,
    prepare_old_file,
    prepare_open_manifest,
)

STILL_SECONDS = 30
"""A call takes milliseconds: who is neither done nor waiting after this time hangs."""
FIRST_CALLS = 60
"""The seeded fault strikes one of the first calls; most runs make more calls."""
FAULTS = [kind for kind in Kind if kind not in PREEMPTIONS]  # this module stops one thread while the others run

Act = Callable[[Lab], object]


@dataclass(frozen=True)
class Played:
    """One run: its story as drawn from the seed, the order of calls, and the violations."""

    seed: int
    story: str
    order: tuple[str, ...]
    violations: tuple[str, ...]
    second_runs: int

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.story}"


@dataclass(frozen=True)
class Stall:
    """An actor stops before a call while the others make some of theirs, and the clock may go on."""

    call: str
    occurrence: int
    turns: int
    passing: timedelta

    def __str__(self) -> str:
        before = f"{self.call} number {self.occurrence}"
        return f"stalls before {before} for {self.turns} turns and {self.passing.total_seconds():.0f} s"


class Turns:
    """Each call of an actor waits for its turn. A turn is given when all are waiting, or at their end.

    An actor is sequential (the interpreter has no threads), so the draws alone decide the order of all calls.
    """

    def __init__(self, draw: random.Random, stalls: dict[str, Stall], pass_time: Callable[[timedelta], None]) -> None:
        self.order: list[str] = []
        self._draw = draw
        self._stalls = stalls
        self._pass_time = pass_time
        self._calls_of: dict[str, Counter[str]] = defaultdict(Counter)
        self._stalled: set[str] = set()
        self._not_before: dict[str, int] = {}
        self._changed = threading.Condition()
        self._busy: str | None = None
        self._waiting: dict[str, str] = {}
        self._errors: list[BaseException] = []

    def play(self, actors: dict[str, Callable[[], object]], begin: dict[str, int]) -> None:
        """`begin`: the turn before which an actor does not begin, if another one can act. Its beginning is a turn."""
        self._not_before = dict(begin)
        for name, act in actors.items():
            self._busy = name
            threading.Thread(target=copy_context().run, args=(self._act, name, act), daemon=True).start()
            self._wait_until_still()
        while self._waiting:
            chosen = self._draw.choice(self._ready())
            call, stall = self._waiting[chosen], self._stalls[chosen]
            before_its_stall = stall.call == call and self._calls_of[chosen][call] == stall.occurrence - 1
            if before_its_stall and chosen not in self._stalled:
                self._stalled.add(chosen)
                self._not_before[chosen] = len(self.order) + stall.turns
                self._pass_time(stall.passing)
                continue
            self._calls_of[chosen][call] += 1
            self.order.append(f"{chosen}: {call}")
            with self._changed:
                del self._waiting[chosen]
                self._busy = chosen
                self._changed.notify_all()
            self._wait_until_still()

    def _ready(self) -> list[str]:
        """The actors that may act now; if there are none, the actor that may act first."""
        waiting = sorted(self._waiting)
        ready = [name for name in waiting if self._not_before.get(name, 0) <= len(self.order)]
        return ready or [min(waiting, key=lambda name: self._not_before[name])]

    def _act(self, name: str, act: Callable[[], object]) -> None:
        turn.set(partial(self._wait, name))
        try:
            self._wait(name, "begins")
            act()
        except BaseException as error:
            self._errors.append(error)
        finally:
            with self._changed:
                self._busy = None
                self._changed.notify_all()

    def _wait(self, name: str, call: str) -> None:
        with self._changed:
            assert self._busy == name, f"{name} makes a call in the turn of {self._busy}"
            self._waiting[name] = call
            self._busy = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._busy == name)

    def _wait_until_still(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._busy is None, STILL_SECONDS), f"{self._busy} hangs"
        if self._errors:
            raise self._errors[0]


def brings(number: int, folder: str) -> Act:
    """Files whose names another folder's files have too. One reaches half of the threshold, two all of it."""

    def act(lab: Lab) -> None:
        arrive(lab, number, folder=folder)
        lab.trigger()

    return act


def brings_a_newer_version(lab: Lab) -> None:
    key = lab.seen.versions[0].key if lab.seen.versions else f"first/{DAY}-0.ndjson"
    sequencer = max((version.sequencer for version in lab.seen.versions if version.key == key), default="00")
    lab.arrive(key, 14 * MB, f"{int(sequencer) + 1:02}")
    lab.trigger()


def gets_events_again(lab: Lab) -> None:
    for event in lab.seen.messages[:3]:
        lab.repeat(event)
    lab.trigger()


def sweeps(lab: Lab) -> None:
    lab.sweep()


def one_file_waits(lab: Lab) -> None:
    arrive(lab, 1, folder="before")
    lab.deliver_all()


BEGINNINGS: dict[str, Act] = {
    "nothing was there": nothing,
    "one file waited": one_file_waits,
    "an open manifest was left": prepare_open_manifest,
    "a start had been refused": prepare_given_up_start,
    "the answer of a start had been lost": prepare_lost_start,
    "a file was a day old": prepare_old_file,
    "there was a backlog": prepare_backlog,
}
OTHERS: dict[str, Act] = {
    "one file": brings(1, "other"),
    "two files": brings(2, "other"),
    "a newer version": brings_a_newer_version,
    "a redelivery": gets_events_again,
    "a sweep": sweeps,
}
STALLS_BEFORE = [
    "lambda TrackFile by invocation",
    "dynamodb PutItem by function",
    "lambda AcquireLock by invocation",
    "lambda CreateManifest by invocation",
    "s3 PutObject by function",
    "dynamodb TransactWriteItems by function",
    "lambda UpdateStatus by invocation",
    "s3 GetObject by function",
    "dynamodb UpdateItem by function",
    "glue StartJobRun by integration",
    "dynamodb UpdateItem by integration",
    "lambda ReleaseLock by invocation",
    "dynamodb DeleteItem by function",
    "lambda CheckThreshold by invocation",
]
PASSING = [timedelta(0), timedelta(0), SETTLED, LEASE, LEASE]
SKEWS = [-LEASE, timedelta(seconds=20), LEASE]


def play(seed: int) -> Played:
    """Two or three executions for one date, after a beginning, and with stalls, skew and a fault as drawn."""
    draw = random.Random(seed)
    beginning = draw.choice(list(BEGINNINGS))
    files = draw.choice([1, 2])
    others = dict(zip("BC", draw.choices(list(OTHERS), k=draw.choice([1, 2])), strict=False))
    acts = {"A": brings(files, "first")} | {name: OTHERS[other] for name, other in others.items()}
    stalls = {
        name: Stall(draw.choice(STALLS_BEFORE), draw.choice([1, 1, 2, 3]), draw.randrange(100), draw.choice(PASSING))
        for name in acts
    }
    begin = {"A": 0} | {name: draw.randrange(50) for name in others}
    skews = dict.fromkeys(acts, timedelta(0)) | draw.choice([{}, {draw.choice(list(acts)): draw.choice(SKEWS)}])
    has_versions = draw.random() < 0.5
    fault = draw.choice([None, Fault(draw.randrange(FIRST_CALLS), draw.choice(FAULTS), draw.random() < 0.5)])
    story = [
        f"{beginning}; A brings {files} file(s) into a bucket {'with' if has_versions else 'without'} versions",
        *(f"{name} is {other}, not before turn {begin[name]}" for name, other in others.items()),
    ]
    story += [f"{name} {stall}" for name, stall in stalls.items()]
    story += [f"the clock of {name} is {skew.total_seconds():+.0f} s off" for name, skew in skews.items() if skew]
    story += [str(fault or "no fault")]

    with Lab(environment=LIMIT_30_MB, has_versions=has_versions, faults=(fault,) if fault else ()) as lab:

        def pass_time(passing: timedelta) -> None:
            lab.later += passing

        def acting(name: str) -> None:
            with lab.skewed(skews[name]):
                acts[name](lab)

        BEGINNINGS[beginning](lab)
        turns = Turns(draw, stalls, pass_time)
        with lab.armed():
            turns.play({name: partial(acting, name) for name in acts}, begin)
        lab.settle()
        return Played(seed, ", ".join(story), tuple(turns.order), tuple(violations(lab)), lab.second_runs())
