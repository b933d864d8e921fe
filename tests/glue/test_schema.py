"""The one schema of all output: manifests of drifting files, on Spark. Every test reads the whole table back."""

import json
import string
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from glue import ndjson_to_parquet
from glue.ndjson_to_parquet import Catalog
from tests.glue.job import OUTPUT_BUCKET, Job, keys, ndjson
from tests.template.catalog import make_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.xdist_group("spark"), pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]

MANIFESTS = 30


def test_later_manifests_add_columns_and_fields_and_change_no_type(job: Job) -> None:
    first = job.run({"1.ndjson": ndjson({"id": 1, "s": {"x": 1}, "l": [{"x": 1}], "none": []})}, "batch-0001-a")
    second = job.run(
        {
            "2.ndjson": ndjson(
                {"id": "two", "s": {"x": 2.5, "y": "t"}, "l": [{"x": 1, "y": True}], "none": [1], "date": "d"}
            ),
            "3.ndjson": ndjson({"id": 3.0, "s": {"x": 2}, "l": [{"x": "t"}]}, {"s": None, "l": None, "none": None}),
        },
        "batch-0002-b",
    )
    third = job.run({"4.ndjson": ndjson({"Date": 1, "date": "d"})}, "batch-0003-c")
    assert first.types == {
        "id": "bigint",
        "s": "struct<x:bigint>",
        "l": "array<struct<x:bigint>>",
        "_rescued": "string",
        "source_file": "string",
    }
    assert second.types == first.types | {
        "s": "struct<x:bigint,y:string>",
        "l": "array<struct<x:bigint,y:boolean>>",
        "none": "array<bigint>",
        "date_": "string",
    }
    assert third.types == second.types | {"Date__": "bigint"}
    two, three, _ = sorted(second.rows, key=lambda row: (row["source_file"], str(row["id"])))
    assert two["_rescued"] == '{"id":"two","s":{"x":2.5}}'
    assert two["s"] == {"x": None, "y": "t"}
    assert three["_rescued"] == '{"l":[{"x":"t"}]}'
    assert three["id"] == 3


def test_fields_that_differ_in_case_only_have_the_same_columns_in_every_file(job: Job) -> None:
    output = job.run({"1.ndjson": ndjson({"id": 1, "ID": 2}), "2.ndjson": ndjson({"ID": 4, "id": 3})})
    assert sorted((row["id"], row["ID_"]) for row in output.rows) == [(1, 2), (3, 4)]


def test_files_of_known_fields_are_read_once_and_those_of_new_fields_twice_at_most(job: Job) -> None:
    files = {"1.ndjson": ndjson({"a": 1}), "2.ndjson": ndjson({"a": "t", "b": [1]})}

    def passes() -> int:
        with mock.patch.object(ndjson_to_parquet, "Part", wraps=ndjson_to_parquet.Part) as parts:
            job.run(files)
        return int(parts.call_count)

    # The second file has the columns of both.
    assert passes() == 3
    with mock.patch.object(ndjson_to_parquet, "put_if_unchanged", side_effect=AssertionError):
        assert passes() == 2


def test_a_run_that_another_overtakes_between_reading_and_writing_the_schema_takes_its_columns_too(job: Job) -> None:
    put = ndjson_to_parquet.put_if_unchanged
    others: Iterator[dict[str, Any]] = iter([{"b": 1.5, "c": "other"}, {"d": 1}])

    def overtaken(*arguments: Any) -> bool:
        if row := next(others, None):
            job.run({f"other {len(row)}.ndjson": ndjson(row)}, f"batch-0001-other-{len(row)}")
        return put(*arguments)

    with mock.patch.object(ndjson_to_parquet, "put_if_unchanged", overtaken):
        output = job.run({"1.ndjson": ndjson({"a": 1, "b": 2}), "2.ndjson": ndjson({"a": 2})})
    assert output.types == {
        "d": "bigint",
        "b": "double",
        "c": "string",
        "a": "bigint",
        "_rescued": "string",
        "source_file": "string",
    }


def test_runs_at_the_same_time_agree_on_one_schema(job: Job) -> None:
    def run(number: int) -> None:
        rows = [{"id": number, "shared": number if number % 2 else "text", f"own {number}": {"x": number}}]
        job.run({f"{number}.ndjson": ndjson(*rows, *rows)}, f"batch-000{number}-a")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run, range(6)))
    (document,) = keys(job.emulator, f"{job.output}/schema.json")
    fields = json.loads(job.emulator.s3.get_object(Bucket=OUTPUT_BUCKET, Key=document)["Body"].read())["fields"]
    assert len(fields) == 8 + 4
    assert len({field["name"] for field in fields}) == len(fields)


