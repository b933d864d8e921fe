"""What README.md says of the code is the code's own."""

import re
from pathlib import Path

from tests.simulator.template import all_states, template
from tools.diagram import README, with_picture

ROOT = Path(__file__).parents[2]


def test_the_picture_of_the_state_machine_is_current() -> None:
    readme = README.read_text()

    assert with_picture(readme) == readme, "run `make diagram`"
    assert all(state in readme for state in all_states())


def test_every_parameter_of_the_template_is_explained_with_its_default() -> None:
    rows = [line for line in README.read_text().splitlines() if line.startswith("| `")]

    for name, parameter in template()["Parameters"].items():
        (row,) = (row for row in rows if f"`{name}`" in row)
        default = str(parameter.get("Default", "required")).replace("/aws/service/powertools", "AWS's latest")
        assert default.partition("/python")[0] in row, f"{name}: {default}"


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", README.read_text()))

    assert named <= targets


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", README.read_text())

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
