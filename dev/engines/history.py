"""The event history of an execution, in the form that all engines share."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.type_defs import ExecutionFailedEventDetailsTypeDef, HistoryEventTypeDef


def read(sfn: "SFNClient", execution_arn: str) -> list["HistoryEventTypeDef"]:
    pages = sfn.get_paginator("get_execution_history").paginate(executionArn=execution_arn)
    return [event for page in pages for event in page["events"]]


def states_entered(events: Iterable["HistoryEventTypeDef"]) -> list[str]:
    """In the order in which they were entered, those inside Maps and Parallels too."""
    return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]


def failure(events: Iterable["HistoryEventTypeDef"]) -> "ExecutionFailedEventDetailsTypeDef":
    """Error and cause; empty if the execution has not failed. DescribeExecution did not always tell them."""
    for event in events:
        if "executionFailedEventDetails" in event:
            return event["executionFailedEventDetails"]
    return {}
