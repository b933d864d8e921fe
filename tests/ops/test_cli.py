"""Flags and help of the commands, and one line for each error."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from unittest import mock

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError
from rich.table import Table

from manifest_builder.settings import settings
from ops import cli, shell, status
from ops.keys import named_file
from ops.screen import Screen
from ops.stack import STACK_VARIABLE, Stack, find_stack

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
    """An AWS client with these responses. An exception is raised."""

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


def a_stack(name: str = "the-stack") -> Stack:
    return Stack(name, "us-east-1", *OUTPUTS.values())


def refused(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeStacks")


def test_the_stack_is_found_by_its_outputs_and_its_settings_become_ours() -> None:
    with mock.patch.dict("os.environ"), answering(described(OUTPUTS)):
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
        (
            described({"Other": "output"}),
            "the stack x has no output 'InputBucketName', so it is not a manifest builder",
        ),
        (
            {"DescribeStacks": refused("ExpiredToken", "The token\nhas expired")},
            "DescribeStacks: ExpiredToken: The token has expired: sign in",
        ),
        ({"DescribeStacks": refused("AccessDenied", "not you")}, "DescribeStacks: AccessDenied: not you"),
        (
            {"DescribeStacks": EndpointConnectionError(endpoint_url="http://nowhere")},
            'Could not connect to the endpoint URL: "http://nowhere": is the network there',
        ),
        (
            {"DescribeStacks": ParamValidationError(report="Invalid length\nInvalid type")},
            "AWS takes no such argument: Invalid length Invalid type",
        ),
        (
            {"DescribeStacks": OSError("Could not find a suitable TLS CA certificate bundle")},
            "Could not find a suitable TLS CA certificate bundle",
        ),
    ],
    ids=["no stack", "another stack", "expired", "denied", "no network", "no argument", "no certificates"],
)
def test_what_aws_does_not_answer_is_one_line_with_the_remedy(
    capsys: pytest.CaptureFixture[str], answers: dict[str, object], says: str
) -> None:
    with answering(answers):
        code, err = said(capsys, "status", "--stack", "x")
    assert code == 2
    assert err.startswith(f"error: {says}")
    assert err.count("\n") == 1


def test_settings_that_aws_could_not_decrypt_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    error = {"ErrorCode": "AccessDeniedException", "Message": "Lambda was unable to\ndecrypt"}
    answers = described(OUTPUTS) | {"GetFunctionConfiguration": {"Environment": {"Error": error}}}
    with answering(answers):
        code, err = said(capsys, "status")
    assert code == 2
    assert err == (
        "error: the settings of validate-file cannot be read: AccessDeniedException: Lambda was unable to decrypt: "
        "do you have kms:Decrypt for its key?\n"
    )


def test_a_function_without_settings_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with mock.patch.dict("os.environ"), answering(described(OUTPUTS) | {"GetFunctionConfiguration": {}}):
        settings.cache_clear()
        os.environ.pop("MANIFEST_BUCKET", None)
        code, err = said(capsys, "replay", "manifests/2025-12-23/x.json")
    assert code == 2
    said_of_settings = "the settings of the stack manifest-builder-dev are not right"
    assert err == f"error: {said_of_settings}: MANIFEST_BUCKET is not set: it is required\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["where", "a\udcff.ndjson"], "a\\udcff.ndjson is not UTF-8"),
        (["status", "--\x1b[31m"], "unrecognized arguments: --\\x1b[31m"),
        (["where", "a" * 1025], "a" * 60 + "... has 1,025 bytes: no key has more than 1,024"),
    ],
    ids=["not UTF-8", "escape", "long"],
)
def test_a_strange_argument_is_one_line_that_no_terminal_obeys(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    with mock.patch.object(cli, "find_stack"):
        code, err = said(capsys, *arguments)
    assert code == 2
    assert err.startswith(f"error: {says}")
    assert err.count("\n") == 1
    assert err.rstrip("\n").isprintable()


def a_document(stack: object, options: object, screen: Screen) -> int:
    screen.answer({"key": "é"})
    return 0


def a_table(stack: object, options: object, screen: Screen) -> int:
    screen.say(Table("é"))
    return 0


@contextmanager
def printing_to(output: IO[str], what: object) -> Iterator[None]:
    with (
        mock.patch.object(cli, "find_stack"),
        mock.patch.object(status, "run", what),
        mock.patch("sys.stdout", output),
    ):
        yield
    output.close()


@pytest.mark.parametrize(("what", "flags"), [(a_document, ["--json"]), (a_table, [])], ids=["script", "person"])
def test_a_reader_that_has_gone_is_no_error(capsys: pytest.CaptureFixture[str], what: object, flags: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    with printing_to(os.fdopen(write, "w"), what):
        assert said(capsys, "status", *flags) == (141, "")


@pytest.mark.parametrize(("what", "flags"), [(a_document, ["--json"]), (a_table, [])], ids=["script", "person"])
def test_an_output_that_is_full_is_one_line(capsys: pytest.CaptureFixture[str], what: object, flags: list[str]) -> None:
    with printing_to(Path("/dev/full").open("w"), what):
        code, err = said(capsys, "status", *flags)
    assert (code, err) == (2, "error: the output cannot be written: No space left on device\n")


@pytest.mark.parametrize(("what", "flags"), [(a_document, ["--json"]), (a_table, [])], ids=["script", "person"])
def test_an_encoding_that_lacks_a_letter_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, what: object, flags: list[str]
) -> None:
    with printing_to((tmp_path / "out").open("w", encoding="ascii"), what):
        code, err = said(capsys, "status", *flags)
    assert (code, err) == (2, "error: the output's encoding, ascii, cannot spell it: set PYTHONUTF8=1\n")


def test_without_a_standard_input_nobody_is_there_to_confirm(capsys: pytest.CaptureFixture[str]) -> None:
    with mock.patch.object(cli, "find_stack"), mock.patch("sys.stdin", None):
        code, err = said(capsys, "backfill")
    assert code == 2
    assert err.endswith("there is no terminal to confirm it; add --yes\n")


def test_an_interrupted_command_promises_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with mock.patch.object(cli, "find_stack", side_effect=KeyboardInterrupt):
        assert said(capsys, "status") == (130, "\nstopped\n")


def test_what_is_shown_of_a_key_is_obeyed_by_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(as_json=False, yes=True).say("a\x1b[31m\nb :fire: é 日.ndjson")
    assert capsys.readouterr().out == "a\\x1b[31m\\nb :fire: é 日.ndjson\n"


@pytest.mark.parametrize(
    "key",
    [
        "plain.ndjson",
        "inj/$(touch PWNED)-2025-06-01.ndjson",
        "it's",
        'a "b" `c`',
        "a\nb\x1b[31m1'\\",
        "é 日",
        "\u202e1",
    ],
)
def test_a_command_that_is_shown_can_be_pasted_into_a_shell(key: str) -> None:
    line = shell.command(a_stack("it's mine"), "where", key)
    assert line.isprintable()
    typed = subprocess.run(  # the shell splits the words and runs no command
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True
    )
    words = typed.stdout.decode().split("\0")[:-1]
    assert words == ["python", "-m", "ops", "where", key, "--stack", "it's mine"]


def test_a_command_that_is_shown_names_the_stack_where_it_is_not_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STACK_VARIABLE, "of-the-shell")
    assert shell.command(a_stack("of-the-shell"), "status") == "python -m ops status"
    monkeypatch.delenv(STACK_VARIABLE)
    assert shell.command(a_stack("of-the-shell"), "status") == "python -m ops status --stack of-the-shell"


@pytest.mark.parametrize("key", ["-a.ndjson", "s3://b/c", "a.ndjson"])
def test_a_key_that_looks_like_something_else_is_said_as_a_uri(key: str) -> None:
    options = cli.parse(["where", shell.spelled(a_stack(), key)])
    assert named_file(options.key, "in").key == key


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
