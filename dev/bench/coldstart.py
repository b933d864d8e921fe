"""The cold start of each function on this machine: its import in a new process, nine times.

CPU time is measured, which a busy machine changes little.
"""

import json
import os
import subprocess
import sys
from statistics import median

from dev.paths import CODE
from dev.simulator.world import ENVIRONMENT, FUNCTIONS

PROCESSES = 9
# Clients are made when a function is first called: their making belongs to its start.
CLIENTS = {
    "start_workflow": "start_workflow.stepfunctions()",
    "quarantine_file": "aws.dynamodb(); aws.s3_for_copies()",
    "create_manifest": "aws.dynamodb(); aws.s3()",
    "update_status": "aws.dynamodb(); aws.s3()",
    "track_file": "aws.dynamodb()",
    "record_removal": "aws.dynamodb()",
    "check_threshold": "aws.dynamodb()",
    "acquire_lock": "aws.dynamodb()",
    "release_lock": "aws.dynamodb()",
    "find_stalled_dates": "aws.dynamodb()",
}
SCRIPT = """
import json, time
from pathlib import Path
started = time.process_time()
import {module}
imported = time.process_time()
{clients}
ready = time.process_time()
(peak_kb,) = [line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
print(json.dumps([1000 * (imported - started), 1000 * (ready - imported), int(peak_kb) / 1024]))
"""


def measure() -> dict[str, dict[str, float]]:
    """Medians by function's module: import and clients in ms, peak memory of the process in MB."""
    found: dict[str, dict[str, float]] = {"import ms": {}, "clients ms": {}, "memory MB": {}}
    for module in sorted({*FUNCTIONS.values(), "start_workflow"}):
        samples = [_start(module) for _ in range(PROCESSES)]
        for measure, values in zip(found, zip(*samples, strict=True), strict=True):
            found[measure][module] = median(values)
    return found


def _start(module: str) -> list[float]:
    clients = CLIENTS.get(module, "")
    if "aws." in clients:
        clients = f"from manifest_builder import aws; {clients}"
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(module=module, clients=clients)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CODE), **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
    )
    numbers: list[float] = json.loads(answer.stdout)
    return numbers
