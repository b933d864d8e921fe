"""ReleaseLock: the finally of the critical section."""

from typing import Any

from manifest_builder import tracking
from manifest_builder.telemetry import box, logger, outcome


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Give the lease up by its token, or by our run where AcquireLock's answer, and the token with it, was lost.

    in:  {"run_id", "execution", "date_prefix", "token": text or null}
    out: {"acquired": false, "token": null}: what the state holds of the lock from now on
    """
    released = tracking.release_lock(event["date_prefix"], event["run_id"], event["token"])
    outcome("released" if released else "not_ours")
    if not released:
        logger.warning("the lock was not ours any more: its lease had ended, or it was never taken")
    return {"acquired": False, "token": None}
