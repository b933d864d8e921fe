"""AcquireLock: one run at a time builds manifests for a date."""

import uuid
from typing import Any

from manifest_builder import tracking
from manifest_builder.telemetry import box, count, logger


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Each time a fresh token is written, so a late call of an earlier round can do nothing.

    in:  {"run_id", "date_prefix"}
    out: {"acquired": bool, "token": text or null}
    """
    token = uuid.uuid4().hex
    acquired = tracking.acquire_lock(event["date_prefix"], event["run_id"], token)
    if not acquired:
        count("LocksContended")
        logger.info("lock held by another run: it checks again for us after its release")
    return {"acquired": acquired, "token": token if acquired else None}
