"""The metrics of alarms and dashboards, with the names and dimensions that CloudWatch receives."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dev.simulator.telemetry import Metric
from dev.simulator.world import ENVIRONMENT
from tests.template.sam import Json, properties, resources

# The function names of the simulator stand for the names in an account.
STAND_INS = {"NamePrefix": ENVIRONMENT["POWERTOOLS_SERVICE_NAME"], "AWS::Region": ENVIRONMENT["AWS_DEFAULT_REGION"]}


@dataclass(frozen=True)
class Look:
    """A metric and the statistic that an alarm or widget uses. Resources appear as `<Name>` or `<Name.Attribute>`."""

    where: str
    metric: Metric
    statistic: str


def resolve(value: Any) -> str:
    """Text with parameters replaced by their stand-ins, and resources by their names."""
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    match function:
        case "Ref":
            return STAND_INS.get(argument, f"<{argument}>")
        case "Fn::GetAtt":
            return f"<{'.'.join(argument)}>"
        case "Fn::Sub":
            return re.sub(r"\$\{([\w.:]+)\}", lambda name: resolve({"Ref": name.group(1)}), argument)
    raise ValueError(f"unknown here: {function}")


def alarms() -> dict[str, Json]:
    """Properties of the alarms by logical id."""
    return {name: properties(name) for name in resources("AWS::CloudWatch::Alarm")}


def widgets() -> list[Json]:
    """The widgets of all dashboards."""
    return [widget for name in resources("AWS::CloudWatch::Dashboard") for widget in widgets_of(name)]


def widgets_of(dashboard: str) -> list[Json]:
    return list(json.loads(resolve(properties(dashboard)["DashboardBody"]))["widgets"])


def looks() -> Iterator[Look]:
    for name, alarm in alarms().items():
        dimensions = {dimension["Name"]: resolve(dimension["Value"]) for dimension in alarm["Dimensions"]}
        yield Look(name, (alarm["Namespace"], alarm["MetricName"], frozenset(dimensions.items())), alarm["Statistic"])
    for widget in widgets():
        if widget["type"] == "metric":
            yield from looks_of_widget(widget["properties"])


def looks_of_widget(widget: Json) -> Iterator[Look]:
    """Its metrics written out.

    `.` stands for the same part of the metric before, `...` for as many of its parts as are missing. Source: CloudWatch
    API reference, "Dashboard body structure and syntax".
    """
    written_out: list[list[str]] = [[]]
    for entry in widget["metrics"]:
        parts = [part for part in entry if isinstance(part, str)]
        options = [part for part in entry if not isinstance(part, str)]
        before = written_out[-1]
        if parts[0] == "...":
            parts = before[: len(before) - len(parts) + 1] + parts[1:]
        parts = [before[number] if part == "." else part for number, part in enumerate(parts)]
        written_out.append(parts)
        namespace, name, *dimensions = parts
        named = frozenset(zip(dimensions[::2], dimensions[1::2], strict=True))
        statistic = options[0].get("stat") if options else None
        yield Look(widget["title"], (namespace, name, named), statistic or widget["stat"])
