"""The test cases of mock_config.json, in Step Functions Local's format: errors that are hard to provoke."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dev.run.files import SAMPLE_PARAMETERS
from dev.simulator.world import INPUT_BUCKET, Execution, World, message
from tests.workflow.scenarios import GREEN, MARK, NO, START, TRACK, WAIT, Scenario, Step, states, times

MOCK_CONFIG = Path(__file__).with_name("mock_config.json")
LIMITS = {
    "EXPECTED_FILE_SIZE_MB": SAMPLE_PARAMETERS["ExpectedFileSizeMb"],
    "SIZE_TOLERANCE_PERCENT": SAMPLE_PARAMETERS["SizeTolerancePercent"],
    "MAX_BATCH_SIZE_GB": SAMPLE_PARAMETERS["MaxBatchSizeGb"],
}
"""Those of the stack that tests deploy, so that a case means the same there."""
FILES = 6
FILE_BYTES = 80 * 1024
"""Five fill a manifest."""


@dataclass(frozen=True)
class MockedCase(Scenario):
    """A scenario of one step, named like its test case. Each case has its own `date`: cases share a stack's table."""

    date: str = ""


def messages(date: str, bucket: str = INPUT_BUCKET) -> list[dict[str, str]]:
    return [
        message(f"in/{date}-file{index}.ndjson", FILE_BYTES, bucket=bucket, message_id=f"message-{index}")
        for index in range(FILES)
    ]


def mocked(test_case: str, date: str) -> Callable[[World], Execution]:
    def act(world: World) -> Execution:
        world.machine += f"#{test_case}"
        return world.deliver(*messages(date))

    return act


MOCKED_CASES = [
    MockedCase(
        "ThrottledThenSuccess",
        [Step(mocked("ThrottledThenSuccess", "2025-11-01"), states(START, TRACK, NO, GREEN))],
        {"pending": 1},
        environment=LIMITS,
        date="2025-11-01",
    ),
    MockedCase(
        "GlueStaysBusy",
        [Step(mocked("GlueStaysBusy", "2025-11-02"), states(START, times(FILES, TRACK), WAIT, NO, GREEN))],
        {"manifested": 5, "pending": 1},
        [5],
        open_manifests=1,
        job_runs=0,
        environment=LIMITS,
        date="2025-11-02",
    ),
    MockedCase(
        "ReleaseLockFails",
        [
            Step(
                mocked("ReleaseLockFails", "2025-11-03"),
                states(
                    START,
                    times(FILES, TRACK),
                    MARK,
                    "IsJobStarted StartGlueJob RecordJobRun ReleaseLock LockLeft",
                    "ReportResult DidAnyDateFail LockNotReleased",
                ),
                "FAILED",
                "LockNotReleased",
            )
        ],
        {"manifested": 5, "pending": 1},
        [5],
        locks=1,
        environment=LIMITS,
        date="2025-11-03",
    ),
]
