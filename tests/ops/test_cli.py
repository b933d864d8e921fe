"""What stands between the shell and AWS: flags, help, and one line for what does not work."""

import shlex
from pathlib import Path
from unittest import mock

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError

from ops import cli
from ops.stack import STACK_VARIABLE, find_stack

OUTPUTS = {
    "InputBucketName": "in",
    "InputQueueUrl": "https://queue",
    "DeadLetterQueueUrl": "https://dlq",
    "StateMachineArn": "arn:machine",
}


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = cli.main(arguments)
    return code, capsys.readouterr().err


def answering(answers: dict[str, object]) -> "mock._patch[object]":
    """AWS that gives these answers; an exception is raised."""

    def answer(self: BaseClient, operation: str, parameters: object) -> object:
        given = answers[operation]
        if isinstance(given, Exception):
            raise given
        return given

    return mock.patch.object(BaseClient, "_make_api_call", answer)


def described(outputs: dict[str, str]) -> dict[str, object]:
    return {
        "DescribeStacks": {
            "Stacks": [{"Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]}]
        },
        "DescribeStackResource": {"StackResourceDetail": {"PhysicalResourceId": "validate-file"}},
        "GetFunctionConfiguration": {"Environment": {"Variables": {"TRACKING_TABLE": "the-table"}}},
    }


def refused(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeStacks")


def test_the_stack_is_found_by_its_outputs_and_its_settings_become_ours() -> None:
    with mock.patch.dict("os.environ"), answering(described(OUTPUTS)):
        import os

        stack = find_stack("the-stack")
        assert os.environ["TRACKING_TABLE"] == "the-table"
    assert (stack.input_bucket, stack.input_queue_url, stack.state_machine_arn) == (
        "in",
        "https://queue",
        "arn:machine",
    )
    assert stack.dead_letter_queue_url == "https://dlq"


def test_the_stack_is_named_by_the_flag_or_else_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STACK_VARIABLE, raising=False)
    assert cli.parse(["status"]).stack == "manifest-builder-dev"
    monkeypatch.setenv(STACK_VARIABLE, "of-the-shell")
    assert cli.parse(["status"]).stack == "of-the-shell"
    assert cli.parse(["status", "--stack", "of-the-flag"]).stack == "of-the-flag"


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        (
            {"DescribeStacks": refused("ValidationError", "Stack with id x does not exist")},
            "there is no stack x in us-east-1: name yours by --stack or MANIFEST_BUILDER_STACK",
        ),
        (described({"Other": "output"}), "the stack x has no output 'InputBucketName', so it is no manifest builder"),
        (
            {"DescribeStacks": refused("ExpiredToken", "The token\nhas expired")},
            "DescribeStacks: ExpiredToken: The token has expired: sign in",
        ),
        ({"DescribeStacks": refused("AccessDenied", "not you")}, "DescribeStacks: AccessDenied: not you"),
        (
            {"DescribeStacks": EndpointConnectionError(endpoint_url="http://nowhere")},
            'Could not connect to the endpoint URL: "http://nowhere": is the network there',
        ),
    ],
    ids=["no stack", "another stack", "expired", "denied", "no network"],
)
def test_what_aws_does_not_answer_is_one_line_with_the_remedy(
    capsys: pytest.CaptureFixture[str], answers: dict[str, object], says: str
) -> None:
    with answering(answers):
        code, err = said(capsys, "status", "--stack", "x")
    assert code == 2
    assert err.startswith(f"error: {says}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("missing", "says"),
    [("AWS_ACCESS_KEY_ID", "credentials"), ("AWS_DEFAULT_REGION", "region")],
)
def test_missing_credentials_and_a_missing_region_are_one_line_with_the_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str, says: str
) -> None:
    for name in (missing, *(["AWS_SECRET_ACCESS_KEY"] if "KEY" in missing else ["AWS_REGION"])):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    code, err = said(capsys, "status")
    assert code == 2
    assert says in err
    assert err.endswith("sign in (aws sso login), or set AWS_PROFILE and AWS_REGION\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [[], ["open-sesame"], ["status", "2025-02-30"], ["flush"], ["where", "s3://bucket-alone"]],
    ids=" ".join,
)
def test_a_mistake_in_the_call_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with mock.patch.object(cli, "find_stack"):
        code, err = said(capsys, *arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_help_of_each_command_has_examples_that_are_right(capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    examples = [line.partition("python -m ops ")[2] for line in printed.splitlines() if "  python -m ops" in line]
    assert examples
    for example in examples:
        assert cli.parse(shlex.split(example)).command == name
