"""Statements of the documents about the code are true, and their links lead somewhere."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from dev.paths import DOCS, README, ROOT
from dev.pictures.diagram import with_picture
from dev.template import all_states, template
from ops.cli import COMMANDS, parse
from tests.documents.markdown import ARCHITECTURE, DEPLOYMENT, OPERATIONS, PAGES, anchors, code, links, names, table

NO_MAKE_TARGETS = {"itself"}
"""Words after `make` in prose that is set as code."""


def test_the_picture_of_the_state_machine_is_current() -> None:
    page = ARCHITECTURE.read_text()

    assert with_picture(page) == page, "run `make diagram`"
    assert all(state in page for state in all_states())


def test_the_overview_in_the_readme_names_states_only() -> None:
    overview = README.read_text().partition("<!-- overview -->")[2].partition("<!-- /overview -->")[0]
    boxes = set(re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)+\b", overview))

    assert len(boxes) >= 10
    assert boxes - set(all_states()) == set()


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 150


def test_every_parameter_of_the_template_is_explained_with_its_default() -> None:
    for name, parameter in template()["Parameters"].items():
        (row,) = (row for row in table(DEPLOYMENT, "Parameter") if name in names(row[0]))
        default = str(parameter.get("Default", "required")).replace("/aws/service/powertools", "AWS's latest")
        assert default.partition("/python")[0] in row[2], f"{name}: {default}"


def test_every_alarm_of_the_template_is_explained_and_has_a_runbook_entry() -> None:
    resources = template()["Resources"].values()
    alarms = [resource["Properties"] for resource in resources if resource["Type"] == "AWS::CloudWatch::Alarm"]

    explained = [f"${{NamePrefix}}-{name}" for row in table(OPERATIONS, "Alarm") for name in names(row[0])]
    assert sorted(explained) == sorted(alarm["AlarmName"]["Fn::Sub"] for alarm in alarms)

    runbook = OPERATIONS.read_text().partition("## Runbook")[2].partition("\n## ")[0]
    to_do = [f"${{NamePrefix}}-{name}" for name in re.findall(r"^\*\*`([a-z-]+)`\*\*\n1\. ", runbook, re.MULTILINE)]
    assert to_do == explained


def test_every_command_for_operators_is_explained() -> None:
    assert {names(row[0])[0].split()[0] for row in table(OPERATIONS, "Command")} == set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_for_operators_that_a_page_names_is_one(page: Path) -> None:
    said = [text for each in code(page) for text in re.findall(r"make ops ARGS=\"([^\"]+)\"", each)]
    said += [text for each in code(page) for text in re.findall(r"python -m ops ([^\n]+)", each)]
    for text in said:
        words = shlex.split(text.replace("DATE", "2025-12-23"))
        if words != ["--help"]:
            assert parse(words).command in COMMANDS


def test_the_pages_name_commands_for_operators() -> None:
    assert sum("make ops" in each for page in PAGES for each in code(page)) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for each in code(page) for target in re.findall(r"\bmake ([a-z-]+)", each)}

    assert named - NO_MAKE_TARGETS - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in links(page):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def test_every_page_of_the_documents_is_linked_from_the_readme() -> None:
    linked = {(README.parent / link.partition("#")[0]).resolve() for link in links(README) if "://" not in link}

    assert {page for page in PAGES if page not in (README, *linked)} == set()


def test_anchors_are_those_of_github(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b` c's, d_e-f!\n\n```\n# no heading\n```\n\n## Twice\n\n## Twice\n")

    assert anchors(page) == {"a-b-cs-d_e-f", "twice", "twice-1"}


def test_the_newest_version_of_the_changelog_is_the_projects() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    versions = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert versions[0] == "Unreleased"
    assert versions[1] == version


def test_its_pictures_are_small_and_fetch_nothing() -> None:
    pictures = [*DOCS.glob("*.png"), *DOCS.glob("*.svg")]

    assert pictures
    assert max(picture.stat().st_size for picture in pictures) < 400_000
    for picture in DOCS.glob("*.svg"):
        assert not re.findall(r"url\([\"']?(?!#)|href=[\"'](?!#)|@import", picture.read_text()), picture.name
