"""The operators' commands on the deployed stack: they find the stack and read its real contents."""

import json
from collections.abc import Iterator
from typing import Any
from unittest import mock

import boto3
import pytest

from manifest_builder import announcements, aws
from manifest_builder.settings import settings
from ops import cli
from tests.stack.stack import Stack, eventually

DATE, AUDITED, ALSO_AUDITED = "2031-05-01", "2031-05-02", "2031-05-03"


@pytest.fixture(autouse=True)
def as_the_shell_is_told_to(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    caches = (settings, aws.dynamodb, aws.s3, aws.s3_for_lists, announcements.sqs)
    with mock.patch.dict("os.environ", stack.emulator.environment()):
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        for cache in caches:
            cache.cache_clear()
        yield
    for cache in caches:
        cache.cache_clear()


def put_without_event(stack: Stack, key: str) -> None:
    bucket, s3 = stack.deployment.input_bucket, stack.emulator.s3
    notification = s3.get_bucket_notification_configuration(Bucket=bucket)
    announced: Any = {"QueueConfigurations": notification["QueueConfigurations"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=b'{"a": 1}\n' * 5000)
    finally:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=announced)


def test_a_file_that_was_never_announced_is_backfilled_and_found(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    key = f"{DATE}/never announced.ndjson"
    put_without_event(stack, key)

    def ops(*arguments: str) -> int:
        capsys.readouterr()
        return cli.main([*arguments, "--json", "--stack", stack.deployment.stack_name])

    assert ops("where", key) == 1
    assert ops("backfill", DATE, "--yes") == 0
    assert eventually(lambda: ops("where", key), lambda code: code == 0) == 0
    assert json.loads(capsys.readouterr().out)["found"][0]["status"] == "pending"
    assert ops("backfill", DATE, "--dry-run") == 0
    assert json.loads(capsys.readouterr().out)["unknown"] == 0
    assert ops("status", DATE) == 0
    assert json.loads(capsys.readouterr().out)["dates"][0]["pending_files"] == 1
    assert cli.main(["status", "--stack", "no-such-stack"]) == 2
    assert "there is no stack no-such-stack in us-east-1" in capsys.readouterr().err


def test_a_file_that_was_never_announced_is_found_and_repaired_by_an_audit(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    put_without_event(stack, f"{AUDITED}/never announced.ndjson")

    def audit(*arguments: str) -> int:
        capsys.readouterr()
        return cli.main(
            ["audit", AUDITED, "--grace", "0", "--json", "--stack", stack.deployment.stack_name, *arguments]
        )

    assert audit("--repair", "--yes") == 1
    assert json.loads(capsys.readouterr().out)["repair"]["sent"] == 1
    assert eventually(audit, lambda code: code == 0) == 0
    assert json.loads(capsys.readouterr().out)["states"]["pending"] == 1


def test_the_scheduled_audit_runs_with_its_own_rights(stack: Stack) -> None:
    put_without_event(stack, f"{ALSO_AUDITED}/too young.ndjson")
    answer = boto3.client("lambda").invoke(FunctionName=f"{stack.deployment.stack_name}-audit-files", Payload=b"{}")
    assert "FunctionError" not in answer
    found = json.load(answer["Payload"])
    assert (found["complete"], found["missing"], found["problems"]) == (True, 0, 0)
    assert found["files"] >= 1
