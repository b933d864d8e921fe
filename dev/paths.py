"""Files and folders of this repository that more than one module reads or writes."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TEMPLATE = ROOT / "template.yaml"
DEFINITION = ROOT / "statemachine" / "manifest_builder.asl.json"
CODE = ROOT / "functions"
"""The functions' code, in one folder for all of them."""
DOCS = ROOT / "docs"
EVENTS = ROOT / "tests" / "events"
BUILD = ROOT / "build"
"""Pages that commands write, outside version control."""
