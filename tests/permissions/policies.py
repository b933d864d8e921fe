"""The roles of the template, with the names and ARNs that the simulated account gives to its resources."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fnmatch import filter as matching
from fnmatch import fnmatchcase
from typing import Any

from dev.simulator.world import (
    ACCOUNT,
    ENVIRONMENT,
    FUNCTIONS,
    GLUE_JOB,
    INPUT_BUCKET,
    MANIFEST_BUCKET,
    QUARANTINE_BUCKET,
    REGION,
    TRACKING_TABLE,
    function_arn,
)
from tests.permissions.needs import Need
from tests.template.sam import Json, actions, identity_statements, properties, resources

# Names of resources that the simulated account does not have.
NAME_PREFIX = "manifest-builder-test"
OUTPUT_BUCKET = "output-bucket"
GLUE_DATABASE, GLUE_TABLE = "lake", "manifest_builder_test"
COLUMN_TYPES = "s3://types-bucket/types.json"
ALARM_TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:{NAME_PREFIX}-alarms"
REFERENCES = {
    "AlarmTopic": ALARM_TOPIC,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "NamePrefix": NAME_PREFIX,
    "EventBusName": ENVIRONMENT["EVENT_BUS_NAME"],
    "GlueJob": GLUE_JOB,
    "ManifestStateMachine": ENVIRONMENT["STATE_MACHINE_ARN"],
    "InputBucket": INPUT_BUCKET,
    "OutputBucket": OUTPUT_BUCKET,
    "ColumnTypes": COLUMN_TYPES,
    "GlueDatabase": GLUE_DATABASE,
    "ManifestBucket.Arn": f"arn:aws:s3:::{MANIFEST_BUCKET}",
    "QuarantineBucket.Arn": f"arn:aws:s3:::{QUARANTINE_BUCKET}",
    "OutputBucket.Arn": f"arn:aws:s3:::{OUTPUT_BUCKET}",
    "TrackingTable.Arn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{TRACKING_TABLE}",
    **{
        f"{queue}.Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{ENVIRONMENT[url].rpartition('/')[2]}"
        for queue, url in (("InputQueue", "QUEUE_URL"), ("DeadLetterQueue", "DEAD_LETTER_QUEUE_URL"))
    },
} | {f"{state}Function.Arn": function_arn(state) for state in (*FUNCTIONS, "AuditFiles")}


@dataclass(frozen=True)
class Statement:
    """A statement that allows actions on resources. With leading keys: on rows with these partition keys only.

    Resources and leading keys are patterns.
    """

    actions: frozenset[str]
    resources: tuple[str, ...]
    leading_keys: tuple[str, ...]

    def allows(self, need: Need) -> bool:
        return (
            need.action in self.actions
            and _matches_any(need.resource, self.resources)
            and (not self.leading_keys or all(_matches_any(key, self.leading_keys) for key in need.leading_keys))
        )


def statements_of(role: str) -> list[Statement]:
    """The statements of the role's inline policies and attached policies, with every parameter set."""
    sources = {role, *(policy["Ref"] for policy in properties(role).get("ManagedPolicyArns", []))}
    sources |= {name for name in resources("AWS::IAM::Policy") if {"Ref": role} in properties(name)["Roles"]}
    return [parsed(statement) for source, statement in identity_statements() if source in sources]


def missing(statements: Iterable[Statement], needs: Iterable[Need]) -> list[str]:
    """The needs that no statement allows."""
    granted = list(statements)
    return sorted(str(need) for need in needs if not any(statement.allows(need) for statement in granted))


def unused(statements: Iterable[Statement], needs: Collection[Need], called_by_aws: Collection[str]) -> list[str]:
    """Actions, resources and leading keys that no need uses. `called_by_aws`: actions of AWS that are not recorded."""
    found: list[str] = []
    for statement in statements:
        own_actions = statement.actions.difference(called_by_aws)
        met = [need for need in needs if statement.allows(need)]
        found += own_actions.difference(need.action for need in met)
        if own_actions:
            resources, keys = {need.resource for need in met}, {key for need in met for key in need.leading_keys}
            found += [pattern for pattern in statement.resources if not matching(resources, pattern)]
            found += [pattern for pattern in statement.leading_keys if not matching(keys, pattern)]
    return sorted(found)


def _matches_any(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def parsed(statement: Json) -> Statement:
    """Raises AssertionError for a statement with an element that this module does not know."""
    condition = statement.get("Condition", {})
    leading_keys = condition.get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys", [])
    understood = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": leading_keys}}
    assert statement["Effect"] == "Allow", f"not understood: {statement}"
    assert condition in ({}, understood), f"not understood: {condition}"
    return Statement(
        frozenset(actions(statement)),
        tuple(resolved(resource) for resource in _list(statement["Resource"])),
        tuple(_list(leading_keys)),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def resolved(value: Any) -> str:  # noqa: PLR0911 - one for each function of CloudFormation
    """A string of the template after substitution. Names that the simulated account does not have stay as they are."""
    match value:
        case {"Ref": str(name)}:
            return REFERENCES.get(name, name)
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return REFERENCES.get(f"{name}.{attribute}", f"{name}.{attribute}")
        case {"Fn::Sub": str(text)}:
            return resolved({"Fn::Sub": [text, {}]})
        case {"Fn::Sub": [str(text), dict(names)]}:
            known: dict[str, str] = REFERENCES | {name: resolved(inner) for name, inner in names.items()}
            return re.sub(r"\$\{([^}]+)\}", lambda found: known.get(found[1], found[1]), text)
        case {"Fn::Join": [str(glue), {"Fn::Split": [str(separator), dict(whole)]}]}:
            return resolved(whole).replace(separator, glue)
        case {"Fn::Select": [int(number), {"Fn::Split": [str(separator), dict(whole)]}]}:
            return resolved(whole).split(separator)[number]
        case {"Fn::If": ["HasOwnJob" | "MakesInputBucket", own, _]}:
            return resolved(own)
    return str(value)
