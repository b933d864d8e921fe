"""A local Spark session, and the emulator's S3 and DynamoDB that it reads from: one of each per pytest worker."""

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from dev.emulator.emulator import Emulator
from dev.paths import ROOT
from dev.template import table_schema
from tests.glue.job import INPUT_BUCKET, MANIFEST_BUCKET, OUTPUT_BUCKET, TRACKING_TABLE, Job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# The tests run for a few seconds, too short for the JVM's second compiler to save time.
SUBMIT_ARGUMENTS = (
    "--master local[2] --driver-memory 1g --driver-java-options -XX:TieredStopAtLevel=1 "
    "--conf spark.ui.enabled=false --conf spark.log.level=ERROR --conf spark.ui.showConsoleProgress=false pyspark-shell"
)


HERE = Path(__file__).parent
STARTING_SECONDS = 300
"""Time limit of a test, the start of Spark and of the emulator included."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(STARTING_SECONDS))


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    pytest.importorskip("pyspark", reason="pyspark is not installed here: make test-glue installs it")
    if shutil.which("java") is None:
        pytest.skip(
            "there is no Java for Spark: install Java 17 (on Debian and Ubuntu: apt install openjdk-17-jre-headless)"
        )
    with Emulator() as emulator:
        for bucket in (INPUT_BUCKET, MANIFEST_BUCKET, OUTPUT_BUCKET):
            emulator.s3.create_bucket(Bucket=bucket)
        emulator.dynamodb.create_table(TableName=TRACKING_TABLE, **table_schema())
        yield emulator


@pytest.fixture(scope="session")
def environment(emulator: Emulator) -> dict[str, str]:
    return emulator.environment() | {
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": SUBMIT_ARGUMENTS,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


@pytest.fixture(scope="session")
def spark(environment: dict[str, str]) -> Iterator["SparkSession"]:
    from pyspark.sql import SparkSession

    # Spark's JVM and Python workers inherit these variables. Later tests of this pytest worker must not see them.
    with mock.patch.dict(os.environ, environment):
        session = SparkSession.builder.getOrCreate()
    yield session
    session.stop()


@pytest.fixture
def job(emulator: Emulator, spark: "SparkSession", environment: dict[str, str], tmp_path: Path) -> Iterator[Job]:
    with mock.patch.dict(os.environ, environment):
        job = Job(emulator, spark, tmp_path)
        yield job
        job.check()
    # Spark does not close its sockets. The garbage collector warns about them here, where the warning is ignored.
    gc.collect()
