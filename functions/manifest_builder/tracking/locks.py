"""The lock of a date: a lease that one run holds while it builds manifests. The lease rule is in this module alone.

acquire ──> held (LOCK_TTL_SECONDS) ──> release: the item is deleted
                                   └──> expired: the next acquire overwrites the item
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from manifest_builder import aws, clock
from manifest_builder.settings import settings
from manifest_builder.tracking import table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import ConditionCheckTypeDef

SORT_KEY = "LOCK"


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock item, expired or not."""

    run_id: str
    expires_at: datetime


def acquire(date_prefix: str, run_id: str, token: str, now: datetime) -> bool:
    """Takes the date's lock for LOCK_TTL_SECONDS with a fresh token; False if another run holds it."""
    expires = now + timedelta(seconds=settings().lock_ttl_seconds)
    lock_is_free = "attribute_not_exists(date_prefix)"
    lease_is_over = "#ttl < :now"  # never rely on DynamoDB's TTL deletion: it runs days late
    lock_is_ours = "lock_id = :lock_id"  # a retry after a lost response must not lock itself out
    lock = {
        "date_prefix": _partition(date_prefix),
        "file_name": SORT_KEY,
        "lock_id": run_id,
        "token": token,
        "ttl": int(expires.timestamp()),
        "created_at": clock.to_text(now),
    }
    try:
        table.through_conflicts(
            lambda: aws.dynamodb().put_item(
                TableName=settings().tracking_table,
                Item=table.to_dynamodb(lock),
                ConditionExpression=f"{lock_is_free} OR {lease_is_over} OR {lock_is_ours}",
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues=table.to_dynamodb({":now": int(now.timestamp()), ":lock_id": run_id}),
            )
        )
    except ClientError as error:
        if table.error_code(error) in ("ConditionalCheckFailedException", "TransactionConflictException"):
            return False
        raise
    return True


def release(date_prefix: str, run_id: str, token: str | None) -> bool:
    """Deletes the lock item if it has this token; if the token is None, because AcquireLock's response was lost, if it
    has this run. False: the lock is another run's, or there is none."""
    name, value = ("token", token) if token else ("lock_id", run_id)
    try:
        table.through_conflicts(
            lambda: aws.dynamodb().delete_item(
                TableName=settings().tracking_table,
                Key=_key(date_prefix),
                ConditionExpression="#holder = :holder",
                ExpressionAttributeNames={"#holder": name},
                ExpressionAttributeValues=table.to_dynamodb({":holder": value}),
            )
        )
    except ClientError as error:
        if table.error_code(error) == "ConditionalCheckFailedException":
            return False
        raise
    return True


def lease_is_ours(date_prefix: str, token: str, now: datetime) -> "ConditionCheckTypeDef":
    """The action of a transaction that fails unless the lock has this token and its lease is not over."""
    return {
        "TableName": settings().tracking_table,
        "Key": _key(date_prefix),
        "ConditionExpression": "#token = :token AND #ttl >= :now",
        "ExpressionAttributeNames": {"#token": "token", "#ttl": "ttl"},
        "ExpressionAttributeValues": table.to_dynamodb({":token": token, ":now": int(now.timestamp())}),
    }


def read(date_prefix: str) -> Lock | None:
    """The date's lock item, even if its lease is over; None if there is none."""
    item = table.get(_partition(date_prefix), SORT_KEY)
    return Lock(item["lock_id"], datetime.fromtimestamp(int(item["ttl"]), UTC)) if item else None


def _partition(date_prefix: str) -> str:
    return f"LOCK#manifest-{date_prefix}"


def _key(date_prefix: str) -> dict[str, Any]:
    return table.key(_partition(date_prefix), SORT_KEY)
