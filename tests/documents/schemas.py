"""The JSON schemas of docs/events, by detail-type."""

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from dev.paths import DOCS

FOLDER = DOCS / "events"


@cache
def schemas() -> dict[str, dict[str, Any]]:
    documents = [json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))]
    return {document["title"]: document for document in documents}


def check(event: dict[str, Any]) -> None:
    """Fails unless `detail` is as the schema of its detail-type says, and has no other fields."""
    schema = schemas()[event["detail-type"]]
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    validator.validate(event["detail"])
    assert event["detail"].keys() == schema["properties"].keys()
