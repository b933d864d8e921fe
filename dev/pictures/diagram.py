"""Writes the picture of the state machine into docs/architecture.md: a Mermaid flowchart made from the definition.

python -m dev.pictures.diagram [--check]
"""

import argparse
import re
import sys
from collections.abc import Iterator

from dev.paths import DOCS
from dev.trace.machine import Edge, Machine

PAGE = DOCS / "architecture.md"
MARKERS = re.compile(r"(<!-- state machine -->\n).*?(<!-- /state machine -->)", re.DOTALL)

SHAPES = {"choice": "{{{name}}}", "pass": "({name})", "succeed": "([{name}])", "fail": "([{name}])"}
STYLES = {"pass": "quiet", "succeed": "quiet"}
"""Kinds of states that have no style of their own name."""
TITLES = {"map": "Map", "parallel": "the try block"}
CLASSES = """\
    classDef function fill:#fff4e5,stroke:#d97706,color:#1f2937
    classDef service fill:#e8f1ff,stroke:#2563eb,color:#1f2937
    classDef choice fill:#f8fafc,stroke:#64748b,color:#1f2937
    classDef fail fill:#fee2e2,stroke:#dc2626,color:#1f2937
    classDef quiet fill:#ffffff,stroke:#94a3b8,color:#1f2937"""


def flowchart(machine: Machine) -> str:
    """The machine as Mermaid text. Dashed arrows are taken on errors; boxes around boxes are Maps and the Parallel."""
    return "\n".join(["```mermaid", "flowchart TB", *_states(machine, "    "), CLASSES, "```", ""])


def _states(machine: Machine, indent: str) -> Iterator[str]:
    # Mermaid lays out the last subgraph first, and from there finds out which arrow of a loop leads back.
    for state in reversed(machine.states):
        if state.inside:
            yield f'{indent}subgraph {state.name}["{state.name} ({TITLES[state.kind]})"]'
            yield f"{indent}    direction TB"
            yield from _states(state.inside, indent + "    ")
            yield f"{indent}end"
        else:
            shape = SHAPES.get(state.kind, "[{name}]").format(name=state.name)
            yield f"{indent}{state.name}{shape}:::{STYLES.get(state.kind, state.kind)}"
    for edge in machine.edges:
        yield f"{indent}{edge.source} {_arrow(edge)} {edge.target}"


def _arrow(edge: Edge) -> str:
    return ("-.->" if edge.is_catch else "-->") + (f"|{edge.label}|" if edge.label else "")


def with_picture(page: str) -> str:
    """The page's text with a new picture."""
    picture = flowchart(Machine.load())
    return MARKERS.sub(lambda found: found[1] + picture + found[2], page)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the picture is out of date")
    arguments = parser.parse_args()
    page = PAGE.read_text()
    current = with_picture(page)
    if arguments.check:
        if page != current:
            print(
                "docs/architecture.md: the state machine's picture is out of date; run `make diagram`",
                file=sys.stderr,
            )
            return 1
    else:
        PAGE.write_text(current)
    return 0


if __name__ == "__main__":
    sys.exit(main())
