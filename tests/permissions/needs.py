"""The permissions that IAM requires for an AWS call: actions, resources, and partition keys of the rows.

Source: AWS service authorization reference, "Actions, resources, and condition keys" of each service.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dev.simulator.world import ACCOUNT, REGION

TRANSACTION_ACTIONS = {
    "ConditionCheck": "dynamodb:ConditionCheckItem",
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
}
NOT_FOUND = 404


@dataclass(frozen=True)
class Call:
    """One AWS call by its caller, with the arguments given to the SDK and the HTTP status of the answer."""

    caller: str
    service: str
    operation: str
    arguments: dict[str, Any]
    status: int


@dataclass(frozen=True)
class Need:
    """`action` on `resource` (an ARN). For a table also the partition keys of the rows."""

    action: str
    resource: str
    leading_keys: frozenset[str] = frozenset()

    def __str__(self) -> str:
        keys = f" with the keys {', '.join(sorted(self.leading_keys))}" if self.leading_keys else ""
        return f"{self.action} on {self.resource}{keys}"


def needs(call: Call) -> set[Need]:
    """Raises AssertionError for an operation that this module does not know."""
    return set(_needs(call))


def _needs(call: Call) -> Iterator[Need]:
    arguments = call.arguments
    match call.service, call.operation:
        case "dynamodb", "TransactWriteItems":
            yield from _transaction(arguments["TransactItems"])
        case "dynamodb", "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" | "Query":
            yield Need(f"dynamodb:{call.operation}", _table(arguments), frozenset({_partition(arguments)}))
        case "dynamodb", "BatchGetItem":
            for table, request in arguments["RequestItems"].items():
                keys = frozenset(_partition({"Key": key}) for key in request["Keys"])
                yield Need("dynamodb:BatchGetItem", _table({"TableName": table}), keys)
        case "dynamodb", "Scan":
            yield Need("dynamodb:Scan", _table(arguments))
        case "s3", _:
            yield from _s3(call)
        case "glue", _:
            yield from _glue(call)
        case "sns" | "sqs" | "events", _:
            yield from _messages(call)
        case "lambda", "Invoke":
            yield Need("lambda:InvokeFunction", arguments["FunctionName"])
        case "stepfunctions", "StartSyncExecution":
            yield Need("states:StartSyncExecution", arguments["stateMachineArn"])
        case _:
            raise unknown(call)


def _messages(call: Call) -> Iterator[Need]:
    arguments = call.arguments
    match call.service, call.operation:
        case "sns", "Publish":
            yield Need("sns:Publish", arguments["TopicArn"])
        case "sqs", "ChangeMessageVisibilityBatch" | "SendMessage" | "SendMessageBatch":
            queue = arguments["QueueUrl"].rpartition("/")[2]
            yield Need(f"sqs:{call.operation.removesuffix('Batch')}", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}")
        case "events", "PutEvents":
            for entry in arguments["Entries"]:
                yield Need("events:PutEvents", f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{entry['EventBusName']}")
        case _:
            raise unknown(call)


def _glue(call: Call) -> Iterator[Need]:
    arguments = call.arguments
    match call.operation:
        case "StartJobRun" | "GetJobRuns" | "GetJobRun" | "GetJob":
            resources = [f"job/{arguments['JobName']}"]
        case "GetTable" | "UpdateTable" | "CreatePartition" | "UpdatePartition" | "DeletePartition":
            database = arguments["DatabaseName"]
            table = arguments.get("TableName") or arguments.get("Name") or arguments["TableInput"]["Name"]
            resources = ["catalog", f"database/{database}", f"table/{database}/{table}"]
        case _:
            raise unknown(call)
    for resource in resources:
        yield Need(f"glue:{call.operation}", f"arn:aws:glue:{REGION}:{ACCOUNT}:{resource}")


def _s3(call: Call) -> Iterator[Need]:
    arguments = call.arguments
    match call.operation:
        case "GetObject" | "HeadObject":
            yield from _read(arguments, call.status)
        case "CopyObject" | "UploadPartCopy":
            yield from _read(arguments["CopySource"], call.status)
            yield Need("s3:PutObject", _object(arguments))
        case "PutObject" | "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload":
            yield Need("s3:PutObject", _object(arguments))
        case "DeleteObject" | "AbortMultipartUpload":
            yield Need(f"s3:{call.operation}", _object(arguments))
        case "DeleteObjects":
            for item in arguments["Delete"]["Objects"]:
                yield Need("s3:DeleteObject", f"{_bucket(arguments)}/{item['Key']}")
        case "ListObjectsV2":
            yield Need("s3:ListBucket", _bucket(arguments))
        case "ListObjectVersions":
            yield Need("s3:ListBucketVersions", _bucket(arguments))
        case _:
            raise unknown(call)


def unknown(call: Call) -> AssertionError:
    return AssertionError(
        f"{call.caller} calls {call.service} {call.operation}: say in {__name__} what IAM asks for it"
    )


def _transaction(items: list[dict[str, Any]]) -> Iterator[Need]:
    """IAM may judge all keys of a transaction together, so each of its actions needs all of them."""
    parts = [part for item in items for part in item.items()]
    keys = frozenset(_partition(arguments) for _, arguments in parts)
    for kind, arguments in parts:
        yield Need(TRANSACTION_ACTIONS[kind], _table(arguments), keys)


def _table(arguments: dict[str, Any]) -> str:
    index = f"/index/{arguments['IndexName']}" if "IndexName" in arguments else ""
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{arguments['TableName']}{index}"


def _partition(arguments: dict[str, Any]) -> str:
    """The partition key of the row, or of the rows that a query looks for."""
    if "KeyConditionExpression" in arguments:
        name = arguments["KeyConditionExpression"].removeprefix("date_prefix = ").split()[0]
        return str(arguments["ExpressionAttributeValues"][name]["S"])
    key = arguments.get("Key") or arguments["Item"]
    return str(key["date_prefix"]["S"])


def _read(place: dict[str, Any], status: int) -> Iterator[Need]:
    yield Need("s3:GetObjectVersion" if "VersionId" in place else "s3:GetObject", _object(place))
    if status == NOT_FOUND:
        # Without permission to list the bucket, S3 responds 403 instead of 404 for a missing object.
        yield Need("s3:ListBucket", _bucket(place))


def _bucket(place: dict[str, Any]) -> str:
    return f"arn:aws:s3:::{place['Bucket']}"


def _object(place: dict[str, Any]) -> str:
    return f"{_bucket(place)}/{place['Key']}"
