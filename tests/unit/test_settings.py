"""The environment variables of the specification: defaults, bounds, and the messages for invalid values."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dev.simulator.world import ENVIRONMENT
from manifest_builder.errors import SettingsError
from manifest_builder.settings import read_settings, read_start_settings

FUNCTIONS = Path(__file__).parents[2] / "functions"
REQUIRED = {"MANIFEST_BUCKET": "manifests", "TRACKING_TABLE": "tracking", "GLUE_JOB_NAME": "job"}
START = {
    "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:123456789012:stateMachine:m",
    "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/q",
    "DEAD_LETTER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/dead",
}


def test_the_defaults_are_those_of_the_specification() -> None:
    settings = read_settings(REQUIRED)

    assert settings.manifest_bucket == "manifests"
    assert settings.tracking_table == "tracking"
    assert settings.glue_job_name == "job"
    assert settings.quarantine_bucket is None
    assert settings.max_batch_bytes == int(0.7 * 1024**3) == 751_619_276
    assert settings.min_file_bytes == 104_858, "0.1 MB is 104857.6 bytes"
    assert settings.max_file_bytes == 20_866_662, "19.9 MB is 20866662.4 bytes"
    assert settings.lock_ttl_seconds == 300
    assert settings.flush_after_minutes == 1440
    assert settings.retention_days == 0
    assert settings.event_bus_name == "default"


@pytest.mark.parametrize("name", sorted(REQUIRED))
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_required_variable_that_is_missing_is_named(name: str, value: str | None) -> None:
    environ = {**REQUIRED, name: value} if value is not None else {k: v for k, v in REQUIRED.items() if k != name}

    with pytest.raises(SettingsError, match=f"^{name} is not set: it is required$"):
        read_settings(environ)


@pytest.mark.parametrize("name", sorted(START))
def test_start_workflow_names_a_missing_variable(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is not set: it is required$"):
        read_start_settings({k: v for k, v in START.items() if k != name})


ABSURD = [
    ("RETENTION_DAYS", "-1", "at least 0"),
    ("RETENTION_DAYS", "3651", "at most 3650"),
    ("RETENTION_DAYS", "1.5", "a whole number"),
    ("MAX_BATCH_SIZE_GB", "0", "more than 0"),
    ("MAX_BATCH_SIZE_GB", "-0.7", "more than 0"),
    ("MAX_BATCH_SIZE_GB", "1024.1", "at most 1024"),
    ("MAX_BATCH_SIZE_GB", "700 MB", "a number"),
    ("MAX_BATCH_SIZE_GB", "0,7", "a number"),
    ("MAX_BATCH_SIZE_GB", "nan", "at most 1024"),
    ("MAX_BATCH_SIZE_GB", "inf", "at most 1024"),
    ("EXPECTED_FILE_SIZE_MB", "0", "more than 0"),
    ("EXPECTED_FILE_SIZE_MB", "ten", "a number"),
    ("EXPECTED_FILE_SIZE_MB", "1048577", "at most 1048576"),
    ("SIZE_TOLERANCE_PERCENT", "-1", "at least 0"),
    ("SIZE_TOLERANCE_PERCENT", "100.5", "at most 100"),
    ("SIZE_TOLERANCE_PERCENT", "99%", "a number"),
    ("LOCK_TTL_SECONDS", "239", "at least 240"),
    ("LOCK_TTL_SECONDS", "43201", "at most 43200"),
    ("LOCK_TTL_SECONDS", "300.5", "a whole number"),
    ("LOCK_TTL_SECONDS", "5m", "a number"),
    ("FLUSH_AFTER_MINUTES", "-1", "at least 0"),
    ("FLUSH_AFTER_MINUTES", "525601", "at most 525600"),
    ("FLUSH_AFTER_MINUTES", "1.5", "a whole number"),
    ("EVENT_BUS_NAME", "a bus", "the name of an event bus, or none"),
]


@pytest.mark.parametrize(("name", "value", "rule"), ABSURD)
def test_the_error_for_an_invalid_value_names_the_variable_the_value_and_the_rule(
    name: str, value: str, rule: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings({**REQUIRED, name: value})

    assert str(refused.value) == f"{name} is {value!r}: it must be {rule}"


@pytest.mark.parametrize(("value", "rule"), [("-1", "at least 0"), ("901", "at most 900"), ("soon", "a number")])
def test_an_invalid_retry_delay_is_refused(value: str, rule: str) -> None:
    with pytest.raises(SettingsError, match=f"^RETRY_DELAY_SECONDS is '{value}': it must be {rule}$"):
        read_start_settings({**START, "RETRY_DELAY_SECONDS": value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_BATCH_SIZE_GB", "1024"),
        ("EXPECTED_FILE_SIZE_MB", "1048576"),
        ("SIZE_TOLERANCE_PERCENT", "0"),
        ("SIZE_TOLERANCE_PERCENT", "100"),
        ("LOCK_TTL_SECONDS", "240"),
        ("LOCK_TTL_SECONDS", "43200"),
        ("FLUSH_AFTER_MINUTES", "0"),
        ("FLUSH_AFTER_MINUTES", "525600"),
    ],
)
def test_the_bounds_themselves_are_allowed(name: str, value: str) -> None:
    read_settings({**REQUIRED, name: value})


@pytest.mark.parametrize("seconds", [0, 900])
def test_the_bounds_of_the_retry_delay_are_allowed(seconds: int) -> None:
    assert read_start_settings({**START, "RETRY_DELAY_SECONDS": str(seconds)}).retry_delay_seconds == seconds


def test_an_empty_optional_variable_has_its_default() -> None:
    settings = read_settings({**REQUIRED, "MAX_BATCH_SIZE_GB": "", "QUARANTINE_BUCKET": ""})

    assert settings.max_batch_bytes == 751_619_276
    assert settings.quarantine_bucket is None


def test_sizes_are_exact_even_if_binary_floats_are_off_by_one_byte() -> None:
    settings = read_settings({**REQUIRED, "EXPECTED_FILE_SIZE_MB": "10", "SIZE_TOLERANCE_PERCENT": "70"})

    assert (settings.min_file_bytes, settings.max_file_bytes) == (3 * 1024**2, 17 * 1024**2)


def test_a_batch_holds_at_least_one_byte_however_small_its_limit() -> None:
    assert read_settings({**REQUIRED, "MAX_BATCH_SIZE_GB": "0.0000000001"}).max_batch_bytes == 1


@pytest.mark.parametrize(
    ("function", "variable"),
    [("validate_file", "MANIFEST_BUCKET"), ("start_workflow", "QUEUE_URL"), ("audit_files", "INPUT_BUCKET")],
)
def test_a_function_does_not_start_without_its_variables(function: str, variable: str) -> None:
    environ = {name: value for name, value in ENVIRONMENT.items() if name != variable}

    started = subprocess.run(
        [sys.executable, "-c", f"import {function}"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(FUNCTIONS), **environ},
        capture_output=True,
        text=True,
        check=False,
    )

    assert started.returncode != 0
    assert started.stderr.splitlines()[-1].endswith(f"SettingsError: {variable} is not set: it is required")


@pytest.mark.parametrize(
    "values", [{"EXPECTED_FILE_SIZE_MB": "0.0000001"}, {"EXPECTED_FILE_SIZE_MB": "0.3", "SIZE_TOLERANCE_PERCENT": "0"}]
)
def test_a_size_range_that_holds_no_file_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="SIZE"):
        read_settings(REQUIRED | values)


def test_the_bus_none_is_no_bus() -> None:
    assert read_settings(REQUIRED | {"EVENT_BUS_NAME": "none"}).event_bus_name is None


def test_a_blank_quarantine_bucket_is_no_bucket() -> None:
    assert read_settings(REQUIRED | {"QUARANTINE_BUCKET": "  "}).quarantine_bucket is None
