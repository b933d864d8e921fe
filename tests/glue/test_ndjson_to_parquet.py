"""The default Glue job on Spark: real files in, real files out."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from dev.emulator.emulator import Emulator
from glue import ndjson_to_parquet
from glue.ndjson_to_parquet import File, Part, complete, convert_share, extend
from manifest_builder.documents import NamedFile, to_document
from tests.glue.job import INPUT_BUCKET, MANIFEST_BUCKET, OUTPUT_BUCKET, TRACKING_TABLE, Job, keys, ndjson, uri

pytestmark = [pytest.mark.xdist_group("spark"), pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]

AWKWARD_KEYS = [
    "2025-12-23/plain.ndjson",
    "a b/+ü%20+.ndjson",
    "globs/[ab]{c,d}*?.ndjson",
    "globs/*.ndjson",
    "back\\slash.ndjson",
    "folder/_hidden.ndjson",
    "folder/.dot.ndjson",
    "two//slashes.ndjson",
    "colon:#hash;comma,.ndjson",
    "date=2001-01-01/manifest=x/y.ndjson",
    "日本語/🙂.ndjson",
]


def test_every_file_is_read_whatever_its_key_and_no_other(job: Job) -> None:
    for stranger in ("globs/ac-x.ndjson", "globs/stranger.ndjson", "slashes.ndjson", "two/slashes.ndjson"):
        job.emulator.s3.put_object(Bucket=INPUT_BUCKET, Key=stranger, Body=ndjson({"key": "stranger"}))
    output = job.run({key: ndjson({"key": key}, {"key": key}) for key in AWKWARD_KEYS})
    found = [(row["source_file"], row["key"]) for row in output.rows]
    assert sorted(found) == sorted((uri(key), key) for key in AWKWARD_KEYS for _ in range(2))
    assert output.malformed == []


def test_files_that_drift_apart_lose_no_value(job: Job) -> None:
    output = job.run(
        {
            "1.ndjson": ndjson(
                {"id": 1, "big": 2**60, "exact": 0.1, "n": {"x": 1}, "tags": ["a"], "empty": {}, "only first": True}
            ),
            "2.ndjson": ndjson({"id": "two", "exact": None, "big": 2**70, "n": {"y": [1.5]}, "tags": [1]}),
            "3.ndjson": ndjson({"id": {"a": [1, None]}, "big": None, "n": {"x": 2.5}, "new": None})
            + b'{"exact": 12345678901234567890.12, "id": {"number": 1.50}, "tags": [ 1E5, {"b": -0.0} ]}\n',
            "4.ndjson": b"",
        }
    )
    assert output.types == {
        "id": "string",
        "big": "decimal(38,0)",
        "exact": "string",
        "n": "struct<x:double,y:array<double>>",
        "tags": "array<string>",
        "only first": "boolean",
        "_rescued": "string",
        "source_file": "string",
    }
    absent = dict.fromkeys(("tags", "only first", "_rescued"))
    one, two, three, four = sorted(output.rows, key=lambda row: str(row["source_file"]))
    assert one == absent | {
        "id": "1",
        "big": 2**60,
        "exact": "0.1",
        "n": {"x": 1.0, "y": None},
        "tags": ["a"],
        "only first": True,
        "_rescued": '{"empty":{}}',
        "source_file": uri("1.ndjson"),
    }
    assert two == absent | {
        "id": "two",
        "big": 2**70,
        "exact": None,
        "n": {"x": None, "y": [1.5]},
        "tags": ["1"],
        "source_file": uri("2.ndjson"),
    }
    assert three == absent | {
        "id": '{"a":[1,null]}',
        "big": None,
        "exact": None,
        "n": {"x": 2.5, "y": None},
        "source_file": uri("3.ndjson"),
    }
    assert four == absent | {
        "id": '{"number":1.50}',
        "big": None,
        "exact": "12345678901234567890.12",
        "n": None,
        "tags": ["1E5", '{"b":-0.0}'],
        "source_file": uri("3.ndjson"),
    }


def test_names_of_columns_can_be_anything(job: Job) -> None:
    row = {"date": "d", "manifest": "m", "a.b": 1, "": 2, "`": 3, "x y": 4, "ID": 5, "id": 6, "_corrupt_record": 7}
    row["_rescued"] = 8
    output = job.run({"1.ndjson": ndjson(row)})
    expected = {"date_": "d", "manifest_": "m", "ID": 5, "id_": 6, "_rescued_": 8, "_rescued": None}
    expected |= {name: row[name] for name in ("a.b", "", "`", "x y", "_corrupt_record")}
    assert output.rows == [expected | {"source_file": uri("1.ndjson")}]


def test_malformed_lines_go_aside_with_file_line_and_reason(job: Job) -> None:
    output = job.run(
        {
            "good.ndjson": b'{"a": 1}\n\n{"a": 2}\r\n',
            "bad.ndjson": b'{"a": 3}\n{"a": \n[4]\n{"a": "\xff"}\n{"a": 5}',
            "too large.ndjson": b'{"a": 6}\n{"a": ' + b"7" * 5000 + b"}\n",
            "large.ndjson": b'{"a": ' + b"7" * 2000 + b"}\n",
            "gone.ndjson": None,
        }
    )
    assert sorted((row["a"] for row in output.rows), key=len) == ["1", "2", "3", "5", "6", "7" * 2000]
    reported = {(line["file"], line.get("line_number"), line.get("text")): line["reason"] for line in output.malformed}
    assert len(reported) == len(output.malformed) == 5
    assert "Expecting value" in reported[uri("bad.ndjson"), 2, '{"a": ']
    assert reported[uri("bad.ndjson"), 3, "[4]"] == "not a JSON object"
    assert "not UTF-8" in reported[uri("bad.ndjson"), 4, '{"a": "\\xff"}']
    assert "digits" in reported[uri("too large.ndjson"), 2, '{"a": ' + "7" * 5000 + "}"]
    assert "gone" in reported[uri("gone.ndjson"), None, None]


def test_of_a_versioned_bucket_the_versions_of_the_manifest_are_read_and_no_other(job: Job) -> None:
    s3 = job.emulator.s3
    s3.create_bucket(Bucket="versioned")
    s3.put_object(Bucket="versioned", Key="older", Body=ndjson({"a": "older"}))
    s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="versioned", Key="older", Body=ndjson({"a": "newer"}))
    files: list[File] = [("s3://versioned/older", "null", None)]
    for key in ("replaced", "removed", "erased"):
        version = s3.put_object(Bucket="versioned", Key=key, Body=ndjson({"a": key}))["VersionId"]
        files.append((f"s3://versioned/{key}", version, None))
    s3.put_object(Bucket="versioned", Key="replaced", Body=ndjson({"a": "another"}))
    marker = s3.delete_object(Bucket="versioned", Key="removed")["VersionId"]
    files.append(("s3://versioned/removed", marker, None))
    s3.delete_object(Bucket="versioned", Key="erased", VersionId=version)
    s3.put_object(Bucket="versioned", Key="erased", Body=ndjson({"a": "another"}))

    output = job.convert(files)

    assert sorted(row["a"] for row in output.rows) == ["older", "removed", "replaced"]
    reasons = {line["file"]: line["reason"] for line in output.malformed}
    assert set(reasons) == {"s3://versioned/erased", "s3://versioned/removed"}
    assert "gone" in reasons["s3://versioned/erased"]
    assert "delete marker" in reasons["s3://versioned/removed"]


def test_of_a_bucket_without_versions_the_content_of_the_manifest_is_read_and_no_other(job: Job) -> None:
    files: list[File] = []
    for key in ("same", "replaced", "gone", "unpinned"):
        etag = job.emulator.s3.put_object(Bucket=INPUT_BUCKET, Key=key, Body=ndjson({"a": key}))["ETag"]
        files.append((uri(key), None, None if key == "unpinned" else etag.strip('"')))
    job.emulator.s3.delete_object(Bucket=INPUT_BUCKET, Key="gone")
    for key in ("replaced", "unpinned"):
        job.emulator.s3.put_object(Bucket=INPUT_BUCKET, Key=key, Body=ndjson({"a": "another"}))

    output = job.convert(files)

    assert sorted((row["source_file"], row["a"]) for row in output.rows) == [
        (uri("same"), "same"),
        (uri("unpinned"), "another"),
    ]
    reasons = {line["file"]: line["reason"] for line in output.malformed}
    assert set(reasons) == {uri("gone"), uri("replaced")}
    assert "replaced" in reasons[uri("replaced")]
    assert "gone" in reasons[uri("gone")]


def test_any_other_error_of_s3_fails_the_run(job: Job) -> None:
    with pytest.raises(Exception, match="NoSuchBucket"):
        job.convert([("s3://no-such-bucket/1", None, None)], "failed")
    assert everything(job, "date=2025-12-23/manifest=failed/") == {}


def test_a_run_repeated_replaces_its_own_folders_and_touches_no_other(job: Job) -> None:
    job.run({"other.ndjson": ndjson({"a": 1}) + b"bad"}, manifest="batch-0001-ab")
    before = everything(job, "date=2025-12-23/manifest=batch-0001-ab/")
    first = job.run({f"{number}.ndjson": ndjson({"a": 1}, {"a": 2}) + b"bad" for number in range(3)})
    assert len(first.malformed) == 3
    again = job.run({"1.ndjson": ndjson({"a": 1}, {"a": 2})})
    assert [row["a"] for row in again.rows] == [1, 2]
    assert again.names == {"parquet": ["_SUCCESS", "part-00000.parquet"], "malformed": ["_SUCCESS"]}
    assert everything(job, "date=2025-12-23/manifest=batch-0001-ab/") == before


def everything(job: Job, folder: str) -> dict[str, str]:
    prefixes = [f"{job.output}/{kind}/{folder}" for kind in ("parquet", "malformed")]
    return {
        key: job.emulator.s3.head_object(Bucket=OUTPUT_BUCKET, Key=key)["ETag"]
        for prefix in prefixes
        for key in keys(job.emulator, prefix)
    }


def test_a_task_that_runs_twice_or_fails_leaves_nothing_that_a_reader_sees(job: Job) -> None:
    job.emulator.s3.put_object(Bucket=INPUT_BUCKET, Key="1.ndjson", Body=ndjson({"a": 1}) + b"bad")
    share = 0, [(uri("1.ndjson"), None, None)]
    parts = [convert_share({}, False, OUTPUT_BUCKET, "twice/parquet/", "twice/malformed/", share) for _ in range(2)]
    assert keys(job.emulator, "twice/") == []
    for upload in Part(*parts[0]).uploads:
        complete(job.emulator.s3, OUTPUT_BUCKET, upload)
    assert keys(job.emulator, "twice/") == ["twice/malformed/part-00000.json", "twice/parquet/part-00000.parquet"]


def test_no_upload_is_left_by_a_task_that_runs_again_for_other_columns(job: Job) -> None:
    output = job.run({"1.ndjson": ndjson({"a": 1}) + b"bad", "2.ndjson": ndjson({"a": "b"})}, manifest="again")
    assert sorted(row["a"] for row in output.rows) == ["1", "b"]
    assert len(output.malformed) == 1
    uploads = job.emulator.s3.list_multipart_uploads(Bucket=OUTPUT_BUCKET).get("Uploads", [])
    assert [upload["Key"] for upload in uploads if "manifest=again/" in upload["Key"]] == []


def test_columns_that_change_within_a_task_are_those_of_all_its_rows(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("BYTES_PER_BLOCK", "BYTES_PER_BATCH", "BATCHES_PER_ROW_GROUP"):
        monkeypatch.setattr(ndjson_to_parquet, limit, 1)
    rows = [{"a": 1}, {"a": 2, "b": [{}]}, {"a": 2.5}, {"b": [1, "x", None]}]
    job.emulator.s3.put_object(Bucket=INPUT_BUCKET, Key="1.ndjson", Body=ndjson(*rows) + b"bad")
    share = 0, [(uri("1.ndjson"), None, None)]

    first = Part(*convert_share({}, False, OUTPUT_BUCKET, "drift/parquet/", "drift/malformed/", share))
    assert first == Part(0, {"a": "double", "b": ["json"]}, 4, 1, [], False)
    schema = extend({}, first.growth)
    second = Part(*convert_share(schema, True, OUTPUT_BUCKET, "drift/parquet/", "drift/malformed/", share))
    assert second.is_complete
    for upload in second.uploads:
        complete(job.emulator.s3, OUTPUT_BUCKET, upload)
    file = job.root / "file"
    job.emulator.s3.download_file(OUTPUT_BUCKET, "drift/parquet/part-00000.parquet", str(file))
    found = [(row["a"], row["b"]) for row in job.spark.read.parquet(str(file)).collect()]
    assert found == [(1.0, None), (2.0, ["{}"]), (2.5, None), (None, ["1", "x", None])]


@pytest.mark.parametrize("content", [b"bad\n", b"{}\n{}\n"], ids=["no row", "no column"])
def test_files_without_data_are_no_failure(job: Job, content: bytes) -> None:
    output = job.run({"1.ndjson": content})
    assert output.types == {"_rescued": "string", "source_file": "string"}
    assert len(output.rows) == content.count(b"{}")
    assert len(output.malformed) == content.count(b"bad")
    assert "_SUCCESS" in output.names["parquet"]


def test_objects_that_make_no_columns_are_kept_as_text(job: Job) -> None:
    many: dict[str, Any] = {f"user-{number}": number for number in range(ndjson_to_parquet.MAX_NAMES + 1)}
    deep: Any = "bottom"
    for _ in range(100):
        deep = {"deeper": deep}
    output = job.run({"1.ndjson": ndjson({"users": many, "deep": deep})})
    assert output.types["users"] == "string"
    assert output.types["deep"].count("struct<") == ndjson_to_parquet.MAX_LEVELS - 1
    (row,) = output.rows
    assert '"user-1000":1000' in row["users"]
    assert '{"deeper":"bottom"}' in str(row["deep"])


def test_new_fields_beyond_the_most_columns_of_a_schema_are_rescued(job: Job) -> None:
    many: dict[str, Any] = {f"user-{number}": number for number in range(ndjson_to_parquet.MAX_NAMES)}
    first = job.run({"1.ndjson": ndjson(many | {"one": 1})}, "batch-0001-a")
    assert first.types == {"_rescued": "string", "source_file": "string"}
    second = job.run({"1.ndjson": ndjson({"id": 1})}, "batch-0001-b")
    third = job.run({"1.ndjson": ndjson({"id": 2} | many)}, "batch-0001-c")
    assert list(third.types) == list(second.types) == ["id", "_rescued", "source_file"]
    (row,) = third.rows
    assert row["id"] == 2
    assert json.loads(row["_rescued"]) == many


@pytest.fixture
def committed(emulator: Emulator) -> str:
    """The path of a manifest of one file, whose record names run jr_1."""
    name = "batch-0001-20251223T120000000000Z"
    key = f"manifests/2025-12-23/{name}.json"
    emulator.s3.put_object(Bucket=INPUT_BUCKET, Key="1.ndjson", Body=ndjson({"a": 1}))
    emulator.s3.put_object(
        Bucket=MANIFEST_BUCKET, Key=key, Body=to_document([NamedFile(uri("1.ndjson"), None, None, None)]).encode()
    )
    emulator.dynamodb.put_item(
        TableName=TRACKING_TABLE,
        Item={
            "date_prefix": {"S": "MANIFEST#2025-12-23"},
            "file_name": {"S": "batch-0001-token"},
            "file_path": {"S": f"s3://{MANIFEST_BUCKET}/{key}"},
            "file_size_bytes": {"N": "9"},
            "status": {"S": "started"},
            "job_run_id": {"S": "jr_1"},
        },
    )
    return f"s3://{MANIFEST_BUCKET}/{key}"


def test_a_mistake_in_column_types_ends_the_script_with_one_line(
    committed: str, emulator: Emulator, environment: dict[str, str]
) -> None:
    run = run_script(environment, committed, "jr_1", "mistake", "--COLUMN_TYPES", "amount DOUBEL")
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    (message,) = [line for line in run.stderr.splitlines() if "ColumnTypes" in line]
    assert message.startswith("ColumnTypes 'amount DOUBEL' cannot be read: [UNSUPPORTED_DATATYPE]")
    assert keys(emulator, "mistake/") == []


@pytest.mark.parametrize(("run_id", "kinds"), [("jr_1", ["malformed", "parquet"]), ("jr_2", [])])
def test_the_script_does_the_work_as_the_run_that_the_record_names_and_leaves_as_another(
    committed: str, emulator: Emulator, environment: dict[str, str], run_id: str, kinds: list[str]
) -> None:
    run = run_script(environment, committed, run_id, f"of {run_id}")
    assert run.returncode == 0, run.stderr
    folder = "date=2025-12-23/manifest=batch-0001-20251223T120000000000Z"
    marks = [key for key in keys(emulator, f"of {run_id}/") if key.endswith("_SUCCESS")]
    assert marks == [f"of {run_id}/{kind}/{folder}/_SUCCESS" for kind in kinds]
    assert ("leaves" in run.stderr) is (not kinds)


def run_script(
    environment: dict[str, str], manifest_path: str, run_id: str, output: str, *more: str
) -> "subprocess.CompletedProcess[str]":
    arguments = {
        "--JOB_NAME": "manifest-builder-dev",
        "--JOB_RUN_ID": run_id,
        "--MANIFEST_PATH": manifest_path,
        "--MANIFEST_BUCKET": MANIFEST_BUCKET,
        "--DATE_PREFIX": "2025-12-23",
        "--TRACKING_TABLE": TRACKING_TABLE,
        "--OUTPUT_PATH": f"s3://{OUTPUT_BUCKET}/{output}/",
    }
    return subprocess.run(
        [sys.executable, ndjson_to_parquet.__file__, *(text for pair in arguments.items() for text in pair), *more],
        # As on Glue: functions of the script itself, which no worker of Spark can import.
        env={name: value for name, value in (os.environ | environment).items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
