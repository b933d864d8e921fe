"""Random schedules: Hypothesis draws the events and their order, and shrinks a failing schedule to a short story.

Profiles: `schedules` for `make test`, `nightly` for `make faults` and HYPOTHESIS_PROFILE=nightly.
"""

from contextlib import ExitStack
from datetime import timedelta
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from moto.glue.exceptions import ConcurrentRunsExceededException

from dev.faults.calls import PREEMPTIONS, Fault, Kind
from dev.faults.invariants import violations
from dev.faults.lab import LEASE, Lab
from dev.faults.scenarios import DAY, LIMIT_30_MB, MB, NEXT_DAY
from dev.simulator.world import INPUT_BUCKET
from manifest_builder.settings import settings as functions_settings

COMMON = settings(
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    stateful_step_count=12,
)
settings.register_profile("schedules", COMMON, max_examples=50, derandomize=True)
settings.register_profile("nightly", COMMON, max_examples=500)

KEYS = [f"{folder}/{day}-{name}.ndjson" for folder in "ab" for day in (DAY, NEXT_DAY) for name in "xy"]
KINDS = [kind for kind in Kind if kind not in PREEMPTIONS]
LIMITS_IN_GB = {"20 MB": "0.01953125", "30 MB": "0.029296875", "60 MB": "0.05859375"}


class Schedules(RuleBasedStateMachine):
    """One lab; each rule is something that happens in it."""

    @initialize()
    def begin(self) -> None:
        self.stack = ExitStack()
        self.lab = self.stack.enter_context(Lab(environment=LIMIT_30_MB))
        self.versions = 0
        self.busy_starts = 0
        self.lab.start_job_run = self._start

    def _start(self, start: object) -> str:
        if self.busy_starts:
            self.busy_starts -= 1
            raise ConcurrentRunsExceededException("busy")
        assert callable(start)
        return str(start())

    @rule(key=st.sampled_from(KEYS), megabytes=st.sampled_from([15, 5, 19, 25]))
    def a_version_arrives(self, key: str, megabytes: int) -> None:
        """The first of its key, or a newer one. 25 MB are refused."""
        self.versions += 1
        self.lab.arrive(key, megabytes * MB, f"{self.versions:04}")

    @precondition(lambda self: self.lab.seen.messages)
    @rule(which=st.integers(0, 20))
    def an_event_comes_again(self, which: int) -> None:
        """Of any version so far: an older one's comes after the newer one's."""
        self.lab.repeat(self.lab.seen.messages[which % len(self.lab.seen.messages)])

    @precondition(lambda self: self.lab.seen.versions)
    @rule(which=st.integers(0, 20))
    def an_object_is_deleted(self, which: int) -> None:
        """Its event is in the queue or in the table: what is deleted unread is the owner's business."""
        key = self.lab.seen.versions[which % len(self.lab.seen.versions)].key
        self.lab.s3.delete_object(Bucket=INPUT_BUCKET, Key=key)

    @rule()
    def the_queue_delivers(self) -> None:
        self.lab.trigger()

    @rule()
    def a_sweep_runs(self) -> None:
        self.lab.sweep()

    @rule(call=st.integers(0, 60), kind=st.sampled_from(KINDS), lasting=st.booleans(), sweep=st.booleans())
    def an_execution_suffers(self, call: int, kind: Kind, lasting: bool, sweep: bool) -> None:
        self.lab.calls.clear()
        self.lab._numbers.clear()
        self.lab.faults = (Fault(call, kind, lasting),)
        with self.lab.armed():
            self.lab.sweep() if sweep else self.lab.trigger()
        self.lab.faults = ()

    @rule(seconds=st.sampled_from([1, 61, 301, 901, 90_000]))
    def time_goes_by(self, seconds: int) -> None:
        self.lab.later += timedelta(seconds=seconds)

    @rule(skew=st.sampled_from([-LEASE, -timedelta(seconds=20), timedelta(seconds=20), LEASE]))
    def an_execution_has_a_wrong_clock(self, skew: timedelta) -> None:
        with self.lab.skewed(skew):
            self.lab.trigger()

    @rule(limit=st.sampled_from(sorted(LIMITS_IN_GB)))
    def the_limit_changes(self, limit: str) -> None:
        self.stack.enter_context(mock.patch.dict("os.environ", {"MAX_BATCH_SIZE_GB": LIMITS_IN_GB[limit]}))
        functions_settings.cache_clear()

    @rule(starts=st.integers(1, 3))
    def glue_gets_busy(self, starts: int) -> None:
        self.busy_starts = starts

    def teardown(self) -> None:
        if not hasattr(self, "stack"):
            return
        with self.stack:
            self.lab.settle()
            wrong = violations(self.lab)
            assert not wrong, "\n".join(wrong)
