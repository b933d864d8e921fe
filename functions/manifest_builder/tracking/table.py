"""DynamoDB calls on the tracking table: keys, (de)serialisation, conditional writes, pages, retries.

Knows nothing of files, locks and manifests. An item here is a `dict` of attribute names to Python values.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from manifest_builder import aws
from manifest_builder.errors import RowContended
from manifest_builder.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Item = dict[str, Any]
PENDING_INDEX = "pending-index"
# One page of a threshold check: a manifest of 3.5 MB files and the one file too many, about 11 read units. A query
# without a limit reads a megabyte (256 read units), although the first few rows hold the answer.
PAGE_ITEMS = 208
CONFLICT_ATTEMPTS = 5
THROTTLED = {"ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"}

_serializer = TypeSerializer()
_deserializer = TypeDeserializer()


def key(date_prefix: str, file_name: str) -> dict[str, "AttributeValueTypeDef"]:
    """The primary key in DynamoDB's JSON."""
    return to_dynamodb({"date_prefix": date_prefix, "file_name": file_name})


def to_dynamodb(item: Item) -> dict[str, "AttributeValueTypeDef"]:
    """DynamoDB's JSON of an item. An attribute that is None is left out."""
    return {name: _serializer.serialize(value) for name, value in item.items() if value is not None}


def from_dynamodb(item: Any) -> Item:
    """The inverse of `to_dynamodb`. Numbers become `Decimal`."""
    return {name: _deserializer.deserialize(value) for name, value in item.items()}


def get(date_prefix: str, file_name: str) -> Item | None:
    """Reads one item consistently; None if there is no such item."""
    found = aws.dynamodb().get_item(
        TableName=settings().tracking_table, Key=key(date_prefix, file_name), ConsistentRead=True
    )
    return from_dynamodb(found["Item"]) if "Item" in found else None


def put_if_unchanged(item: Item, known: Item | None, compared: Sequence[str]) -> Item | None:
    """Writes the item if the table has none under its key (`known` is None), or still has `known`.

    `compared` names the attributes that tell whether the stored item is still `known`. Returns None after the write, or
    else the stored item. Raises RowContended if the stored item was deleted at the same moment.
    """
    condition, names, values = unchanged(known, compared)
    request: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
    if names:
        request["ExpressionAttributeNames"] = names
    try:
        aws.dynamodb().put_item(
            TableName=settings().tracking_table,
            Item=to_dynamodb(item),
            ConditionExpression=condition,
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
            **request,
        )
    except ClientError as error:
        if error_code(error) != "ConditionalCheckFailedException":
            raise
        stored = from_dynamodb(error.response.get("Item", {}))
        if not stored:
            raise RowContended(f"{item['date_prefix']}/{item['file_name']} was deleted during the write") from error
        return stored
    return None


def put_all_if_unchanged(puts: Sequence[tuple[Item, Item | None]], compared: Sequence[str]) -> bool:
    """`put_if_unchanged` for several items, each with what is known to be stored under its key: all or none.

    Returns False, and has written nothing, if one of them has changed.
    """
    actions: Any = []
    for item, known in puts:
        condition, names, values = unchanged(known, compared)
        request: dict[str, Any] = {"ConditionExpression": condition}
        if names:
            request["ExpressionAttributeNames"] = names
        if values:
            request["ExpressionAttributeValues"] = values
        actions.append({"Put": {"TableName": settings().tracking_table, "Item": to_dynamodb(item), **request}})
    try:
        through_conflicts(lambda: aws.dynamodb().transact_write_items(TransactItems=actions))
    except ClientError as error:
        if "ConditionalCheckFailed" in cancellation_reasons(error):
            return False
        raise
    return True


def unchanged(
    known: Item | None, compared: Sequence[str]
) -> tuple[str, dict[str, str], dict[str, "AttributeValueTypeDef"]]:
    """The condition that an item is absent (`known` is None) or has the compared attributes of `known`."""
    if known is None:
        return "attribute_not_exists(date_prefix)", {}, {}
    clauses, names, values = [], {}, {}
    for attribute in compared:
        names[f"#{attribute}"] = attribute
        if known.get(attribute) is not None:
            values[f":{attribute}"] = known[attribute]
            clauses.append(f"#{attribute} = :{attribute}")
        else:
            clauses.append(f"attribute_not_exists(#{attribute})")
    return " AND ".join(clauses), names, to_dynamodb(values)


def update_if(
    date_prefix: str, file_name: str, expression: str, condition: str, values: Item, *, names: dict[str, str]
) -> bool:
    """Updates one item; False if the condition does not hold."""
    try:
        through_conflicts(
            lambda: aws.dynamodb().update_item(
                TableName=settings().tracking_table,
                Key=key(date_prefix, file_name),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=to_dynamodb(values),
            )
        )
    except ClientError as error:
        if error_code(error) == "ConditionalCheckFailedException":
            return False
        raise
    return True


