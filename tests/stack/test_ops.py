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

DATE = "2031-05-01"


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


def test_a_file_that_was_never_announced_is_backfilled_and_found(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket, s3, key = stack.deployment.input_bucket, stack.emulator.s3, f"{DATE}/never announced.ndjson"
    notification = s3.get_bucket_notification_configuration(Bucket=bucket)
    announced: Any = {"QueueConfigurations": notification["QueueConfigurations"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=b'{"a": 1}\n' * 5000)
    finally:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=announced)

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
