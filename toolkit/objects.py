"""Objects of a bucket."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def keys_and_etags(s3: "S3Client", bucket: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Of the current objects. The etags have no quotes."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            yield item["Key"], item["ETag"].strip('"')
