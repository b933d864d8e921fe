"""ReleaseLock: gives the date's lock back, after success and failure alike (the `finally` of the build)."""

from typing import Any

from manifest_builder.telemetry import box, logger, outcome
from manifest_builder.tracking import locks


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Deletes the lock by its token; by our run if AcquireLock's response, and the token with it, was lost.

    in:  {"run_id", "execution", "date_prefix", "token": text or null}
    out: {"acquired": false, "token": null}: the lock's part of the state from now on
    """
    released = locks.release(event["date_prefix"], event["run_id"], event["token"])
    outcome("released" if released else "not_ours")
    if not released:
        logger.warning("the lock was not released: its lease had ended and another run took it, or it was never taken")
    return {"acquired": False, "token": None}