def test_a_run_that_ends_before_its_files_are_visible_leaves_columns_without_values(job: Job) -> None:
    job.run({"1.ndjson": ndjson({"a": 1})}, "batch-0001-a")
    with (
        mock.patch.object(ndjson_to_parquet, "publish", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        job.run({"2.ndjson": ndjson({"b": 1})}, "batch-0002-b")
    assert keys(job.emulator, f"{job.output}/parquet/date=2025-12-23/manifest=batch-0002-b/") == []
    assert job.run({"2.ndjson": ndjson({"c": 1})}, "batch-0002-b").types == {
        "a": "bigint",
        "b": "bigint",
        "c": "bigint",
        "_rescued": "string",
        "source_file": "string",
    }


def test_column_types_hold_from_the_start_and_for_columns_that_exist_not(job: Job, spark: "SparkSession") -> None:
    text = "amount DOUBLE, `a b` ARRAY<STRUCT<x: STRING>>, date BIGINT, big DECIMAL(38,0), never BOOLEAN"
    fixed = Job(job.emulator, spark, job.root, ndjson_to_parquet.read_column_types(spark, text))
    first = fixed.run(
        {"1.ndjson": ndjson({"amount": 1, "a b": [{"x": 1}], "date": 5, "new": 1, "big": 2})}, "batch-0001-a"
    )
    assert first.types == {
        "amount": "double",
        "a b": "array<struct<x:string>>",
        "date_": "bigint",
        "big": "decimal(38,0)",
        "never": "boolean",
        "new": "bigint",
        "_rescued": "string",
        "source_file": "string",
    }
    assert first.rows[0]["_rescued"] is None
    fixed.run({"2.ndjson": ndjson({"amount": 1.5, "new": 2.5, "never": True})}, "batch-0002-a")
    later = Job(job.emulator, spark, job.root, {"new": "double"}, None, fixed.output, fixed.manifests)
    assert later.run({"3.ndjson": ndjson({"new": 2.5})}, "batch-0003-a").types == first.types
    later.check()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("amount DOUBEL", "Unsupported data type"),
        ("BIGINT", "Syntax error"),
        ("id INT", "column 'id' has the type integer; the types are boolean, long .in DDL: BIGINT."),
        ("m MAP<STRING, BIGINT>", "column 'm' has the type map"),
        ("s STRUCT<>", "'s' has no fields"),
        ("a BIGINT, a DOUBLE", "names 'a' twice"),
    ],
)
def test_column_types_that_are_mistaken_are_refused_with_the_remedy(
    spark: "SparkSession", text: str, says: str
) -> None:
    with pytest.raises(
        ndjson_to_parquet.Mistake, match=f"^ColumnTypes '{text}' cannot be read: .*{says}.*Write Spark's DDL"
    ) as error:
        ndjson_to_parquet.read_column_types(spark, text)
    assert "\n" not in str(error.value)


def test_the_catalog_shows_a_manifest_whole_or_not_at_all(job: Job, spark: "SparkSession") -> None:
    glue = make_table("lake", "rows")
    registered = Job(job.emulator, spark, job.root, catalog=Catalog("lake", "rows"))
    publish, shown = ndjson_to_parquet.publish, []

    def partitions() -> list[Any]:
        return glue.get_partitions(DatabaseName="lake", TableName="rows")["Partitions"]  # type: ignore[no-any-return]

    def watched(*arguments: Any) -> None:
        shown.append(len(partitions()))
        publish(*arguments)
        shown.append(len(partitions()))

    with mock.patch.object(ndjson_to_parquet, "publish", watched):
        for rows in ({"a": 1}, {"a": 2, "b": "t"}):
            registered.run({"1.ndjson": ndjson(rows)})
    assert shown == [0, 0, 0, 0]
    (partition,) = partitions()
    assert partition["Values"] == ["2025-12-23", "batch-0001-a"]
    storage = partition["StorageDescriptor"]
    folder = f"{registered.output}/parquet/date=2025-12-23/manifest=batch-0001-a/"
    assert storage["Location"] == f"s3://{OUTPUT_BUCKET}/{folder}"
    assert f"{folder}_SUCCESS" in keys(job.emulator, folder)
    assert [column["Name"] for column in storage["Columns"]] == ["_rescued", "source_file", "a", "b"]
    registered.check()


numbers = (
    st.integers(-3, 3)
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(-9, 9, width=16)
)
scalars = st.none() | st.booleans() | numbers | st.text(string.ascii_letters + 'é"\\{', max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y", "X", "", "a-b"]), inner),
    max_leaves=6,
)
rows = st.dictionaries(st.sampled_from(["a", "b", "c", "A", "date", "_rescued", "s"]), values, max_size=5)
files = st.lists(st.lists(rows, min_size=1, max_size=4), min_size=1, max_size=2)


@given(st.lists(files, min_size=MANIFESTS, max_size=MANIFESTS), st.randoms(use_true_random=False))
# Half a minute each: a failing example is shown as it was found.
@settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
def test_manifests_of_drifting_files_are_one_table_without_loss(job: Job, manifests: list[Any], chance: Any) -> None:
    data_set = Job(job.emulator, job.spark, job.root)
    order = list(range(MANIFESTS))
    # Some manifests are read again, with the columns that came later.
    for number in [*order, *chance.sample(order, 2)]:
        contents = {
            f"{number}-{index}.ndjson": ndjson(*lines) + (b"malformed\n" if index else b"")
            for index, lines in enumerate(manifests[number])
        }
        data_set.run(contents, f"batch-{number:04}-a")
    data_set.check()
