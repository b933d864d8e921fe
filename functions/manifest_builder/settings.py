"""Settings from the environment variables of the specification, read and checked once per process."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from functools import cache

from manifest_builder.errors import SettingsError

MB = 1024**2
GB = 1024**3


@dataclass(frozen=True, slots=True)
class Settings:
    """Checked settings. Sizes are bytes, durations seconds unless the name says otherwise."""

    manifest_bucket: str
    tracking_table: str
    quarantine_bucket: str | None
    glue_job_name: str
    max_batch_bytes: int
    min_file_bytes: int
    max_file_bytes: int
    lock_ttl_seconds: int
    flush_after_minutes: int
    job_retries: int
    outcome_after_minutes: int
    alarm_topic_arn: str | None
    retention_days: int
    """Days for which rows of finished files are kept; 0: for ever."""
    event_bus_name: str | None
    """The bus that gets the events of the workflow; None: no events are sent."""
    event_source: str
    """The `source` of these events: the stack's NamePrefix."""


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from `environ`; raises SettingsError naming the variable and the rule it broke."""
    expected_mb = _number(environ, "EXPECTED_FILE_SIZE_MB", "10", above=Decimal(0), at_most=Decimal(1024**2))
    tolerance = _number(environ, "SIZE_TOLERANCE_PERCENT", "99", at_least=Decimal(0), at_most=Decimal(100)) / 100
    max_batch_gb = _number(environ, "MAX_BATCH_SIZE_GB", "0.7", above=Decimal(0), at_most=Decimal(1024))
    # The limits are inclusive (specification, validate_file), so they are rounded into the range.
    smallest = (expected_mb * (1 - tolerance) * MB).to_integral_value(ROUND_CEILING)
    largest = (expected_mb * (1 + tolerance) * MB).to_integral_value(ROUND_FLOOR)
    if largest < max(Decimal(1), smallest):
        raise SettingsError(
            f"EXPECTED_FILE_SIZE_MB is {expected_mb} and SIZE_TOLERANCE_PERCENT is {tolerance * 100}: "
            "no whole number of bytes lies in that range"
        )
    return Settings(
        manifest_bucket=_required(environ, "MANIFEST_BUCKET"),
        tracking_table=_required(environ, "TRACKING_TABLE"),
        quarantine_bucket=environ.get("QUARANTINE_BUCKET", "").strip() or None,
        glue_job_name=_required(environ, "GLUE_JOB_NAME"),
        max_batch_bytes=max(1, int(max_batch_gb * GB)),
        min_file_bytes=int(smallest),
        max_file_bytes=int(largest),
        # Above the 150 s of start_workflow, so that no lease ends during its execution.
        lock_ttl_seconds=_whole(environ, "LOCK_TTL_SECONDS", "300", at_least=240, at_most=43200),
        flush_after_minutes=_whole(environ, "FLUSH_AFTER_MINUTES", "1440", at_least=0, at_most=525600),
        job_retries=_whole(environ, "JOB_RETRIES", "1", at_least=0, at_most=10),
        outcome_after_minutes=_whole(environ, "OUTCOME_AFTER_MINUTES", "60", at_least=0, at_most=10080),
        alarm_topic_arn=environ.get("ALARM_TOPIC_ARN", "").strip() or None,
        retention_days=_whole(environ, "RETENTION_DAYS", "0", at_least=0, at_most=3650),
        event_bus_name=_bus_name(environ),
        event_source=environ.get("POWERTOOLS_SERVICE_NAME", "").strip() or "manifest-builder",
    )


@dataclass(frozen=True, slots=True)
class StartSettings:
    """Settings that only start_workflow needs."""

    state_machine_arn: str
    queue_url: str
    dead_letter_queue_url: str
    retry_delay_seconds: int


def read_start_settings(environ: Mapping[str, str]) -> StartSettings:
    """Settings of start_workflow; raises SettingsError naming the variable and the rule it broke."""
    return StartSettings(
        state_machine_arn=_required(environ, "STATE_MACHINE_ARN"),
        queue_url=_required(environ, "QUEUE_URL"),
        dead_letter_queue_url=_required(environ, "DEAD_LETTER_QUEUE_URL"),
        retry_delay_seconds=_whole(environ, "RETRY_DELAY_SECONDS", "60", at_least=0, at_most=900),
    )


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Settings that only audit_files needs."""

    input_bucket: str
    queue_url: str


def read_audit_settings(environ: Mapping[str, str]) -> AuditSettings:
    """Settings of audit_files; raises SettingsError naming the variable and the rule it broke."""
    return AuditSettings(input_bucket=_required(environ, "INPUT_BUCKET"), queue_url=_required(environ, "QUEUE_URL"))


@cache
def settings() -> Settings:
    """The settings of this process."""
    return read_settings(os.environ)


@cache
def start_settings() -> StartSettings:
    """The settings of the process of start_workflow."""
    return read_start_settings(os.environ)


@cache
def audit_settings() -> AuditSettings:
    """The settings of the process of audit_files."""
    return read_audit_settings(os.environ)


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set: it is required")
    return value


def _bus_name(environ: Mapping[str, str]) -> str | None:
    name = environ.get("EVENT_BUS_NAME", "").strip() or "default"
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,256}", name):
        raise SettingsError(f"EVENT_BUS_NAME is {name!r}: it must be the name of an event bus, or none")
    return None if name == "none" else name


def _whole(environ: Mapping[str, str], name: str, default: str, *, at_least: int, at_most: int) -> int:
    value = _number(environ, name, default, at_least=Decimal(at_least), at_most=Decimal(at_most))
    if value != int(value):
        raise SettingsError(f"{name} is {environ[name]!r}: it must be a whole number")
    return int(value)


def _number(
    environ: Mapping[str, str],
    name: str,
    default: str,
    *,
    at_most: Decimal,
    at_least: Decimal | None = None,
    above: Decimal | None = None,
) -> Decimal:
    text = environ.get(name) or default
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise SettingsError(f"{name} is {text!r}: it must be a number") from None
    if not value.is_finite() or value > at_most:
        raise SettingsError(f"{name} is {text!r}: it must be at most {at_most}")
    if at_least is not None and value < at_least:
        raise SettingsError(f"{name} is {text!r}: it must be at least {at_least}")
    if above is not None and value <= above:
        raise SettingsError(f"{name} is {text!r}: it must be more than {above}")
    return value
