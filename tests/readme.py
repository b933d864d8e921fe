"""README.md as tests read it: its tables and its code blocks."""

import re

from dev.paths import README


def table(first_heading: str) -> list[list[str]]:
    """The cells of each row of the table whose first column has this heading."""
    text = README.read_text().partition(f"| {first_heading} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines()[2:]]


def names(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def queries() -> dict[str, str]:
    """Queries for CloudWatch Logs Insights, by the question that stands before each."""
    block = r"^([^\n]+\?)\n\n```\n((?:fields|filter|stats) [^`]+)\n```$"
    return dict(re.findall(block, README.read_text(), re.MULTILINE))
