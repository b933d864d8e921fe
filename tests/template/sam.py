"""The tests' view of template.yaml after the SAM transform, and of samconfig.toml."""

import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

from dev.expand_template import expand
from dev.paths import ROOT, TEMPLATE

Json = dict[str, Any]

LOG_AND_TRACE_DELIVERY = {
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsx-ray.html
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    # https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:DescribeResourcePolicies",
    "logs:DescribeLogGroups",
}
"""How a state machine's log and traces are delivered, with its role. None of these actions knows a resource."""


NO_VALUE = {"Ref": "AWS::NoValue"}


@cache
def expanded() -> Json:
    return expand(TEMPLATE.read_text())


@cache
def environments() -> Json:
    """samconfig.toml: environment -> parameters of `sam deploy`."""
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    return {name: commands["deploy"]["parameters"] for name, commands in config.items() if isinstance(commands, dict)}


def overrides(environment: str) -> dict[str, str]:
    """The template parameters that an environment of samconfig.toml sets."""
    return dict(pair.split("=", 1) for pair in shlex.split(environments()[environment]["parameter_overrides"]))


def resources(*types: str) -> dict[str, Json]:
    """Expanded resources of these types, by logical id."""
    return {name: resource for name, resource in expanded()["Resources"].items() if resource["Type"] in types}


def properties(logical_id: str) -> Json:
    found: Json = expanded()["Resources"][logical_id]["Properties"]
    return found


def functions() -> dict[str, Json]:
    """Properties of the functions by state name: `AcquireLock`, not `AcquireLockFunction`."""
    return {
        name.removesuffix("Function"): resource["Properties"]
        for name, resource in resources("AWS::Lambda::Function").items()
    }


def identity_statements() -> list[tuple[str, Json]]:
    """(logical id of the role or managed policy, statement) for every statement of a role."""
    documents = [
        (name, policy["PolicyDocument"])
        for name, role in resources("AWS::IAM::Role").items()
        for policy in role["Properties"].get("Policies", [])
    ]
    documents += [
        (name, policy["Properties"]["PolicyDocument"])
        for name, policy in resources("AWS::IAM::ManagedPolicy", "AWS::IAM::Policy").items()
    ]
    return [(name, statement) for name, document in documents for statement in document["Statement"]]


def resource_statements(**parameters: str) -> list[tuple[str, Json]]:
    """(logical id, statement) of every policy of a bucket or queue in a stack with these parameters."""
    return [
        (name, statement)
        for name, policy in stack(**parameters)["Resources"].items()
        if policy["Type"] in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy")
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]


def stack(**parameters: str) -> Json:
    """The values of the template's conditions. Parameters that are not given have their defaults."""
    given = {name: parameter.get("Default") for name, parameter in expanded()["Parameters"].items()} | parameters
    named: Json = expanded()["Conditions"]

    def holds(condition: Any) -> bool:
        match condition:
            case {"Condition": str(name)}:
                return holds(named[name])
            case {"Fn::Not": [inner]}:
                return not holds(inner)
            case {"Fn::And": list(parts)}:
                return all(map(holds, parts))
            case {"Fn::Equals": [{"Ref": str(name)}, value]}:
                return bool(given[name] == value)
        raise ValueError(f"unknown here: {condition}")

    def chosen(value: Any) -> Any:
        match value:
            case {"Fn::If": [str(name), then, otherwise]}:
                return chosen(then if holds(named[name]) else otherwise)
            case dict():
                inside = {key: chosen(inner) for key, inner in value.items()}
                return {key: inner for key, inner in inside.items() if inner != NO_VALUE}
            case list():
                return [inner for inner in map(chosen, value) if inner != NO_VALUE]
        return value

    def is_made(part: Json) -> bool:
        return "Condition" not in part or holds(named[part["Condition"]])

    def made(parts: Json) -> Json:
        return {
            name: chosen({key: value for key, value in part.items() if key != "Condition"})
            for name, part in parts.items()
            if is_made(part)
        }

    return {part: made(expanded()[part]) for part in ("Resources", "Outputs")}


def actions(statement: Json) -> set[str]:
    found = statement["Action"]
    return set(found) if isinstance(found, list) else {found}


def texts(value: Any) -> Iterator[str]:
    """Every text anywhere in a piece of template."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    else:
        yield str(value)
