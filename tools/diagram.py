"""Writes the picture of the state machine into README.md: a Mermaid flowchart generated from the definition.

python -m tools.diagram [--check]
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DEFINITION = ROOT / "statemachine" / "manifest_builder.asl.json"
README = ROOT / "README.md"
MARKERS = re.compile(r"(<!-- state machine -->\n).*?(<!-- /state machine -->)", re.DOTALL)

SHAPES = {
    "Choice": "{{{name}}}",
    "Pass": "({name})",
    "Succeed": "([{name}])",
    "Fail": "([{name}])",
}
CLASSES = """\
    classDef function fill:#fff4e5,stroke:#d97706,color:#1f2937
    classDef service fill:#e8f1ff,stroke:#2563eb,color:#1f2937
    classDef choice fill:#f8fafc,stroke:#64748b,color:#1f2937
    classDef fail fill:#fee2e2,stroke:#dc2626,color:#1f2937
    classDef quiet fill:#ffffff,stroke:#94a3b8,color:#1f2937"""


def flowchart(machine: dict[str, Any]) -> str:
    """The machine as Mermaid text. Dashed arrows are taken on errors; boxes around boxes are Maps and the Parallel."""
    return "\n".join(["```mermaid", "flowchart TB", *_states(machine, "    "), CLASSES, "```", ""])


def _states(machine: dict[str, Any], indent: str) -> Iterator[str]:
    # Mermaid lays out the last subgraph first, and from there finds out which arrow of a loop leads back.
    for name, state in reversed(machine["States"].items()):
        inside = _inside(state)
        if inside:
            yield f'{indent}subgraph {name}["{name} ({_kind(state)})"]'
            yield f"{indent}    direction TB"
            yield from _states(inside, indent + "    ")
            yield f"{indent}end"
        else:
            shape = SHAPES.get(state["Type"], "[{name}]").format(name=name)
            yield f"{indent}{name}{shape}:::{_class(state)}"
    for name, state in machine["States"].items():
        for branch in state.get("Choices", []):
            yield f"{indent}{name} -->|{_condition(branch)}| {branch['Next']}"
        if "Default" in state:
            yield f"{indent}{name} -->|else| {state['Default']}"
        if "Next" in state:
            yield f"{indent}{name} --> {state['Next']}"
        for catcher in state.get("Catch", []):
            label = "error" if catcher["ErrorEquals"] == ["States.ALL"] else "busy"
            yield f"{indent}{name} -.->|{label}| {catcher['Next']}"


def _inside(state: dict[str, Any]) -> dict[str, Any] | None:
    machine: dict[str, Any] | None = state.get("Iterator") or next(iter(state.get("Branches", [])), None)
    return machine


def _kind(state: dict[str, Any]) -> str:
    return "Map" if state["Type"] == "Map" else "the try block"


def _class(state: dict[str, Any]) -> str:
    if state["Type"] == "Task":
        return "function" if state["Resource"].endswith("FunctionArn}") else "service"
    return {"Choice": "choice", "Fail": "fail"}.get(state["Type"], "quiet")


def _condition(branch: dict[str, Any]) -> str:
    rule = branch["And"][-1] if "And" in branch else branch
    field = rule["Variable"].rpartition(".")[2]
    if "NumericGreaterThan" in rule:
        return f"{field} > {rule['NumericGreaterThan']}"
    return f"not {field}" if rule.get("BooleanEquals") is False else str(field)


def with_picture(readme: str) -> str:
    """The README's text with its picture made anew."""
    picture = flowchart(json.loads(DEFINITION.read_text()))
    return MARKERS.sub(lambda found: found[1] + picture + found[2], readme)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="only say whether the picture is current (exit code 1: no)"
    )
    arguments = parser.parse_args()
    readme = README.read_text()
    current = with_picture(readme)
    if arguments.check:
        if readme != current:
            print("README.md: the picture of the state machine is out of date; run `make diagram`", file=sys.stderr)
            return 1
    else:
        README.write_text(current)
    return 0


if __name__ == "__main__":
    sys.exit(main())
