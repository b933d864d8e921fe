"""The command of the sweep: it continues after an interruption, and it repeats a single run."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from dev.faults import campaign, command, record
from dev.faults.campaign import Result, Task, identifier
from dev.faults.record import Record
from toolkit.errors import UsageError

FEW = ("--scenario", "old file", "--every", "60")


class PoolOfThisProcess:
    """Performs tasks here, and is interrupted after the given number of them."""

    def __init__(self, interrupted_after: int | None = None) -> None:
        self.interrupted_after = interrupted_after
        self.performed: list[str] = []

    def imap_unordered(self, perform: object, tasks: Sequence[Task]) -> object:
        for task in tasks:
            if len(self.performed) == self.interrupted_after:
                raise KeyboardInterrupt
            (trial,) = task
            self.performed.append(trial.name)
            yield [trial.play()]


@pytest.fixture(autouse=True)
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "build" / "faults.jsonl"
    monkeypatch.setattr(record, "FILE", path)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, pool: PoolOfThisProcess | None = None) -> int:
    monkeypatch.setattr(sys, "argv", ["faults", *arguments])
    monkeypatch.setattr(campaign, "FORKED_RUNS_PER_TASK", 1)
    monkeypatch.setattr(command, "workers", lambda *_: nullcontext(pool))
    return command.main()


def result(name: str, *violations: str) -> Result:
    return Result(name, campaign.CONTROL, violations)


def test_an_interrupted_sweep_continues_without_repeating_a_run(
    monkeypatch: pytest.MonkeyPatch, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = PoolOfThisProcess(interrupted_after=3), PoolOfThisProcess()
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, *FEW, pool=first)
    assert len(file.read_text().splitlines()) == 1 + 3

    assert run(monkeypatch, *FEW, "--resume", pool=second) == 0

    assert second.performed
    assert not set(first.performed) & set(second.performed)
    assert f"{len(first.performed) + len(second.performed)} runs in" in capsys.readouterr().out
    assert not file.exists()


def test_a_result_that_was_written_in_part_is_not_used(file: Path) -> None:
    Record.begin().add([result("one"), result("two", "wrong")])
    file.write_text(file.read_text() + '{"seconds": 1, "resu')

    assert Record.resume().results == [result("one"), result("two", "wrong")]
    assert file.read_text().endswith("}\n")


def test_a_sweep_of_other_code_is_not_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    Record.begin()
    monkeypatch.setattr(record, "code", lambda: "other")
    with pytest.raises(UsageError, match="the code has changed"):
        Record.resume()


def test_a_change_of_the_code_under_test_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(record, "ROOT", tmp_path)
    module = tmp_path / "functions" / "module.py"
    module.parent.mkdir()
    module.write_text("1")
    for name in record.CODE:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if "." in name:
            (tmp_path / name).write_text("")
    before = record.code()
    module.write_text("2")

    assert record.code() != before


def test_without_an_interrupted_sweep_resume_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *FEW, "--resume") == 2
    assert "start one without --resume" in capsys.readouterr().err


def test_a_failure_prints_the_command_that_repeats_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(lab: object) -> list[str]:
        return ["a_rule: is broken"]

    monkeypatch.setattr("dev.faults.sweep.violations", lambda lab: [])
    planned = command.trials(command_options(monkeypatch, *FEW))
    monkeypatch.setattr(command, "trials", lambda options: planned)
    monkeypatch.setattr("dev.faults.sweep.violations", fails)

    assert run(monkeypatch, *FEW, pool=PoolOfThisProcess()) == 1
    printed = capsys.readouterr()
    assert "a_rule: is broken" in printed.err
    assert "the promise does NOT hold" in printed.out
    assert f'again: make faults ARGS="--run {identifier(planned[0].name)}"' in printed.err

    assert run(monkeypatch, "--run", identifier(planned[0].name)) == 1
    printed = capsys.readouterr()
    assert planned[0].name in printed.out
    assert "a_rule: is broken" in printed.out


def test_a_run_that_does_not_exist_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *FEW, "--run", "12345678") == 2
    assert "no run has the identifier 12345678" in capsys.readouterr().err


def test_every_run_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [trial.name for trial in command.trials(command_options(monkeypatch))]

    assert len({identifier(name) for name in names}) == len(names)


def command_options(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> argparse.Namespace:
    monkeypatch.setattr(sys, "argv", ["faults", *arguments])
    return command.parse()
