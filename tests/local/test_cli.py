"""Flags of the embedded run: mistakes are one line with a remedy and exit code 2."""

from pathlib import Path

import pytest

from local.cli import MISTAKE, main, parse, stack_parameters, template_parameters
from local.files import SAMPLE_PARAMETERS


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
    assert stack_parameters(parse([])) == SAMPLE_PARAMETERS


def test_own_files_have_the_real_limits_unless_told_otherwise(tmp_path: Path) -> None:
    assert stack_parameters(parse(["--input", str(tmp_path)])) == {}
    given = parse(["--input", str(tmp_path), "--max-batch-gb", "0.1", "--retry-delay-seconds", "5"])
    assert stack_parameters(given) == {"MaxBatchSizeGb": "0.1", "RetryDelaySeconds": "5"}


def test_a_flag_goes_before_the_limits_of_the_sample() -> None:
    assert stack_parameters(parse(["--max-batch-gb", "0.1"]))["MaxBatchSizeGb"] == "0.1"


def test_a_flush_makes_every_pending_file_old_enough() -> None:
    assert stack_parameters(parse(["--flush"]))["FlushAfterMinutes"] == "0"


def test_the_limits_of_the_sample_are_within_the_bounds_of_the_template() -> None:
    for name, value in SAMPLE_PARAMETERS.items():
        declared = template_parameters()[name]
        assert float(declared["MinValue"]) <= float(value) <= float(declared["MaxValue"])
