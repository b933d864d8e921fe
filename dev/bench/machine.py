"""The machine on which the figures were measured."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("moto", "ministack", "boto3", "aws-lambda-powertools")


def describe() -> dict[str, str]:
    cpu = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": cpu[0] if cpu else platform.processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory[0]) / 1024**2:.0f} GB" if memory else "unknown",
        "load when it began": f"{os.getloadavg()[0]:.1f}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    } | {package: version(package) for package in PACKAGES}


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []
