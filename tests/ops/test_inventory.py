"""`ops audit --inventory`: lists in AWS's published format, CSV and Parquet, and inventories that cannot be used."""

import csv
import gzip
import hashlib
import io
import json
import sys
from typing import Any
from unittest import mock
from urllib.parse import quote_plus

import pytest

from dev.simulator.world import INPUT_BUCKET
from tests.ops.operator import DATE, Operator, Said
from tests.ops.test_audit import key, later, states

BUCKET = "inventories"
MANIFEST = f"s3://{BUCKET}/inventory/{INPUT_BUCKET}/all/2025-12-24T01-00Z/manifest.json"
CSV_SCHEMA = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass"
PARQUET_SCHEMA = (
    "message s3.inventory { required binary bucket (UTF8); required binary key (UTF8); "
    "optional binary version_id (UTF8); optional boolean is_latest; optional boolean is_delete_marker; "
    "optional int64 size; optional int64 last_modified_date (TIMESTAMP(MILLIS,true)); optional binary e_tag (UTF8); "
    "optional binary storage_class (UTF8);}"
)
ODD_KEY = f"orders/{DATE}/a +é&,\"'.ndjson"

Lines = list[list[Any]]


def lines_of(operator: Operator) -> Lines:
    """Every version and delete marker of the input bucket, in the order of the fields of CSV_SCHEMA."""
    found = operator.s3.list_object_versions(Bucket=INPUT_BUCKET)
    versions: Lines = [
        [INPUT_BUCKET, each["Key"], each["VersionId"], each["IsLatest"], False, each["Size"], each["LastModified"],
         each["ETag"].strip('"'), "STANDARD"]
        for each in found.get("Versions", [])
    ]  # fmt: skip
    markers: Lines = [
        [INPUT_BUCKET, each["Key"], each["VersionId"], each["IsLatest"], True, None, each["LastModified"], None, None]
        for each in found.get("DeleteMarkers", [])
    ]
    return sorted(versions + markers, key=lambda line: str(line[1]))


def as_csv(lines: Lines) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    for bucket, name, version, latest, marker, size, at, etag, storage in lines:
        moment = at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        words = [version if version != "null" else "", str(latest).lower(), str(marker).lower()]
        writer.writerow([bucket, quote_plus(name, safe="/"), *words, size, moment, etag, storage])
    return gzip.compress(text.getvalue().encode())


def as_parquet(lines: Lines) -> bytes:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is in the environment with Spark: make test-glue")
    from pyarrow import parquet

    names = [
        "bucket",
        "key",
        "version_id",
        "is_latest",
        "is_delete_marker",
        "size",
        "last_modified_date",
        "e_tag",
        "storage_class",
    ]
    text, flag = pyarrow.string(), pyarrow.bool_()
    types = [text, text, text, flag, flag, pyarrow.int64(), pyarrow.timestamp("ms", tz="UTC"), text, text]
    columns = [pyarrow.array(column, kind) for column, kind in zip(zip(*lines, strict=True), types, strict=True)]
    body = io.BytesIO()
    parquet.write_table(pyarrow.table(columns, names=names), body)
    return body.getvalue()


def publish(operator: Operator, *bodies: bytes, **changes: Any) -> None:
    """Puts lists and their manifest into the destination bucket."""
    operator.s3.create_bucket(Bucket=BUCKET)
    files = []
    for number, body in enumerate(bodies):
        name = f"inventory/{INPUT_BUCKET}/all/data/list-{number}"
        operator.s3.put_object(Bucket=BUCKET, Key=name, Body=body)
        files.append({"key": name, "size": len(body), "MD5checksum": hashlib.md5(body).hexdigest()})
    manifest = {
        "sourceBucket": INPUT_BUCKET,
        "destinationBucket": f"arn:aws:s3:::{BUCKET}",
        "version": "2016-11-30",
        "creationTimestamp": "1766538000000",
        "fileFormat": "CSV",
        "fileSchema": CSV_SCHEMA,
        "files": files,
    }
    body_of_manifest = json.dumps(manifest | changes).encode()
    operator.s3.put_object(Bucket=BUCKET, Key=MANIFEST.removeprefix(f"s3://{BUCKET}/"), Body=body_of_manifest)


def audit(operator: Operator, manifest: str = MANIFEST) -> Said:
    return operator.ops("audit", "--all", "--inventory", manifest, "--json")


