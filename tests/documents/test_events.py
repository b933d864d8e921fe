"""The page of events: its examples follow the schemas, and the schemas are what they should be."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from dev.paths import DOCS
from manifest_builder import event_bus
from tests.documents.markdown import names, table, tokens
from tests.documents.schemas import FOLDER, check, schemas

PAGE = DOCS / "events.md"
TYPES = {event_bus.MANIFEST_STATUS_CHANGE, event_bus.FILE_QUARANTINED, event_bus.DATE_FLUSHED}


def examples() -> list[dict[str, Any]]:
    return [json.loads(token.content) for token in tokens(PAGE) if token.type == "fence" and token.info == "json"]


def test_every_type_of_event_has_a_schema_and_an_example() -> None:
    assert schemas().keys() == TYPES
    assert [names(row[0])[0] for row in table(PAGE, "`detail-type`")] == [event["detail-type"] for event in examples()]
    assert {event["detail-type"] for event in examples()} == TYPES


@pytest.mark.parametrize("detail_type", sorted(TYPES))
def test_a_schema_is_valid_and_explains_and_requires_every_field(detail_type: str) -> None:
    schema = schemas()[detail_type]

    Draft202012Validator.check_schema(schema)
    assert schema["required"] == list(schema["properties"])
    assert all(field["description"] for field in schema["properties"].values())
    assert schema["properties"]["version"]["const"] == event_bus.SCHEMA_VERSION


def test_the_page_links_every_schema() -> None:
    assert all(f"(events/{file.name})" in PAGE.read_text() for file in FOLDER.glob("*.json"))


@pytest.mark.parametrize("event", examples(), ids=lambda event: event["detail-type"])
def test_an_example_follows_its_schema(event: dict[str, Any]) -> None:
    check(event)


@pytest.mark.parametrize("event", examples(), ids=lambda event: event["detail-type"])
@pytest.mark.parametrize("wrong", [{"id": "no uuid"}, {"version": "2"}, {"sizeBytes": "many"}, {"date": "today"}])
def test_a_schema_refuses_what_is_wrong(event: dict[str, Any], wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        check({**event, "detail": event["detail"] | wrong})
