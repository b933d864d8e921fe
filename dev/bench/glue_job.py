"""`make bench-glue`: MB/s of the default Glue job on this machine's cores, for docs/performance.md.

The conversion is timed, from the files of a manifest in S3 to both folders, without the start of Spark. The emulator of
S3 runs on the same cores, and its time is part of what is measured.
"""

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from statistics import median

from dev.simulator.world import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # importing a function checks its settings

from dev.bench import page
from dev.bench.counts import Record
from dev.emulator.emulator import Emulator
from dev.paths import ROOT
from glue import ndjson_to_parquet as job

FILES = 100
LINES = 2_900
"""Lines per file, of 250 bytes on average."""
RUNS = 5
SEED = 1
BUCKETS = INPUT, OUTPUT = "bench-input", "bench-output"
SPARK = (
    f"--master local[{os.cpu_count()}] --driver-memory 1g --conf spark.ui.enabled=false --conf spark.log.level=ERROR "
    "--conf spark.ui.showConsoleProgress=false pyspark-shell"
)
MEASURE = "Glue job"


def main() -> int:
    measured = measure()
    record = Record.read()
    record.timings[MEASURE] = measured
    record.write()
    # The page shows the figures of the CSV, which are rounded.
    page.PAGE.write_text(page.with_figures(page.PAGE.read_text(), Record.read()))
    print(page.glue_job(record))
    return 0


def measure() -> dict[str, dict[str, float]]:
    """The median of RUNS, after one that starts Spark's Python workers."""
    files = list(contents())
    size = sum(map(len, files))
    with Emulator() as emulator:
        for bucket in BUCKETS:
            emulator.s3.create_bucket(Bucket=bucket)
        for number, content in enumerate(files):
            emulator.s3.put_object(Bucket=INPUT, Key=key(number), Body=content)
        os.environ |= emulator.environment() | {
            "PYTHONPATH": str(ROOT),
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_SUBMIT_ARGS": SPARK,
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        from pyspark.sql import SparkSession

        spark = SparkSession.builder.getOrCreate()
        named: list[job.File] = [(f"s3://{INPUT}/{key(number)}", None, None) for number in range(FILES)]
        seconds = []
        for _ in range(RUNS + 1):
            started = time.perf_counter()
            job.convert(spark, named, size, f"s3://{OUTPUT}", "date=2025-12-23/manifest=bench", {})
            seconds.append(time.perf_counter() - started)
        spark.stop()
    return {
        "MB": {"all": size / 1e6},
        "lines": {"all": FILES * LINES},
        "MB a second": {
            "all": size / 1e6 / median(seconds[1:]),
            "best": size / 1e6 / min(seconds[1:]),
            "first": size / 1e6 / seconds[0],
            "json.loads": size / 1e6 / parsing_seconds(files),
        },
        "machine": {"cores": float(os.cpu_count() or 1), "load": os.getloadavg()[0]},
    }


def parsing_seconds(files: list[bytes]) -> float:
    """Of json.loads for every line, in one process: the scale for other machines, and for other load on this one."""
    started = time.perf_counter()
    for content in files:
        for line in content.splitlines():
            json.loads(line)
    return time.perf_counter() - started


def contents() -> Iterator[bytes]:
    """The files: the same ones at each run."""
    chance = random.Random(SEED)
    for number in range(FILES):
        rows = (row(chance, number * LINES + line) for line in range(LINES))
        yield "".join(json.dumps(fields) + "\n" for fields in rows).encode()


def row(chance: random.Random, number: int) -> dict[str, object]:
    """Eight fields; one is an object, one a list."""
    return {
        "order_id": f"{number:012}",
        "customer": chance.randrange(10**7),
        "total": round(chance.uniform(1, 999), 2),
        "currency": "EUR",
        "created_at": f"2025-12-23T{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}Z",
        "paid": chance.random() < 0.9,
        "address": {
            "street": f"Rua das Flores {chance.randrange(999)}",
            "zip": f"{chance.randrange(9999):04}",
            "floor": 3,
        },
        "items": [chance.randrange(10**6) for _ in range(4)],
    }


def key(number: int) -> str:
    return f"2025-12-23/{number:03}.ndjson"


if __name__ == "__main__":
    sys.exit(main())
