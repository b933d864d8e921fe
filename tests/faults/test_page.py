"""docs/reliability.md is the page of the sweep in this repository: it lists the same scenarios and controls."""

import re

from dev.faults.controls import CONTROLS, UNREACHABLE
from dev.faults.page import REPORT
from dev.faults.scenarios import SCENARIOS


def items(heading: str) -> list[str]:
    section = REPORT.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^- (.*)$", section, re.MULTILINE)


def test_the_page_lists_the_scenarios_of_the_sweep() -> None:
    assert items("Scenarios") == [str(scenario) for scenario in SCENARIOS]


def test_the_page_lists_the_controls_and_the_invariants_that_caught_them() -> None:
    rows = re.findall(r"^\| (.*) \| `(\w+)` \|$", REPORT.read_text(), re.MULTILINE)

    assert rows == [(str(control), control.caught_by.__name__) for control in CONTROLS]


def test_the_page_lists_the_clauses_that_no_run_can_tell() -> None:
    assert items("Controls") == [f"{clause}: {reason}" for clause, reason in UNREACHABLE.items()]
