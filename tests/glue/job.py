"""Input and output of the Glue job in tests."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dev.emulator.emulator import Emulator
from glue import ndjson_to_parquet as job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

INPUT_BUCKET = "input"
MANIFEST_BUCKET = "manifests"
TRACKING_TABLE = "tracking"


def uri(key: str) -> str:
    return f"s3://{INPUT_BUCKET}/{key}"


@dataclass(frozen=True, slots=True)
class Output:
    """The two folders that a run writes for one manifest."""

    folder: str
    root: Path
    spark: "SparkSession"

    @property
    def types(self) -> dict[str, str]:
        """Columns in their order, with their types."""
        return dict(self.spark.read.parquet(self.parquet).dtypes)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row.asDict(recursive=True) for row in self.spark.read.parquet(self.parquet).collect()]

    @property
    def malformed(self) -> list[dict[str, Any]]:
        files = sorted((self.root / "malformed" / self.folder).glob("*.json"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    @property
    def parquet(self) -> str:
        return f"{self.root}/parquet/{self.folder}"


@dataclass(frozen=True, slots=True)
class Job:
    """Uploads the files, then runs the core of the job on them. None: the file does not exist."""

    emulator: Emulator
    spark: "SparkSession"
    root: Path

    def run(self, files: dict[str, bytes | None], manifest: str = "batch-0001-a") -> Output:
        for key, content in files.items():
            if content is None:
                self.emulator.s3.delete_object(Bucket=INPUT_BUCKET, Key=key)
            else:
                self.emulator.s3.put_object(Bucket=INPUT_BUCKET, Key=key, Body=content)
        size_bytes = sum(len(content or b"") for content in files.values())
        folder = f"date=2025-12-23/manifest={manifest}"
        job.convert(self.spark, [uri(key) for key in files], size_bytes, str(self.root), folder)
        return Output(folder, self.root, self.spark)


def ndjson(*rows: Any) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
