"""Features that the definition must not use, because one of its engines lacks them. Reads only the definition."""

import re
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

JSON_PATH_ONLY = "Step Functions Local knows JSONPath only, without variables"
ITERATOR_ONLY = "Step Functions Local knows Map with Iterator and Parameters only"
RETRIES = "Step Functions Local rejects it, MiniStack ignores it"
FIELDS = {
    **dict.fromkeys(("QueryLanguage", "Arguments", "Output", "Assign", "Items", "Condition"), JSON_PATH_ONLY),
    **dict.fromkeys(("ItemProcessor", "ItemSelector", "ItemReader", "ItemBatcher", "ResultWriter"), ITERATOR_ONLY),
    **dict.fromkeys(("ToleratedFailureCount", "ToleratedFailurePercentage", "MaxConcurrencyPath"), ITERATOR_ONLY),
    **dict.fromkeys(("JitterStrategy", "MaxDelaySeconds"), RETRIES),
    **dict.fromkeys(("CausePath", "ErrorPath"), "Step Functions Local rejects it"),
}
RESOURCES = {
    "aws-sdk": "Step Functions Local has no endpoints for it",
    "states:::lambda:invoke": "tasks name their functions' ARNs, which every engine calls alike",
    ".sync": "an Express machine does not wait for jobs",
    ".waitForTaskToken": "an Express machine has no task tokens",
}
INTRINSICS = {"States.Format"}
DOTTED_PATH = re.compile(r"\$\$?(\.\w+)*")

PAYLOADS = {"Parameters", "ResultSelector", "Result"}
"""Fields whose content is data: a key in there is a name, not a feature."""
MACHINES = {"Iterator", "ItemProcessor", "Branches"}


def problems(machine: Json, name: str = "the machine") -> Iterator[str]:
    """`state: feature: which engine lacks it`, for the machine and every state in it."""
    yield from _problems_of(name, {field: value for field, value in machine.items() if field != "States"})
    for state_name, state in machine["States"].items():
        yield from _problems_of(state_name, state)
        for field in MACHINES & state.keys():
            inside = state[field]
            for machine_inside in inside if isinstance(inside, list) else [inside]:
                yield from problems(machine_inside, state_name)


def _problems_of(name: str, state: Json) -> Iterator[str]:
    syntax, data = list(_syntax(state)), list(_data(state))
    for field, _ in syntax:
        if field in FIELDS:
            yield f"{name}: {field}: {FIELDS[field]}"
    for part, lack in RESOURCES.items():
        if part in state.get("Resource", ""):
            yield f"{name}: {part}: {lack}"
    if state.get("Type") == "Parallel" and state.get("ResultPath", "$") is not None:
        yield f"{name}: ResultPath: moto cannot read one branch's result out of a Parallel's array"
    for _, value in syntax + data:
        if isinstance(value, str) and "{%" in value:
            yield f"{name}: {value}: {JSON_PATH_ONLY}"
    paths = [value for field, value in syntax if field == "Variable" or field.endswith("Path")]
    for expression in paths + [value for key, value in data if key.endswith(".$")]:
        yield from _problems_in(name, expression)


def _problems_in(name: str, expression: str | None) -> Iterator[str]:
    """Features that a path or a call of an intrinsic function uses."""
    without_texts = re.sub(r"'(\\.|[^'\\])*'", "", expression or "")
    for function in re.findall(r"States\.\w+(?=\()", without_texts):
        if function not in INTRINSICS:
            yield f"{name}: {function}: not every engine is known to have it"
    for path in re.findall(r"\$[^\s,()]*", without_texts):
        if not DOTTED_PATH.fullmatch(path):
            yield f"{name}: {expression}: moto reads fields by their names only, `$.field.field`"


def _syntax(node: Json) -> Iterator[tuple[str, Any]]:
    """Fields of the Amazon States Language at any depth, without fields of payloads and of inner states."""
    for field, value in node.items():
        yield field, value
        if field not in PAYLOADS | MACHINES:
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, dict):
                    yield from _syntax(inner)


def _data(state: Json) -> Iterator[tuple[str, Any]]:
    """Fields of payloads, by key, at any depth."""
    nodes = [state[field] for field in PAYLOADS & state.keys()]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            yield from node.items()
            nodes.extend(node.values())
        elif isinstance(node, list):
            nodes.extend(node)
