"""A test that hangs fails at its time limit, with the stacks of all threads, and its processes are gone."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dev.paths import ROOT

HANGS = """
import subprocess, sys, threading, time

def wait_for_ever():
    while True:
        time.sleep(1)

def test_hangs():
    threading.Thread(target=wait_for_ever, daemon=True, name="the waiting thread").start()
    inner = "import time; time.sleep(1000)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}, {MARK!r}])"
    child = subprocess.Popen([sys.executable, "-c", outer, MARK])
    child.communicate()

def test_is_run_after_it():
    pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_hanging_test_fails_with_all_stacks_and_leaves_no_process(tmp_path: Path) -> None:
    mark = f"mark of {tmp_path}"
    (tmp_path / "test_hangs.py").write_text(f"MARK = {mark!r}\n{HANGS}")
    command = [sys.executable, "-m", "pytest", "-p", "tests.timeouts", "-p", "no:randomly", "-p", "no:cacheprovider"]
    options = ["--timeout", "3", "-o", "addopts=", "--rootdir", str(tmp_path), "-c", str(ROOT / "pyproject.toml")]
    run = subprocess.run(
        [*command, *options, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert run.returncode == 1, run.stdout
    assert "1 failed, 1 passed" in run.stdout
    assert "Timeout (>3.0s) from pytest-timeout" in run.stdout
    assert "child.communicate()" in run.stdout
    everything = run.stdout + run.stderr
    assert "Stack of the waiting thread" in everything
    assert "wait_for_ever" in everything
    assert [command for command in command_lines() if mark in command] == []


def test_every_test_has_a_time_limit() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]

    assert 0 < settings["timeout"] <= 180
    assert settings["timeout_method"] == "signal"


def command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found
