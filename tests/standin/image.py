"""Makes the stand-in's image from files of this machine. Nothing is pulled or compiled.

`python -m tests.standin.image` makes it; STEPFUNCTIONS_LOCAL_IMAGE=stepfunctions-standin then runs it.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from dev.engines.container import docker
from dev.paths import ROOT

IMAGE = "stepfunctions-standin"
INTERPRETER = Path(sys.executable).resolve()
OWN_FILES = [
    ROOT / "dev" / "__init__.py",
    *(ROOT / "dev" / "simulator").glob("*.py"),
    ROOT / "tests" / "__init__.py",
    *(ROOT / "tests" / "standin").glob("*.py"),
]
EXTRAS = {"moto": ("dynamodb", "glue", "s3", "stepfunctions")}
STDLIB = Path(sysconfig.get_path("stdlib"))
LEFT_OUT = re.compile(r"config-|ensurepip|idlelib|site-packages|test|tkinter")


def make(name: str = IMAGE) -> None:
    """Import a tar of an interpreter, its libraries and moto's packages, each file at the path that it has here."""
    command = [str(INTERPRETER), "-m", "tests.standin.serve"]
    changes = [
        f"ENV PYTHONPATH={ROOT}:{sysconfig.get_path('purelib')}",
        "ENV PYTHONUNBUFFERED=1",
        f"CMD {json.dumps(command)}",
    ]
    files = {INTERPRETER, *OWN_FILES, *standard_library(), *packages("moto", "flask", "flask-cors")}
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        with tarfile.open(fileobj=file, mode="w", dereference=True) as tar:
            for path in files | shared_libraries(files):
                tar.add(path)
        file.flush()
        with docker() as client:
            client.api.import_image(file.name, repository=name, changes=changes)


def standard_library() -> Iterator[Path]:
    for folder in STDLIB.iterdir():
        if not LEFT_OUT.match(folder.name):
            yield from (path for path in (folder, *folder.rglob("*")) if path.is_file())


def packages(*names: str) -> set[Path]:
    """The files of these distributions and of their dependencies."""
    found: set[Path] = set()
    seen: set[str] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        name = waiting.pop().name
        if name in seen:
            continue
        seen.add(name)
        distribution = metadata.distribution(name)
        found |= {Path(str(path.locate())) for path in distribution.files or []}
        for text in distribution.requires or []:
            requirement = Requirement(text)
            extras = EXTRAS.get(name, ("",))
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(requirement)
    return {path for path in found if path.is_file()}


def shared_libraries(files: set[Path]) -> set[Path]:
    """The shared libraries that programs and extension modules among these files load."""
    linked = [path for path in files if path.suffix == ".so" or os.access(path, os.X_OK)]
    libraries = subprocess.run(["ldd", *linked], capture_output=True, text=True, check=False).stdout
    return {Path(path) for path in re.findall(r"(/\S+\.so\S*) \(0x", libraries)}


if __name__ == "__main__":
    make()
