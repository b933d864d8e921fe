"""What each function imports. Every import makes the cold start longer."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from dev.simulator.world import ENVIRONMENT, FUNCTIONS

# Each function is imported once for all tests.
pytestmark = pytest.mark.xdist_group("imports")

CODE = Path(__file__).parents[2] / "functions"
WITHOUT_AWS = {"parse_event", "validate_file", "report_result"}
ALL = {*FUNCTIONS.values(), "start_workflow", "audit_files"}


SESSION = "<a session was made>"


@cache
def modules_of(function: str) -> frozenset[str]:
    """The modules that a fresh interpreter loads when it imports a function; SESSION if the import makes a client."""
    code = (
        f"import json, sys; import {function}; found = set(sys.modules)\n"
        f"if getattr(sys.modules.get('boto3'), 'DEFAULT_SESSION', None): found.add({SESSION!r})\n"
        "print(json.dumps(sorted(found)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CODE), **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
    )
    return frozenset(json.loads(found.stdout))


@pytest.mark.parametrize("function", sorted(WITHOUT_AWS))
def test_a_function_that_calls_no_aws_api_does_not_import_boto3(function: str) -> None:
    modules = modules_of(function)

    assert "boto3" not in modules
    # Powertools imports the botocore package to set its user agent, but no module that makes a client.
    assert not {"botocore.session", "botocore.client", "urllib3"} & modules
    assert not {"manifest_builder.tracking", "manifest_builder.aws"} & modules


def test_every_other_function_imports_boto3() -> None:
    assert {function for function in ALL if "boto3" not in modules_of(function)} == WITHOUT_AWS


def test_only_quarantine_file_imports_the_transfer_of_boto3() -> None:
    assert {function for function in ALL if "boto3.s3.transfer" in modules_of(function)} == {"quarantine_file"}


def test_only_parse_event_imports_the_parser_of_events() -> None:
    assert {function for function in ALL if "manifest_builder.events" in modules_of(function)} == {"parse_event"}


def test_start_workflow_does_not_import_the_table() -> None:
    assert not {"manifest_builder.tracking", "manifest_builder.aws", "boto3.dynamodb"} & modules_of("start_workflow")


@pytest.mark.parametrize("function", sorted(ALL))
def test_no_function_imports_a_package_that_is_not_deployed(function: str) -> None:
    tops = {name.partition(".")[0] for name in modules_of(function)}

    assert not {"moto", "pytest", "tests", "dev", "toolkit", "mypy_boto3_dynamodb", "samtranslator", "pydantic"} & tops


@pytest.mark.parametrize("function", sorted(ALL))
def test_no_client_is_made_before_it_is_needed(function: str) -> None:
    assert SESSION not in modules_of(function)
