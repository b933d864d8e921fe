"""Imports of the deployed code. import-linter holds every other arrow, but it cannot see handlers as Lambda sees them:
single modules beside the package `manifest_builder`."""

import ast
from pathlib import Path

import pytest

from dev.paths import CODE, ROOT

HANDLERS = {path.stem for path in CODE.glob("*.py")}
REPOSITORY = {"dev", "functions", "glue", "manifest_builder", "ops", "tests", "toolkit"} | HANDLERS


@pytest.mark.parametrize(
    ("files", "may_import"),
    [
        pytest.param("functions/*.py", {"manifest_builder"}, id="handlers"),
        pytest.param("functions/manifest_builder/**/*.py", {"manifest_builder"}, id="the package behind the handlers"),
        pytest.param("glue/*.py", set(), id="the Glue job"),
        pytest.param("toolkit/**/*.py", {"toolkit"}, id="toolkit"),
    ],
)
def test_code_imports_only_what_it_may_of_the_repository(files: str, may_import: set[str]) -> None:
    paths = sorted(ROOT.glob(files))

    assert paths
    wrong = {path.name: imported(path) & REPOSITORY - may_import for path in paths}
    assert {name: names for name, names in wrong.items() if names} == {}


def imported(path: Path) -> set[str]:
    """The top-level names of all modules that a file imports, at its top and inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names
