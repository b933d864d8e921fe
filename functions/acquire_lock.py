"""AcquireLock: takes the date's lock, so that one run at a time builds its manifests."""

import uuid
from typing import Any

from manifest_builder import clock
from manifest_builder.telemetry import box, count, outcome
from manifest_builder.tracking import locks


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Every call writes a fresh token, so a late call of an earlier round has no effect.

    in:  {"run_id", "execution", "date_prefix", "entered_at"}
    out: {"acquired": bool, "token": text or null}
    """
    token = uuid.uuid4().hex
    acquired = locks.acquire(event["date_prefix"], event["run_id"], token, clock.machine_time(event))
    outcome("acquired" if acquired else "held")
    if not acquired:
        # The holder checks the threshold again after its release, and so finds our files.
        count("LocksContended")
    return {"acquired": acquired, "token": token if acquired else None}
