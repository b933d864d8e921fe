"""What a function imports is what its cold start costs."""

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
ALL = {*FUNCTIONS.values(), "start_workflow"}


SESSION = "<a session was made>"


@cache
def modules_of(function: str) -> frozenset[str]:
    """The modules loaded by importing a function in a fresh interpreter, and SESSION if it made a client."""
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
    # Powertools loads botocore's package to set its user agent, but nothing that makes a client.
    assert not {"botocore.session", "botocore.client", "urllib3"} & modules
    assert not {"manifest_builder.tracking", "manifest_builder.aws"} & modules


def test_the_functions_without_aws_are_all_that_there_are() -> None:
    assert {function for function in ALL if "boto3" not in modules_of(function)} == WITHOUT_AWS


def test_copying_is_imported_where_files_are_copied_and_nowhere_else() -> None:
    assert {function for function in ALL if "boto3.s3.transfer" in modules_of(function)} == {"quarantine_file"}


def test_events_are_read_by_the_function_that_parses_them_alone() -> None:
    assert {function for function in ALL if "manifest_builder.events" in modules_of(function)} == {"parse_event"}


def test_start_workflow_does_not_import_the_table() -> None:
    assert not {"manifest_builder.tracking", "manifest_builder.aws", "boto3.dynamodb"} & modules_of("start_workflow")


@pytest.mark.parametrize("function", sorted(ALL))
def test_no_function_imports_what_lambda_would_not_have(function: str) -> None:
    tops = {name.partition(".")[0] for name in modules_of(function)}

    assert not {"moto", "pytest", "tests", "dev", "toolkit", "mypy_boto3_dynamodb", "samtranslator", "pydantic"} & tops


@pytest.mark.parametrize("function", sorted(ALL))
def test_no_client_is_made_before_it_is_needed(function: str) -> None:
    assert SESSION not in modules_of(function)
