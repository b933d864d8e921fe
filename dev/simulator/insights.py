"""The part of CloudWatch Logs Insights that the documents' queries use: translated to SQL, and run by SQLite.

No emulator evaluates `stats`, and none of the published packages does.
"""

import math
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import Any


class Percentile:
    """`pct(field, percent)`: the smallest value that is not exceeded by so many percent of all."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.percent = 0.0

    def step(self, value: float | None, percent: float) -> None:
        self.percent = percent
        if value is not None:
            self.values.append(value)

    def finalize(self) -> float | None:
        rank = math.ceil(len(self.values) * self.percent / 100)
        return sorted(self.values)[max(0, rank - 1)] if self.values else None


class Latest:
    """`latest(field)`: its value in the latest line."""

    def __init__(self) -> None:
        self.found: tuple[str, Any] = ("", None)

    def step(self, value: Any, timestamp: str) -> None:
        if value is not None:
            self.found = max(self.found, (timestamp, value))

    def finalize(self) -> Any:
        return self.found[1]


def run_query(query: str, lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The result of a query. Raises for a field that no line has, and for a command or function that is unknown
    here."""
    source, shown = "SELECT * FROM lines", "*"
    for command in query.split("|"):
        verb, arguments = command.split(maxsplit=1)
        # `@timestamp` is no name to SQL, and `latest` has to be told what the time is.
        arguments = re.sub(r"@\w+", r'"\g<0>"', re.sub(r"latest\((\w+)\)", r"latest(\1, @timestamp)", arguments))
        match verb:
            case "fields":
                # A field that is not shown can still be asked for by the commands that follow.
                shown = arguments
            case "filter":
                source = f"SELECT * FROM ({source}) WHERE {arguments}"
            case "stats":
                aggregates, by, keys = arguments.partition(" by ")
                assert by, "a group is needed"
                source = f"SELECT {keys}, {aggregates} FROM ({source}) GROUP BY {keys}"
            case "sort":
                source = f"SELECT * FROM ({source}) ORDER BY {arguments}"
            case "limit":
                source = f"SELECT * FROM ({source}) LIMIT {arguments}"
            case _:
                raise ValueError(f"unknown here: {verb}")
    with closing(_database(lines)) as database:
        return [dict(row) for row in database.execute(f"SELECT {shown} FROM ({source})")]


def _database(lines: Iterable[dict[str, Any]]) -> sqlite3.Connection:
    """The lines as a table with a column for each field, and the functions of the query language."""
    database = sqlite3.connect(":memory:")
    database.row_factory = sqlite3.Row
    database.create_function("ispresent", 1, lambda value: value is not None)
    # `field LIKE text` calls this one; to Insights a text is a part of the value, not a pattern.
    database.create_function("like", 2, lambda text, value: value is not None and text in value)
    database.create_aggregate("pct", 2, Percentile)  # type: ignore[arg-type]
    database.create_aggregate("latest", 2, Latest)  # type: ignore[arg-type]
    # CloudWatch takes the time of a line from its timestamp.
    rows = [{"@timestamp": line["timestamp"], **line} for line in lines]
    names = sorted({name for row in rows for name, value in row.items() if not isinstance(value, list)})
    columns = ", ".join(f'"{name}"' for name in names)
    database.execute(f"CREATE TABLE lines ({columns})")
    marks = ", ".join("?" * len(names))
    database.executemany(f"INSERT INTO lines VALUES ({marks})", [[row.get(name) for name in names] for row in rows])
    return database