@pytest.mark.parametrize("form", ["CSV", "Parquet"])
def test_an_inventory_takes_the_place_of_the_listing(operator: Operator, form: str) -> None:
    operator.put_and_tell(ODD_KEY)
    operator.put_and_tell(key("known"))
    operator.put_and_tell(key("replaced"))
    operator.put(key("replaced"))
    operator.put(key("lost"))
    operator.put(key("deleted"))
    operator.s3.delete_object(Bucket=INPUT_BUCKET, Key=key("deleted"))
    operator.put("orders/", 0)
    lines = lines_of(operator)
    encoded, schema = (as_csv, CSV_SCHEMA) if form == "CSV" else (as_parquet, PARQUET_SCHEMA)
    publish(operator, encoded(lines[:3]), encoded(lines[3:]), fileFormat=form, fileSchema=schema)
    later(operator)

    said = audit(operator)

    assert states(said) == {"pending": 3, "missing": 2, "other": 1}
    assert states(said) == states(operator.ops("audit", "--all", "--json"))
    # Once for each missing file, to ask whether it is still there.
    assert said.calls.count("ListObjectVersions") == 2


def test_what_has_changed_since_the_inventory_is_judged_as_it_is_now(operator: Operator) -> None:
    operator.put(key("deleted"))
    operator.put(key("told"))
    publish(operator, as_csv(lines_of(operator)))
    operator.s3.delete_object(Bucket=INPUT_BUCKET, Key=key("deleted"))
    operator.put_and_tell(key("told"))
    later(operator)
    assert states(audit(operator)) == {"deleted": 1, "pending": 1}


def test_a_bucket_without_versions_needs_none_in_its_inventory(operator: Operator) -> None:
    with mock.patch("ops.inventory.boto3.client") as client:
        of_bucket = client.return_value
        of_bucket.get_bucket_versioning.return_value = {}
        schema = "Bucket, Key, Size, LastModifiedDate, ETag"
        manifest = {"sourceBucket": INPUT_BUCKET, "destinationBucket": "arn:aws:s3:::x", "fileFormat": "CSV",
                    "fileSchema": schema, "files": []}  # fmt: skip
        of_bucket.get_object.return_value = {"Body": io.BytesIO(json.dumps(manifest).encode())}
        assert audit(operator).code == 0


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sourceBucket": "another"}, f"is an inventory of another, not of {INPUT_BUCKET}"),
        ({"fileFormat": "ORC"}, "is an inventory in the format ORC: CSV and Parquet can be read"),
        ({"fileSchema": "Bucket, Key, VersionId, Size"}, "no field LastModifiedDate and no ETag"),
        ({"fileSchema": "Bucket, Key, Size, LastModifiedDate, ETag"}, "let it include all versions"),
        ({"fileFormat": "Parquet", "fileSchema": "required binary key (UTF8);"}, "no field Size and no Last"),
        ({"fileSchema": None}, "is not the manifest of an S3 Inventory"),
    ],
)
def test_an_inventory_that_cannot_be_used_is_a_mistake(
    operator: Operator, changes: dict[str, Any], problem: str
) -> None:
    publish(operator, as_csv([]), **changes)
    said = audit(operator)
    assert said.code == 2
    assert problem in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("manifest.json", "is not the S3 URI of an inventory's manifest.json"),
        ("s3://inventories", "is not the S3 URI"),
        ("s3://inventories/x", "there is no s3://inventories/x"),
        ("s3://elsewhere/x", "there is no s3://elsewhere/x"),
    ],
)
def test_a_manifest_that_is_not_there_is_a_mistake(operator: Operator, uri: str, problem: str) -> None:
    publish(operator)
    said = audit(operator, uri)
    assert (said.code, problem in said.err) == (2, True)


def test_a_list_that_is_damaged_is_not_read(operator: Operator) -> None:
    operator.put(key("a"))
    publish(operator, as_csv(lines_of(operator)))
    operator.s3.put_object(Bucket=BUCKET, Key=f"inventory/{INPUT_BUCKET}/all/data/list-0", Body=as_csv([]))
    said = audit(operator)
    assert said.code == 2
    assert "is not what the inventory's manifest says: its MD5 is " in said.err


def test_parquet_without_pyarrow_says_what_to_install(operator: Operator) -> None:
    publish(operator, b"", fileFormat="Parquet", fileSchema=PARQUET_SCHEMA)
    with mock.patch.dict(sys.modules, {"pyarrow": None}):
        said = audit(operator)
    assert said.code == 2
    assert "needs pyarrow: install it (pip install pyarrow)" in said.err
