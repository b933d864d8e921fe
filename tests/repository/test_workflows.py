"""The workflows of GitHub Actions run commands that exist, on the versions that the project is for."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.engines.container import IMAGE
from dev.paths import ROOT
from dev.template import template

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def jobs(workflow: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(workflow.read_text())["jobs"]
    return found


def commands(workflow: Path) -> list[str]:
    return [step["run"] for job in jobs(workflow).values() for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_make_targets_that_exist(workflow: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = [target for command in commands(workflow) for target in re.findall(r"^make (\S+)", command)]

    assert targets
    for target in targets:
        environment = re.fullmatch(r"\.venv/(\w+)/\.installed", target)
        if environment:
            assert (ROOT / "requirements" / f"{environment[1]}.txt").exists()
        else:
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_the_token_may_only_read(workflow: Path) -> None:
    text = workflow.read_text()

    for line in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", line), line
    assert yaml.safe_load(text)["permissions"] == {}
    for job in jobs(workflow).values():
        assert job["permissions"] == {"contents": "read"}
        assert job["timeout-minutes"] <= 180


def test_tests_run_on_the_oldest_python_and_on_that_of_lambda() -> None:
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    of_lambda = template()["Globals"]["Function"]["Runtime"].removeprefix("python")
    tests = jobs(ROOT / ".github" / "workflows" / "ci.yml")["test"]

    assert tests["strategy"]["matrix"]["python"] == [oldest, of_lambda]


def test_the_image_of_step_functions_local_is_there_for_its_tests() -> None:
    assert f"docker pull {IMAGE}" in commands(ROOT / ".github" / "workflows" / "ci.yml")


def test_the_sweep_runs_every_week() -> None:
    sweep = yaml.safe_load((ROOT / ".github" / "workflows" / "faults.yml").read_text())

    # YAML 1.1 reads the key `on` as true.
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", sweep[True]["schedule"][0]["cron"])
