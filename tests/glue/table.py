"""The whole output of the job, read back as one table: by Spark in two ways, and by pyarrow."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dev.emulator.emulator import Emulator
from dev.paths import ROOT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Row = dict[str, Any]
# (uri, line number) -> the line's object, its fractions as Decimals.
Lines = dict[str, list[Row]]


@dataclass(frozen=True, slots=True)
class Table:
    """`parquet/` and the document of the schema, downloaded."""

    root: Path
    document: Row | None
    spark: "SparkSession"

    @classmethod
    def download(cls, emulator: Emulator, spark: "SparkSession", bucket: str, prefix: str, root: Path) -> Self:
        document = None
        for page in emulator.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/"):
            for item in page.get("Contents", []):
                path = root / item["Key"].removeprefix(f"{prefix}/")
                path.parent.mkdir(parents=True, exist_ok=True)
                emulator.s3.download_file(bucket, item["Key"], str(path))
        if (root / "schema.json").exists():
            document = json.loads((root / "schema.json").read_text())
        return cls(root / "parquet", document, spark)

    def rows(self) -> list[Row]:
        """Every row. All ways to read the table give the same ones."""
        from pyspark.sql.types import StructType

        readers = [self.spark.read.option("mergeSchema", "true")]
        if self.document:
            readers.append(self.spark.read.schema(StructType.fromJson(self.document)))
        tables: list[list[Row]] = [of_spark(reader.parquet(str(self.root))) for reader in readers]
        tables.append(of_pyarrow(self.root))
        if self.document:
            names = {field["name"] for field in self.document["fields"]}
            assert all(set(row) == names for table in tables for row in table)
        first, *others = [sorted(map(as_text, table)) for table in tables]
        for other in others:
            assert other == first
        return tables[0]

    def fields(self) -> dict[str, str]:
        """The field of each column."""
        columns = self.document["fields"] if self.document else []
        return {column["name"]: column["metadata"].get("field", column["name"]) for column in columns}


def of_spark(table: "DataFrame") -> list[Row]:
    return [row.asDict(recursive=True) for row in table.collect()]


def of_pyarrow(folder: Path) -> list[Row]:
    """By the code of the document, as it is there."""
    page = (ROOT / "docs" / "reading.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    rows: list[Row] = names["read_table"](str(folder)).to_pylist()
    return rows


def as_text(row: Row) -> str:
    return json.dumps(row, sort_keys=True, default=str)


def check(table: Table, manifests: dict[str, Lines]) -> None:
    """Every line is one row whose columns and _rescued are the line: no value is lost, and none is there twice."""
    fields = table.fields()
    found: dict[tuple[str, str], list[Row]] = {}
    for row in table.rows():
        found.setdefault((row["manifest"], row["source_file"]), []).append(row)
    expected = {
        (manifest, uri): lines for manifest, files in manifests.items() for uri, lines in files.items() if lines
    }
    assert found.keys() == expected.keys()
    for key, lines in expected.items():
        rows = found[key]
        assert len(rows) == len(lines)
        for line in lines:
            matching = [row for row in rows if is_row(line, row, fields)]
            assert matching, f"{line} is none of {rows}"
            rows.remove(matching[0])


def is_row(line: Row, row: Row, fields: dict[str, str]) -> bool:
    stored = {
        fields[column]: value
        for column, value in row.items()
        if column not in ("_rescued", "source_file", "date", "manifest")
    }
    return is_whole(line, stored, parsed(row["_rescued"]) if row["_rescued"] is not None else None)


def is_whole(value: Any, stored: Any, rest: Any) -> bool:
    """Whether a value is what is stored and the rest together. Nulls in objects count as absent."""
    if rest is None:
        return is_same(value, stored)
    if stored is None:
        return bool(value == rest)
    if not (isinstance(value, dict) and isinstance(stored, dict) and isinstance(rest, dict)):
        return False
    return all(is_whole(*(part.get(name) for part in (value, stored, rest))) for name in {*value, *stored, *rest})


def is_same(value: Any, stored: Any) -> bool:
    if isinstance(stored, dict) and isinstance(value, dict):
        return all(is_same(value.get(name), stored.get(name)) for name in {*value, *stored})
    if isinstance(stored, list) and isinstance(value, list):
        return len(stored) == len(value) and all(map(is_same, value, stored))
    if isinstance(stored, str):
        return stored == value if isinstance(value, str) else value is not None and is_json(stored, value)
    if isinstance(stored, float):
        # An integer is compared with the binary value, a fraction with the digits that the double is written with.
        return int(stored) == value if type(value) is int else type(value) is Decimal and Decimal(repr(stored)) == value
    if isinstance(stored, bool) or stored is None:
        return value is stored
    return type(value) in (int, Decimal) and bool(stored == value)


def is_json(text: str, value: Any) -> bool:
    try:
        return bool(parsed(text) == value)
    except json.JSONDecodeError:
        # The text of another line.
        return False


def parsed(text: str | bytes) -> Any:
    return json.loads(text, parse_float=Decimal)


def lines_of(content: bytes, malformed: Iterable[int]) -> Iterator[Row]:
    """The objects of a file's lines, but for malformed ones."""
    skipped = set(malformed)
    for number, raw in enumerate(content.split(b"\n"), start=1):
        if raw.strip() and number not in skipped:
            yield parsed(raw.decode("utf-8-sig"))
