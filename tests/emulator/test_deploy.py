"""The embedded run makes exactly these changes to the template."""

import difflib
import io
import zipfile

import pytest

from dev.emulator.deploy import local_template, zip_folder
from dev.emulator.errors import DeployError
from dev.paths import CODE, TEMPLATE

TEXT = TEMPLATE.read_text()


def changed_lines(enforce_policies: bool) -> list[str]:
    changed = local_template(TEXT, enforce_policies)
    lines = difflib.ndiff(TEXT.splitlines(), changed.splitlines())
    return [line[2:].strip() for line in lines if line.startswith("+ ")]


def test_only_uploads_the_glue_integration_and_the_source_of_glues_events_are_replaced() -> None:
    assert changed_lines(enforce_policies=False) == [
        "CodeUri: s3://manifest-builder-artifacts/functions.zip",
        "DefinitionUri: s3://manifest-builder-artifacts/manifest_builder.asl.json",
        "GlueStartJobRunResource: !Sub arn:${AWS::Partition}:states:::aws-sdk:glue:startJobRun",
        "source: [emulator.glue]",
    ]


def test_with_policies_enforced_plain_http_and_the_batch_action_are_let_through_too() -> None:
    more = set(changed_lines(enforce_policies=True)) - set(changed_lines(enforce_policies=False))
    http, batch = sorted(more, reverse=True)
    assert http == 'Bool: {aws:SecureTransport: "never"}'
    assert batch.startswith("Action: [sqs:")
    assert batch.endswith("sqs:ChangeMessageVisibility*]")


def test_a_template_that_has_moved_on_is_noticed() -> None:
    with pytest.raises(DeployError, match="'CodeUri: functions/'"):
        local_template(TEXT.replace("CodeUri: functions/", "CodeUri: code/"), enforce_policies=False)


def test_the_zip_holds_the_handlers_at_its_root_and_no_bytecode() -> None:
    names = zipfile.ZipFile(io.BytesIO(zip_folder(CODE))).namelist()
    assert {"start_workflow.py", "manifest_builder/tracking/locks.py"} <= set(names)
    assert all(name.endswith(".py") for name in names)
