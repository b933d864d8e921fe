"""`python -m dev.run` and other long commands, started as a user starts them, and the processes that they start."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from dev.emulator.emulator import CREDENTIALS
from dev.paths import CODE, ROOT
from tests.stack.stack import eventually

pytestmark = [
    pytest.mark.xdist_group("run"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]

LISTENING = "0A"
LOOPBACK = "0100007F"


class Run:
    """A command with its own temporary folder, which identifies its processes."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.folder = folder
        # As a shell starts a background job: with SIGINT ignored.
        ignored = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(CODE)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        finally:
            signal.signal(signal.SIGINT, ignored)

    def end(self) -> tuple[int, str]:
        """The exit code and the whole output."""
        output, _ = self.process.communicate(timeout=300)
        return self.process.returncode, output

    def read_until(self, text: str) -> str:
        """The output up to the line with this text."""
        assert self.process.stdout is not None
        printed = ""
        while text not in printed:
            line = self.process.stdout.readline()
            assert line, printed
            printed += line
        return printed

    def processes(self) -> dict[int, str]:
        """Command lines of every process that has this run's folder in its environment, less the run itself."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                environment, command = (path / "environ").read_bytes(), (path / "cmdline").read_bytes()
            except OSError:
                continue
            if b"TMPDIR=" + os.fsencode(self.folder) in environment and int(path.name) != self.process.pid:
                found[int(path.name)] = command.replace(b"\0", b" ").decode()
        return found

    def wait_for_a_function(self) -> None:
        """Waits until the emulator runs one of the functions."""
        eventually(self.processes, lambda found: any("worker" in command for command in found.values()))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start_run(*arguments: str, module: str = "dev.run") -> Run:
        page = ["--page", str(tmp_path / "run.html")] if module == "dev.run" else []
        runs.append(Run(tmp_path, [sys.executable, "-m", module, *page, *arguments]))
        return runs[-1]

    yield start_run
    for run in runs:
        run.process.kill()
        run.process.communicate()


def assert_nothing_is_left(run: Run) -> None:
    eventually(run.processes, lambda found: not found)
    assert list(run.folder.glob("manifest-builder-*")) == []


def test_the_sample_keeps_the_promise_and_shows_how(start: Callable[..., Run]) -> None:
    run = start()
    code, output = run.end()
    assert code == 0, output
    assert "promise kept: 59 files in 60 versions" in output
    assert "Dead-letter queue" in output
    assert_nothing_is_left(run)

    assert output.splitlines()[-1] == f"every execution, state by state: {run.folder / 'run.html'}"
    executions = data_of(run.folder / "run.html")["executions"]
    files = [file for execution in executions for file in execution["files"]]
    assert len({file["uri"] for file in files}) == 59
    assert {file["outcome"] for file in files} >= {"tracked", "quarantined", "duplicate", "deleted"}
    assert "unknown" not in {file["outcome"] for file in files}
    created = [each for execution in executions for each in execution["manifests"] if not each["isResumed"]]
    assert f"{len(created)} manifests" in output.splitlines()[-2]
    # The page shows the validation of every file. The engine does not report the choice after it.
    came = [[file["uri"] for file in each["files"] if file["outcome"] != "deleted"] for each in executions]
    states = [each["states"] for each, uris in zip(executions, came, strict=True) if uris]
    assert sum(each["ValidateFile"]["visits"] for each in states) == sum(map(len, came))
    assert {each["IsFileValid"]["status"] for each in states} == {"untold"}
    checked = {entry["subject"] for each in executions for entry in each["entries"] if entry["kind"] == "log"}
    assert {file["uri"] for file in files} <= checked


def data_of(page: Path) -> Any:
    found = re.search(r'id="data">(.*?)</script>', page.read_text())
    assert found
    return json.loads(found[1])


def test_a_folder_of_own_files_keeps_the_promise(start: Callable[..., Run], tmp_path: Path) -> None:
    folder = tmp_path / "own files"
    (folder / "a b").mkdir(parents=True)
    (folder / "a b" / "2025-06-01-large enough.ndjson").write_bytes(b'{"a": 1}\n' * 20_000)
    (folder / "tiny.ndjson").write_bytes(b"{}\n")
    code, output = start("--input", str(folder), "--flush").end()
    assert code == 0, output
    assert "promise kept: 2 files in 2 versions, 1 manifest, 1 Glue run" in output
    assert "20,000" in output
    assert "quarantined: Size 0.00MB out of range" in output


def test_everything_listens_on_loopback_alone(start: Callable[..., Run]) -> None:
    run = start()
    run.wait_for_a_function()
    addresses = listening_addresses(set(run.processes()))
    assert addresses
    assert addresses == {LOOPBACK}


@pytest.mark.parametrize(
    ("signal_number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_no_process_is_left_when_the_run_is_ended(
    start: Callable[..., Run], signal_number: signal.Signals, code: int
) -> None:
    run = start()
    run.wait_for_a_function()
    run.process.send_signal(signal_number)
    assert run.end()[0] == code
    assert_nothing_is_left(run)


def test_no_process_is_left_when_the_guard_is_killed(start: Callable[..., Run]) -> None:
    run = start()
    run.wait_for_a_function()
    (guard,) = [number for number, command in run.processes().items() if "dev.emulator.guard" in command]
    os.kill(guard, signal.SIGKILL)
    code, output = run.end()
    assert code == 1
    assert "the emulator has stopped" in output
    assert_nothing_is_left(run)


def test_a_run_that_is_kept_says_how_to_reach_it_and_ends_with_ctrl_c(
    start: Callable[..., Run], tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "2025-06-01.ndjson").write_bytes(b"{}\n")
    run = start("--input", str(folder), "--keep")
    printed = run.read_until("aws s3 cp")
    assert re.search(r"export AWS_ENDPOINT_URL=http://127\.0\.0\.1:\d+\n", printed)
    assert "export AWS_DISABLE_HOST_PREFIX_INJECTION=true\n" in printed
    assert "promise kept" in printed
    run.process.send_signal(signal.SIGINT)
    assert run.end()[0] == 0
    assert_nothing_is_left(run)


def test_a_run_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    run = Run(tmp_path, ["/bin/sh", "-c", f"{sys.executable} -m dev.run --end-with-parent; true"])
    run.wait_for_a_function()
    run.process.kill()
    run.end()
    assert_nothing_is_left(run)


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_functions_are_served_on_loopback_until_the_endpoint_is_ended(
    start: Callable[..., Run], signal_number: signal.Signals, code: int
) -> None:
    run = start("--port", "0", module="dev.engines.functions")
    found = re.search(r"functions on http://127\.0\.0\.1:(\d+)\n", run.read_until("aws lambda invoke"))
    assert found
    with closing(HTTPConnection("127.0.0.1", int(found[1]), timeout=60)) as connection:
        path = "/2015-03-31/functions/manifest-builder-parse-event/invocations"
        connection.request("POST", path, '{"messages": [{"messageId": "1", "body": "no event"}]}')
        rejected = json.load(connection.getresponse())["rejected"]
    assert [message["messageId"] for message in rejected] == ["1"]
    assert listening_addresses({run.process.pid, *run.processes()}) == {LOOPBACK}
    run.process.send_signal(signal_number)
    assert run.end()[0] == code
    assert_nothing_is_left(run)


@pytest.mark.parametrize(
    ("module", "arguments", "signal_number", "code"),
    [
        ("dev.faults", ["--scenario", "one date"], signal.SIGINT, 130),
        ("dev.faults", ["--scenario", "one date"], signal.SIGHUP, 143),
        ("dev.faults.load", ["--files", "100"], signal.SIGINT, 130),
        ("dev.faults.load", ["--files", "100"], signal.SIGTERM, 143),
        ("dev.faults.load", ["--files", "100"], signal.SIGHUP, 143),
        ("dev.bench", ["--only", "counts"], signal.SIGINT, 130),
        ("dev.bench", ["--only", "counts"], signal.SIGTERM, 143),
        ("dev.bench", ["--only", "counts"], signal.SIGHUP, 143),
    ],
)
def test_long_commands_end_on_a_signal_and_leave_no_process(
    start: Callable[..., Run], module: str, arguments: list[str], signal_number: signal.Signals, code: int
) -> None:
    run = start(*arguments, module=module)
    eventually(run.processes, lambda found: len(found) > 1)
    run.process.send_signal(signal_number)
    ended, output = run.end()
    assert ended == code, output
    assert "Traceback" not in output
    assert_nothing_is_left(run)


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_command_for_operators_ends_on_a_signal_while_it_waits_for_aws(
    tmp_path: Path, signal_number: signal.Signals, code: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        variables = [f"AWS_ENDPOINT_URL={endpoint}", *(f"{name}={value}" for name, value in CREDENTIALS.items())]
        run = Run(tmp_path, ["/usr/bin/env", *variables, sys.executable, "-m", "ops", "status"])
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            run.process.send_signal(signal_number)
            ended, output = run.end()
    assert ended == code, output
    assert "Traceback" not in output


def listening_addresses(processes: set[int]) -> set[str]:
    """Local addresses, as the kernel writes them, of the processes' listening TCP sockets."""
    inodes = set()
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").glob("*"):
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == LISTENING and inode in inodes:
                addresses.add(local.partition(":")[0])
    return addresses
