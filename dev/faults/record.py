"""The results of a sweep under way, in a file: an interrupted sweep goes on where it ended."""

import hashlib
import json
import time
from dataclasses import asdict
from typing import Self

from dev.faults import worlds
from dev.faults.campaign import Result
from dev.paths import BUILD, ROOT
from toolkit.errors import UsageError

FILE = BUILD / "faults.jsonl"
CODE = ("dev", "functions", "statemachine", "toolkit", "template.yaml", "requirements/dev.txt")
"""What a result depends on."""


class Record:
    """A line for each result, after a line that names the code which they are of."""

    def __init__(self, results: list[Result], seconds: float) -> None:
        self.results = results
        self._before = seconds
        self._started = time.monotonic()

    @classmethod
    def begin(cls) -> Self:
        FILE.parent.mkdir(exist_ok=True)
        worlds.FILE.unlink(missing_ok=True)
        FILE.write_text(json.dumps({"code": code()}) + "\n")
        return cls([], 0)

    @classmethod
    def resume(cls) -> Self:
        """Raises UsageError if there is no interrupted sweep, or if it was one of other code."""
        if not FILE.exists():
            raise UsageError("no interrupted sweep is recorded; start one without --resume")
        first, *lines = FILE.read_text().splitlines(keepends=True)
        if json.loads(first)["code"] != code():
            raise UsageError("the code has changed since the sweep was interrupted; start anew without --resume")
        # The last line may have been cut off by the interruption.
        entries = [json.loads(line) for line in lines if line.endswith("\n")]
        FILE.write_text(first + "".join(line for line in lines if line.endswith("\n")))
        return cls([_result(entry["result"]) for entry in entries], max((e["seconds"] for e in entries), default=0))

    @property
    def seconds(self) -> float:
        """How long the sweep has taken, all its parts together."""
        return self._before + time.monotonic() - self._started

    def add(self, results: list[Result]) -> None:
        self.results += results
        with FILE.open("a") as file:
            for result in results:
                file.write(json.dumps({"seconds": self.seconds, "result": asdict(result)}) + "\n")

    def finish(self) -> None:
        FILE.unlink(missing_ok=True)
        worlds.FILE.unlink(missing_ok=True)


def code() -> str:
    """A digest of the code under test and of the sweep."""
    digest = hashlib.sha256()
    for name in CODE:
        path = ROOT / name
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        for file in files:
            if file.is_file() and file.suffix != ".pyc":
                digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _result(entry: dict[str, object]) -> Result:
    result = Result(**entry)  # type: ignore[arg-type]
    points = tuple((scenario, call) for scenario, call in result.points)
    return Result(**(entry | {"violations": tuple(result.violations), "points": points}))  # type: ignore[arg-type]
