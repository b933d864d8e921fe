"""Input and output of the Glue job in tests."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from dev.emulator.emulator import Emulator
from glue import ndjson_to_parquet as job
from glue.ndjson_to_parquet import Catalog, File, Schema
from tests.glue.table import Lines, Table, check, lines_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

INPUT_BUCKET = "input"
MANIFEST_BUCKET = "manifests"
OUTPUT_BUCKET = "output"
TRACKING_TABLE = "tracking"


def uri(key: str) -> str:
    return f"s3://{INPUT_BUCKET}/{key}"


@dataclass(frozen=True, slots=True)
class Output:
    """The two folders that a run writes for one manifest, downloaded."""

    root: Path
    spark: "SparkSession"

    @classmethod
    def download(cls, emulator: Emulator, spark: "SparkSession", output: str, folder: str, root: Path) -> Self:
        for kind in ("parquet", "malformed"):
            (root / kind).mkdir(parents=True)
            for key in keys(emulator, f"{output}/{kind}/{folder}/"):
                emulator.s3.download_file(OUTPUT_BUCKET, key, str(root / kind / PurePosixPath(key).name))
        return cls(root, spark)

    @property
    def names(self) -> dict[str, list[str]]:
        return {kind.name: sorted(path.name for path in kind.iterdir()) for kind in self.root.iterdir()}

    @property
    def types(self) -> dict[str, str]:
        """Columns in their order, with their types."""
        return dict(self._table.dtypes)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row.asDict(recursive=True) for row in self._table.collect()]

    @property
    def malformed(self) -> list[dict[str, Any]]:
        files = sorted((self.root / "malformed").glob("*.json"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    @property
    def _table(self) -> "DataFrame":
        """Every file has all columns, so Spark may take them from any of them."""
        files = sorted(str(path) for path in (self.root / "parquet").glob("*.parquet"))
        tables = [self.spark.read.parquet(file) for file in files]
        assert all(set(table.columns) == set(tables[0].columns) for table in tables)
        return reduce(lambda one, other: one.unionByName(other), tables)


def keys(emulator: Emulator, prefix: str) -> list[str]:
    pages = emulator.s3.get_paginator("list_objects_v2").paginate(Bucket=OUTPUT_BUCKET, Prefix=prefix)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


@dataclass(frozen=True, slots=True)
class Job:
    """Uploads the files, then runs the core of the job on them. None: the file does not exist."""

    emulator: Emulator
    spark: "SparkSession"
    root: Path
    fixed: Schema = field(default_factory=dict)
    """ColumnTypes, parsed."""
    catalog: Catalog | None = None
    output: str = field(default_factory=lambda: uuid4().hex)
    """The folder of the output bucket: each test has a data set of its own."""
    manifests: dict[str, Lines] = field(default_factory=dict)
    """What the whole table has to hold: manifest -> file -> lines."""

    def run(self, files: Mapping[str, bytes | None], manifest: str = "batch-0001-a") -> Output:
        for key, content in files.items():
            if content is None:
                self.emulator.s3.delete_object(Bucket=INPUT_BUCKET, Key=key)
            else:
                self.emulator.s3.put_object(Bucket=INPUT_BUCKET, Key=key, Body=content)
        output = self.convert([(uri(key), None, None) for key in files], manifest)
        self.manifests[manifest] = {
            uri(key): list(
                lines_of(content, [line["line_number"] for line in output.malformed if line["file"] == uri(key)])
            )
            for key, content in files.items()
            if content is not None
        }
        return output

    def convert(self, files: Sequence[File], manifest: str = "batch-0001-a") -> Output:
        folder = f"date=2025-12-23/manifest={manifest}"
        # As many tasks as cores, if there are as many files.
        job.convert(self.spark, files, 1, f"s3://{OUTPUT_BUCKET}/{self.output}", folder, self.fixed, self.catalog)
        return Output.download(self.emulator, self.spark, self.output, folder, self.root / uuid4().hex)

    @property
    def table(self) -> Table:
        return Table.download(self.emulator, self.spark, OUTPUT_BUCKET, self.output, self.root / uuid4().hex)

    def check(self) -> None:
        """Reads the whole table back."""
        if self.manifests:
            check(self.table, self.manifests)


def ndjson(*rows: Any) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
