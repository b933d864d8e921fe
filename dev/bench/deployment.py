"""Inputs of the cost model from template.yaml, samconfig.toml and the definition."""

import re
import shlex
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import Any

from dev.paths import DEFINITION, ROOT
from dev.template import all_states, template

MINUTES = {"minute": 1, "hour": 60}


@dataclass(frozen=True, slots=True)
class Settings:
    """The parameters of an environment that its cost depends on."""

    name: str
    log_level: str
    execution_log_level: str
    log_retention_days: int


@cache
def settings(environment: str) -> Settings:
    """`dev` or `prod`, as samconfig.toml has them."""
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    overrides = config[environment]["deploy"]["parameters"]["parameter_overrides"]
    given = dict(override.split("=", 1) for override in shlex.split(overrides))
    parameters = {name: given.get(name, declared.get("Default")) for name, declared in template()["Parameters"].items()}
    return Settings(environment, parameters["LogLevel"], parameters["SfnLogLevel"], int(parameters["LogRetentionDays"]))


def memory_mb(function: str) -> int:
    """By the name of the function's state; a function that is not ours has the memory that ours have by default."""
    return int(_function_property(function, "MemorySize"))


def traces_per_execution() -> int:
    """Traces that begin here: the machine's, which its functions join, and the trigger's own if it is traced."""
    machine = template()["Resources"]["ManifestStateMachine"]["Properties"]
    return int(machine["Tracing"]["Enabled"]) + int(_function_property("StartWorkflow", "Tracing") == "Active")


def _function_property(function: str, name: str) -> Any:
    properties = template()["Resources"].get(f"{function}Function", {}).get("Properties", {})
    return properties.get(name, template()["Globals"]["Function"][name])


def resources(kind: str) -> int:
    """How many resources of a type the template has."""
    return sum(resource["Type"] == kind for resource in template()["Resources"].values())


def sweeps_per_month() -> float:
    expression = template()["Parameters"]["SweepScheduleExpression"]["Default"]
    found = re.fullmatch(r"rate\((\d+) (minute|hour)s?\)", expression)
    assert found, expression
    return 30 * 24 * 60 / (int(found[1]) * MINUTES[found[2]])


def states_of_a_file() -> dict[str, dict[str, Any]]:
    """The states that a Map runs for each file."""
    return all_states(all_states()["ForEachFile"]["Iterator"])


def files_at_once() -> int:
    return int(all_states()["ForEachFile"]["MaxConcurrency"])


def definition_bytes() -> int:
    return DEFINITION.stat().st_size
