"""Flags of the embedded run, and its error if the page cannot be written."""

import io
from pathlib import Path
from unittest import mock

import pytest
from rich.console import Console

from dev.run import cli
from dev.run.cli import ASKED_AT_EVERY_SWEEP, main, parse, stack_parameters
from dev.run.files import SAMPLE_PARAMETERS
from dev.template import template
from tests.run.kept import kept
from toolkit.exit_codes import MISTAKE
from toolkit.steps import Steps


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--input", "no-such-folder"], "there is no folder no-such-folder"),
        (["--unknown"], "unrecognized arguments: --unknown"),
        (["--max-batch-gb", "much"], "'much' is not a number from"),
        (["--max-batch-gb", "0"], "'0' is not a number from"),
        (["--max-batch-gb", "nan"], "'nan' is not a number from"),
        (["--max-concurrency", "1"], "'1' is not a number from 2 to 1000"),
        (["--max-concurrency", "2.5"], "'2.5' is not a whole number"),
        (["--date", "2025-99-99", "--input", "."], "'2025-99-99' is not a date like 2025-12-23"),
        (["--input", ""], "name a folder"),
        (["--date", "2025-12-23"], "--date is for --input"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == MISTAKE == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert says in captured.err


def test_the_sample_has_limits_of_its_own() -> None:
    assert stack_parameters(parse([])) == ASKED_AT_EVERY_SWEEP | SAMPLE_PARAMETERS


def test_own_files_have_the_real_limits_unless_told_otherwise(tmp_path: Path) -> None:
    assert stack_parameters(parse(["--input", str(tmp_path)])) == ASKED_AT_EVERY_SWEEP
    given = parse(["--input", str(tmp_path), "--max-batch-gb", "0.1", "--retry-delay-seconds", "5"])
    assert stack_parameters(given) == ASKED_AT_EVERY_SWEEP | {"MaxBatchSizeGb": "0.1", "RetryDelaySeconds": "5"}


def test_a_flag_goes_before_the_limits_of_the_sample() -> None:
    assert stack_parameters(parse(["--max-batch-gb", "0.1"]))["MaxBatchSizeGb"] == "0.1"


def test_a_flush_makes_every_pending_file_old_enough() -> None:
    assert stack_parameters(parse(["--flush"]))["FlushAfterMinutes"] == "0"


def test_the_limits_of_the_sample_are_within_the_bounds_of_the_template() -> None:
    for name, value in SAMPLE_PARAMETERS.items():
        declared = template()["Parameters"][name]
        assert float(declared["MinValue"]) <= float(value) <= float(declared["MaxValue"])


def test_a_page_that_the_disk_does_not_take_breaks_no_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "read_executions", lambda *_: [])
    (tmp_path / "file").touch()
    output = io.StringIO()
    steps = Steps(Console(file=output, width=130))
    assert cli.draw(steps, mock.Mock(), mock.Mock(), kept(), tmp_path / "file" / "run.html") is None
    assert "✗ Executions not drawn" in output.getvalue()
    assert cli.draw(steps, mock.Mock(), mock.Mock(), kept(), tmp_path / "run.html") == tmp_path / "run.html"
    assert (tmp_path / "run.html").exists()
