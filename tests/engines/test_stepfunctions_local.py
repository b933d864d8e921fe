"""`make stepfunctions-local`: the execution that it runs, and its errors where it cannot run."""

import json
from pathlib import Path

import pytest

from dev.engines.stepfunctions_local import EVENT, main, read_messages
from toolkit.exit_codes import MISTAKE

EVENTS = EVENT.parent


def test_without_docker_it_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert main([]) == MISTAKE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "error: Docker does not answer: install and start it (https://docs.docker.com/engine/install)\n"
    )


def test_an_event_that_is_not_there_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--event", "no-such.json"]) == MISTAKE
    assert capsys.readouterr().err == "error: no-such.json: No such file or directory\n"


def test_a_batch_is_taken_message_by_message() -> None:
    records = json.loads(EVENT.read_text())["Records"]
    assert read_messages(EVENT) == [{"messageId": each["messageId"], "body": each["body"]} for each in records]


@pytest.mark.parametrize("name", ["s3_put.json", "eventbridge_object_created.json", "malformed_json.txt"])
def test_any_other_event_is_the_body_of_one_message(name: str) -> None:
    assert read_messages(EVENTS / name) == [{"messageId": Path(name).stem, "body": (EVENTS / name).read_text()}]
