"""The repository's template and definition, read by everything that would otherwise repeat them."""

import json
import re
from functools import cache
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from dev.paths import DEFINITION, TEMPLATE


@cache
def template() -> dict[str, Any]:
    return dict(yaml_parse(TEMPLATE.read_text()))


def table_schema() -> dict[str, Any]:
    """CreateTable's arguments for the tracking table, less its name."""
    properties = template()["Resources"]["TrackingTable"]["Properties"]
    names = ("AttributeDefinitions", "KeySchema", "LocalSecondaryIndexes", "BillingMode")
    return {name: properties[name] for name in names}


def definition(substitutions: dict[str, str]) -> str:
    """The definition as CloudFormation hands it to Step Functions."""
    return re.sub(r"\$\{(\w+)\}", lambda match: substitutions[match.group(1)], DEFINITION.read_text())


def all_states(machine: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Every state by name, those inside Maps and Parallels too."""
    machine = json.loads(DEFINITION.read_text()) if machine is None else machine
    found: dict[str, dict[str, Any]] = {}
    for name, state in machine["States"].items():
        found[name] = state
        inner = [state["Iterator"]] if "Iterator" in state else state.get("Branches", [])
        for machine_inside in inner:
            found |= all_states(machine_inside)
    return found
