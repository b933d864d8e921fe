"""The project's Markdown files as tests read them: headings, links, code, tables."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from dev.paths import DOCS, ROOT

OPERATIONS = DOCS / "operations.md"
ARCHITECTURE = DOCS / "architecture.md"
DEPLOYMENT = DOCS / "deployment.md"
PAGES = (*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md")))


def table(page: Path, first_heading: str) -> list[list[str]]:
    """The cells of each row of the page's table whose first column has this heading."""
    text = page.read_text().partition(f"| {first_heading} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines()[2:]]


def names(cell: str) -> list[str]:
    """The texts in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def queries() -> dict[str, str]:
    """Queries for CloudWatch Logs Insights, by the question in front of each query."""
    block = r"^([^\n]+\?)\n\n```\n((?:fields|filter|stats) [^`]+)\n```$"
    return dict(re.findall(block, OPERATIONS.read_text(), re.MULTILINE))


def links(page: Path) -> set[str]:
    """Targets of the page's links and pictures, in Markdown and in HTML, as they are written."""
    found = set()
    for token in tokens(page):
        if token.type == "link_open":
            found.add(str(token.attrs["href"]))
        elif token.type == "image":
            found.add(str(token.attrs["src"]))
        elif token.type in ("html_block", "html_inline"):
            found |= set(re.findall(r"(?:href|src|srcset)=\"([^\"]+)\"", token.content))
    return found


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that GitHub makes of the page's headings; of equal headings the later ones get `-1`, `-2`."""
    seen: Counter[str] = Counter()
    found = set()
    headings = list(MarkdownIt().enable("table").parse(page.read_text()))
    for opening, inline in pairwise(headings):
        if opening.type != "heading_open":
            continue
        text = "".join(child.content for child in inline.children or [])
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


def code(page: Path) -> list[str]:
    """The page's code spans and code blocks."""
    return [token.content for token in tokens(page) if token.type in ("code_inline", "fence", "code_block")]


def tokens(page: Path) -> Iterator[Token]:
    """All tokens of a page, those inside paragraphs and tables too."""
    for token in MarkdownIt().enable("table").parse(page.read_text()):
        yield token
        yield from token.children or []
