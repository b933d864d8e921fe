"""Stands in for Glue, whose runs send no events on the emulator: sends the event of each run's end to the event bus.

The stack's own rule starts the state machine with it, as on AWS. Only the source differs: see deploy.py.
"""

import json
import threading
from types import TracebackType
from typing import Self

from botocore.exceptions import BotoCoreError, ClientError

from dev.emulator.deploy import GLUE_SOURCE, Deployment
from dev.emulator.emulator import Emulator
from dev.emulator.facts import FINISHED_STATES, read_runs
from toolkit.facts import JobRun

POLL_SECONDS = 0.5


class RunEnds:
    """Use as a context manager, inside that of the emulator. A thread sends events until the end of the block."""

    def __init__(self, emulator: Emulator, deployment: Deployment) -> None:
        self._emulator = emulator
        self._deployment = deployment
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._finished: set[str] = set()
        self._told: set[str] = set()

    def __enter__(self) -> Self:
        # Clients must not be made by two threads at a time.
        _ = self._emulator.glue, self._emulator.events
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            try:
                self.tell(read_runs(self._emulator, self._deployment))
            except (BotoCoreError, ClientError):
                continue  # a busy emulator: the next round does it

    def tell(self, runs: list[JobRun]) -> None:
        """Sends the events of the runs that had ended at the call before: on AWS too they come some time later, when
        the manifest's record names the run."""
        finished = {run.run_id: run for run in runs if run.state in FINISHED_STATES}
        for run_id in self._finished & finished.keys() - self._told:
            answer = self._emulator.events.put_events(Entries=[self._entry(finished[run_id])])  # type: ignore[list-item]
            if not answer["FailedEntryCount"]:
                self._told.add(run_id)
        self._finished = set(finished)

    def _entry(self, run: JobRun) -> dict[str, str]:
        """AWS Glue Developer Guide, "Automating AWS Glue with EventBridge"."""
        detail = {
            "jobName": self._deployment.job_name,
            "severity": "INFO" if run.state == "SUCCEEDED" else "ERROR",
            "state": run.state,
            "jobRunId": run.run_id,
            "message": run.error or f"Job run {run.state.lower()}",
        }
        return {"Source": GLUE_SOURCE, "DetailType": "Glue Job State Change", "Detail": json.dumps(detail)}
