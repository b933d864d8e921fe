"""What README.md says of the code is the code's own."""

import re
import shlex

from dev.paths import README, ROOT
from dev.pictures.diagram import with_picture
from dev.template import all_states, template
from ops.cli import COMMANDS, parse
from tests.readme import names, table


def test_the_picture_of_the_state_machine_is_current() -> None:
    readme = README.read_text()

    assert with_picture(readme) == readme, "run `make diagram`"
    assert all(state in readme for state in all_states())


def test_every_parameter_of_the_template_is_explained_with_its_default() -> None:
    for name, parameter in template()["Parameters"].items():
        (row,) = (row for row in table("Parameter") if name in names(row[0]))
        default = str(parameter.get("Default", "required")).replace("/aws/service/powertools", "AWS's latest")
        assert default.partition("/python")[0] in row[2], f"{name}: {default}"


def test_every_alarm_of_the_template_is_explained() -> None:
    resources = template()["Resources"].values()
    alarms = [resource["Properties"] for resource in resources if resource["Type"] == "AWS::CloudWatch::Alarm"]

    explained = [f"${{NamePrefix}}-{name}" for row in table("Alarm") for name in names(row[0])]
    assert sorted(explained) == sorted(alarm["AlarmName"]["Fn::Sub"] for alarm in alarms)

    runbook = README.read_text().partition("### Runbook")[2].partition("\n### ")[0]
    to_do = [f"${{NamePrefix}}-{name}" for name in re.findall(r"^\*\*`([a-z-]+)`\*\*\n1\. ", runbook, re.MULTILINE)]
    assert to_do == explained


def test_every_command_for_operators_that_the_readme_names_is_one() -> None:
    said = [
        text.replace("DATE", "2025-12-23") for text in re.findall(r"`make ops ARGS=\"([^\"]+)\"`", README.read_text())
    ]
    assert {parse(shlex.split(text)).command for text in said} >= {"status", "redrive", "replay"}
    assert {names(row[0])[0].split()[0] for row in table("Command")} == set(COMMANDS)


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", README.read_text()))

    assert named <= targets


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = re.findall(r"(?:\]\(|src(?:set)?=\")(?!https?://)([^)#\"]+)", README.read_text())

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_pictures_are_small_and_fetch_nothing() -> None:
    pictures = [*(ROOT / "docs").glob("*.png"), *(ROOT / "docs").glob("*.svg")]

    assert pictures
    assert max(picture.stat().st_size for picture in pictures) < 400_000
    for picture in (ROOT / "docs").glob("*.svg"):
        assert not re.findall(r"url\([\"']?(?!#)|href=[\"'](?!#)|@import", picture.read_text()), picture.name
