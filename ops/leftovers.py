"""Deletes what an acceptance test has made. Its date is the date of nothing else."""

from typing import TYPE_CHECKING

import boto3

from manifest_builder import aws
from manifest_builder.settings import settings
from manifest_builder.tracking import table
from ops.stack import Stack
from toolkit.errors import UsageError

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef


def prefix_of(date_prefix: str) -> str:
    """How the keys of the test's files begin."""
    return f"smoke/{date_prefix}/"


def delete_files(stack: Stack, date_prefix: str) -> None:
    """Deletes every version of the test's files. S3 announces each to the workflow. Raises UsageError."""
    _delete_objects(stack.input_bucket, prefix_of(date_prefix))


def delete_results(stack: Stack, date_prefix: str) -> int:
    """Deletes copies of refused files, manifests and the job's output; the number of object versions. Raises
    UsageError."""
    folders = [(settings().manifest_bucket, f"manifests/{date_prefix}/")]
    if settings().quarantine_bucket:
        folders.append((str(settings().quarantine_bucket), prefix_of(date_prefix)))
    if stack.output_bucket:
        folders += [(stack.output_bucket, f"{kind}/date={date_prefix}/") for kind in ("parquet", "malformed")]
    return sum(_delete_objects(bucket, prefix) for bucket, prefix in folders)


def delete_partitions(date_prefix: str) -> None:
    """Deletes the date's partitions of the table that the stack's own job keeps in Glue's catalog."""
    glue = boto3.client("glue")
    try:
        arguments = glue.get_job(JobName=settings().glue_job_name)["Job"].get("DefaultArguments", {})
    except glue.exceptions.EntityNotFoundException:
        return
    database, name = arguments.get("--GLUE_DATABASE"), arguments.get("--GLUE_TABLE")
    if not database or not name:
        return
    found = [
        partition["Values"]
        for page in glue.get_paginator("get_partitions").paginate(
            DatabaseName=database, TableName=name, Expression=f"date = '{date_prefix}'"
        )
        for partition in page["Partitions"]
    ]
    for values in found:
        glue.delete_partition(DatabaseName=database, TableName=name, PartitionValues=values)


def delete_rows(date_prefix: str) -> int:
    """Deletes the rows of the files and the records of the manifests; their number."""
    deleted = 0
    for partition in (date_prefix, f"MANIFEST#{date_prefix}"):
        for item in table.query(partition):
            aws.dynamodb().delete_item(TableName=settings().tracking_table, Key=table.key(partition, item["file_name"]))
            deleted += 1
    return deleted


def _delete_objects(bucket: str, prefix: str) -> int:
    s3 = boto3.client("s3")
    deleted = 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        found: list[ObjectIdentifierTypeDef] = [
            {"Key": version["Key"], "VersionId": version["VersionId"]}
            for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        ]
        if found:
            refused = s3.delete_objects(Bucket=bucket, Delete={"Objects": found, "Quiet": True}).get("Errors", [])
            for error in refused:
                raise UsageError(f"{error['Key']} cannot be deleted: {error['Code']}: {error.get('Message', '')}")
            deleted += len(found)
    return deleted
