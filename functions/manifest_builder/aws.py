"""AWS clients, made once per process at first use: to make one takes 60 to 120 ms of cold start."""

from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient

# The critical section has 70 s for all its steps, so a call that hangs is given up well within its function's timeout.
# All services get the same number of attempts.
_PROMPT = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 3})
_COPY = Config(connect_timeout=2, read_timeout=50, retries={"mode": "standard", "total_max_attempts": 2})

_LIST = Config(connect_timeout=2, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 5})


@cache
def dynamodb() -> "DynamoDBClient":
    return boto3.client("dynamodb", config=_PROMPT.merge(Config(max_pool_connections=32)))


@cache
def s3() -> "S3Client":
    return boto3.client("s3", config=_PROMPT)


@cache
def s3_for_copies() -> "S3Client":
    """S3 answers a copy request only when the copy is complete, which takes long for a large object."""
    return boto3.client("s3", config=_COPY)


@cache
def s3_for_lists() -> "S3Client":
    """S3 skips many deleted versions to fill a page, which takes long, and many pages are read one after the other."""
    return boto3.client("s3", config=_LIST)


@cache
def glue() -> "GlueClient":
    return boto3.client("glue", config=_PROMPT)


@cache
def events() -> "EventBridgeClient":
    return boto3.client("events", config=_PROMPT)


@cache
def sns() -> "SNSClient":
    return boto3.client("sns", config=_PROMPT)