def query(partition: str, prefix: str = "") -> Iterator[Item]:
    """Items of a partition whose sort keys begin so, in their order, read consistently and page by page."""
    condition = _partition(partition)
    if prefix:
        condition["KeyConditionExpression"] += " AND begins_with(file_name, :prefix)"
        condition["ExpressionAttributeValues"] |= to_dynamodb({":prefix": prefix})
    yield from _pages("query", ConsistentRead=True, **condition)


def query_eventually(partition: str, attributes: Sequence[str]) -> Iterator[Item]:
    """Items of a partition, reduced to these attributes. Half the price of `query`, but what was written within the
    last second may be missing. DynamoDB bills the whole items (developer guide, "Capacity consumption for Query")."""
    names = {f"#{attribute}": attribute for attribute in attributes}
    yield from _pages(
        "query", ProjectionExpression=", ".join(names), ExpressionAttributeNames=names, **_partition(partition)
    )


def pages_after(
    partition: str, file_name: str | None, condition: str, values: Item
) -> Iterator[tuple[list[Item], str | None]]:
    """Items of a partition behind this sort key for which the filter condition holds, page by page, read consistently.

    Each page comes with the sort key up to which the partition has been read; None: to its end.
    """
    request = _partition(partition)
    if file_name:
        request["KeyConditionExpression"] += " AND file_name > :file_name"
        values = values | {":file_name": file_name}
    request["ExpressionAttributeValues"] |= to_dynamodb(values)
    pages: Any = aws.dynamodb().get_paginator("query")
    for page in pages.paginate(
        TableName=settings().tracking_table, ConsistentRead=True, FilterExpression=condition, **request
    ):
        last = page.get("LastEvaluatedKey")
        yield [from_dynamodb(item) for item in page["Items"]], from_dynamodb(last)["file_name"] if last else None


def query_pending(partition: str, until: str | None = None) -> Iterator[Item]:
    """Entries of a partition in the pending index, by `pending_since` (inclusive), read consistently and lazily."""
    condition = _partition(partition)
    if until:
        condition["KeyConditionExpression"] += " AND pending_since <= :until"
        condition["ExpressionAttributeValues"] |= to_dynamodb({":until": until})
    yield from _pages(
        "query",
        IndexName=PENDING_INDEX,
        ConsistentRead=True,
        PaginationConfig={"PageSize": PAGE_ITEMS},
        **condition,
    )


def scan_pending(attributes: str) -> Iterator[Item]:
    """Every entry of the pending index, reduced to these attributes. Eventually consistent."""
    yield from _pages("scan", IndexName=PENDING_INDEX, ProjectionExpression=attributes)


def scan(condition: str, values: Item) -> Iterator[Item]:
    """Items of the whole table for which the filter condition holds. Reads, and bills, the whole table."""
    yield from _pages("scan", FilterExpression=condition, ExpressionAttributeValues=to_dynamodb(values))


def _pages(operation: Any, **request: Any) -> Iterator[Item]:
    pages: Any = aws.dynamodb().get_paginator(operation)
    for page in pages.paginate(TableName=settings().tracking_table, **request):
        for item in page["Items"]:
            yield from_dynamodb(item)


def _partition(partition: str) -> dict[str, Any]:
    return {
        "KeyConditionExpression": "date_prefix = :date_prefix",
        "ExpressionAttributeValues": to_dynamodb({":date_prefix": partition}),
    }


def through_conflicts(call: Callable[[], Any]) -> None:
    """Runs a write and repeats it while another transaction holds its items, for less than 1 s.

    botocore does not retry TransactionConflictException, nor a transaction that was cancelled for such a conflict.
    """
    for attempt in range(CONFLICT_ATTEMPTS):
        try:
            call()
            return
        except ClientError as error:
            if attempt == CONFLICT_ATTEMPTS - 1 or not _is_conflict(error):
                raise
            time.sleep(random.uniform(0.02, 0.04) * 2**attempt)


def _is_conflict(error: ClientError) -> bool:
    if error_code(error) == "TransactionConflictException":
        return True
    reasons = cancellation_reasons(error)
    return "TransactionConflict" in reasons and "ConditionalCheckFailed" not in reasons


def cancellation_reasons(error: ClientError) -> tuple[str, ...]:
    """The reason code for each action of a cancelled transaction of two actions, in their order; "None" is a code."""
    if error_code(error) != "TransactionCanceledException":
        return ("None", "None")
    reasons: list[dict[str, str]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]
    return tuple(reason.get("Code", "None") for reason in reasons)


def error_code(error: ClientError) -> str:
    """The AWS error code, such as `ConditionalCheckFailedException`."""
    return error.response["Error"]["Code"]
