"""Logs and metrics of every box: one JSON line per invocation, metrics in CloudWatch's embedded metric format."""

import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from manifest_builder import clock
from manifest_builder.settings import settings

# Lambda reads the level and the time of a line only if its timestamp is RFC 3339. The place in the code is left out: a
# line is known by its message.
logger = Logger(use_rfc3339=True, location=None)
metrics = Metrics()
# Lambda gives the root logger the function's level. At DEBUG the SDK would log its requests with the session token.
for _library in ("botocore", "boto3", "s3transfer", "urllib3"):
    logging.getLogger(_library).setLevel(logging.INFO)

CLOCKS_APART_SECONDS = 300
LONGEST_STATE_SECONDS = 120
"""An execution ends after this time, and a state of it before."""

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


def box(handler: Handler) -> Handler:
    """Wraps a handler: checks the settings when the function starts, adds box, run, execution, date and file to every
    log line, ends the invocation with one line, and writes the metrics even after an exception.

    The last line has `outcome` (see `outcome`) and `duration_ms`; after a failure also the exception.
    """
    return _with_telemetry(handler, logger.info)


def file_box(handler: Handler) -> Handler:
    """Wraps the handler of a box that every file passes: its last line is DEBUG, as prod would pay for each."""
    return _with_telemetry(handler, logger.debug)


def outcome(name: str, **details: Any) -> None:
    """Sets the outcome, and details, of the line that ends the invocation."""
    logger.append_keys(outcome=name, **details)


def count(name: str, value: float = 1) -> None:
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def count_bytes(name: str, value: int) -> None:
    metrics.add_metric(name=name, unit=MetricUnit.Bytes, value=value)


def gauge_seconds(name: str, value: float) -> None:
    metrics.add_metric(name=name, unit=MetricUnit.Seconds, value=value)


def _with_telemetry(handler: Handler, log: Callable[[str], None]) -> Handler:
    settings()
    # `track_file` is the box `TrackFile`.
    name = "".join(word.capitalize() for word in handler.__module__.split("_"))

    @wraps(handler)
    def with_telemetry(event: dict[str, Any], context: Any) -> dict[str, Any]:
        logger.clear_state()
        logger.append_keys(box=name, **_subject(event))
        _compare_clocks(event)
        started = time.perf_counter()
        try:
            answer = handler(event, context)
        except Exception as error:
            outcome("failed", error=type(error).__name__, duration_ms=_milliseconds_since(started))
            logger.exception("%s failed", name)
            raise
        else:
            logger.append_keys(duration_ms=_milliseconds_since(started))
            log(f"{name} ended")
            return answer
        finally:
            if metrics.metric_set:
                metrics.flush_metrics()

    return with_telemetry


def _compare_clocks(event: dict[str, Any]) -> None:
    """Reports a clock that differs from Step Functions' clock by more than the protocol allows (docs/limits.md)."""
    seconds = (clock.now() - clock.machine_time(event)).total_seconds()
    # The state may have been entered some attempts ago.
    if not -CLOCKS_APART_SECONDS <= seconds <= CLOCKS_APART_SECONDS + LONGEST_STATE_SECONDS:
        logger.error("the clocks of this function and of Step Functions differ", extra={"seconds": seconds})
        count("ClocksApart")


def _subject(event: dict[str, Any]) -> dict[str, Any]:
    subject: dict[str, Any] = {name: event[name] for name in ("run_id", "execution", "date_prefix") if name in event}
    if "file" in event:
        subject["file_path"] = f"s3://{event['file']['bucket']}/{event['file']['key']}"
    return subject


def _milliseconds_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)
