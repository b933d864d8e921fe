"""CheckThreshold: says whether there is a manifest to build or to resume for this date."""

from typing import Any

from manifest_builder import clock
from manifest_builder.planning import plan
from manifest_builder.settings import settings
from manifest_builder.telemetry import box, outcome

# 45 s here + 70 s for the critical section stay within the 120 s of the state machine.
LATEST_START_SECONDS = 45


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Runs for every date, even if all its files were duplicates: a redelivered file finds an abandoned build.

    in:  {"run_id", "execution", "date_prefix", "flush_before", "batch_index", "started_at", "entered_at"}
    out: {"build": bool, "reason": "resume" | "batch" | "below" | "late", "batch_index": n, "jobs_waiting": n}
    `batch_index` counts the batches that this execution has decided to cut for the date; `jobs_waiting` the manifests
    whose start was attempted less than START_SETTLE_SECONDS ago.
    """
    batch_index: int = event["batch_index"]
    entered, began = clock.machine_time(event), clock.now()
    next_step = plan(
        event["date_prefix"],
        settings().max_batch_bytes,
        date_started=batch_index > 0,
        flush_before=event["flush_before"],
        at=entered,
    )
    reason = "resume" if next_step.manifest else "batch" if next_step.batch.files else "below"
    # Up to this state by the machine's clock; from there by ours, as reading a long backlog takes time.
    if clock.age_seconds(event["started_at"], entered + (clock.now() - began)) > LATEST_START_SECONDS:
        # A new critical section would not end within the execution. The next execution continues.
        reason = "late"
    outcome(reason, jobs_waiting=next_step.waiting)
    return {
        "build": reason in ("resume", "batch"),
        "reason": reason,
        "batch_index": batch_index + (reason == "batch"),
        "jobs_waiting": next_step.waiting,
    }
