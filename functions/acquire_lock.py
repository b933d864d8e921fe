"""AcquireLock: one run at a time builds manifests for a date."""

import uuid
from typing import Any

from manifest_builder import tracking
from manifest_builder.telemetry import box, count, outcome


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Each time a fresh token is written, so a late call of an earlier round can do nothing.

    in:  {"run_id", "execution", "date_prefix"}
    out: {"acquired": bool, "token": text or null}
    """
    token = uuid.uuid4().hex
    acquired = tracking.acquire_lock(event["date_prefix"], event["run_id"], token)
    outcome("acquired" if acquired else "held")
    if not acquired:
        # Its holder checks again for us after its release.
        count("LocksContended")
    return {"acquired": acquired, "token": token if acquired else None}
