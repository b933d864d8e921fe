"""Logs and metrics, the same for every box: one JSON line per event, metrics in CloudWatch's embedded format."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from manifest_builder.settings import settings

logger = Logger()
metrics = Metrics()
# Lambda gives the root logger the function's level. At DEBUG the SDK logs its requests, session token and all.
for _library in ("botocore", "boto3", "s3transfer", "urllib3"):
    logging.getLogger(_library).setLevel(logging.INFO)

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


def box(handler: Handler) -> Handler:
    """Wrap a handler: settings are checked when the function starts, every log line says which run, date and file it
    is about, a failure is logged once, and metrics are written whatever happens."""
    settings()

    @wraps(handler)
    def with_telemetry(event: dict[str, Any], context: Any) -> dict[str, Any]:
        logger.clear_state()
        logger.append_keys(**_subject(event))
        try:
            return handler(event, context)
        except Exception:
            logger.exception("%s failed", handler.__module__)
            raise
        finally:
            if metrics.metric_set:
                metrics.flush_metrics()

    return with_telemetry


def count(name: str, value: float = 1) -> None:
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def count_bytes(name: str, value: int) -> None:
    metrics.add_metric(name=name, unit=MetricUnit.Bytes, value=value)


def gauge_seconds(name: str, value: float) -> None:
    metrics.add_metric(name=name, unit=MetricUnit.Seconds, value=value)


def _subject(event: dict[str, Any]) -> dict[str, Any]:
    subject: dict[str, Any] = {name: event[name] for name in ("run_id", "date_prefix") if name in event}
    if "file" in event:
        subject["file_path"] = f"s3://{event['file']['bucket']}/{event['file']['key']}"
    return subject
