"""One definition, every engine: no state uses what AWS, Step Functions Local, moto or MiniStack lacks."""

import copy
import json
from typing import Any

import pytest

from dev.paths import DEFINITION
from dev.template import all_states, template
from tests.workflow.portability import FIELDS, RESOURCES, problems

MACHINE: dict[str, Any] = json.loads(DEFINITION.read_text())


def with_resources() -> dict[str, Any]:
    """The definition with the ARNs of service integrations, which the template puts in."""
    machine = copy.deepcopy(MACHINE)
    substitutions = template()["Resources"]["ManifestStateMachine"]["Properties"]["DefinitionSubstitutions"]
    for state in all_states(machine).values():
        arn = substitutions.get(state.get("Resource", "").strip("${}"), {}).get("Fn::Sub")
        if arn:
            state["Resource"] = arn
    return machine


def seeded(state: str, **fields: Any) -> list[str]:
    """Findings after these fields of a state, or of the machine, are set."""
    machine = copy.deepcopy(MACHINE)
    ({"the machine": machine} | all_states(machine))[state].update(fields)
    return list(problems(machine))


def test_every_engine_has_what_the_definition_uses() -> None:
    found = list(problems(with_resources()))

    assert not found, "\n".join(found)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("state", ["the machine", "ForEachDate", "RecordJobRun"])
def test_a_field_that_an_engine_lacks_is_reported_with_its_state(state: str, field: str) -> None:
    value = {"ItemProcessor": {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}}.get(field, "$.a")

    assert seeded(state, **{field: value}) == [f"{state}: {field}: {FIELDS[field]}"]


@pytest.mark.parametrize("part", RESOURCES)
def test_an_integration_that_an_engine_lacks_is_reported_with_its_state(part: str) -> None:
    arn = f"arn:aws:states:::{part.removeprefix('states:::')}"

    assert seeded("StartGlueJob", Resource=arn) == [f"StartGlueJob: {part}: {RESOURCES[part]}"]


@pytest.mark.parametrize(
    ("state", "fields", "feature"),
    [
        ("TrackFile", {"Retry": [{"ErrorEquals": ["A"], "JitterStrategy": "FULL"}]}, "JitterStrategy"),
        ("TrackFile", {"Retry": [{"ErrorEquals": ["A"], "MaxDelaySeconds": 5}]}, "MaxDelaySeconds"),
        ("Source", {"Choices": [{"Condition": "true", "Next": "ParseEvent"}]}, "Condition"),
        ("DateDone", {"Parameters": {"a": [{"b": "{% $x %}"}]}}, "{% $x %}"),
        ("ParseEvent", {"TimeoutSeconds": "{% 20 %}"}, "{% 20 %}"),
        ("ForEachFile", {"Iterator": {"QueryLanguage": "JSONata", "States": {}}}, "QueryLanguage"),
        ("BuildManifest", {"ResultPath": "$.build"}, "ResultPath"),
        (
            "IsFileValid",
            {"Choices": [{"Not": {"Variable": "$.a[0].b", "IsNull": True}, "Next": "TrackFile"}]},
            "$.a[0].b",
        ),
        ("ForEachDate", {"ItemsPath": "$.dates[*]"}, "$.dates[*]"),
        ("ForEachFile", {"ResultPath": "$['files']"}, "$['files']"),
        ("DateDone", {"OutputPath": "$..files"}, "$..files"),
        ("DateDone", {"Parameters": {"a": {"b.$": "$.files[0]"}}}, "$.files[0]"),
        ("DateDone", {"Parameters": {"a.$": "$variable.files"}}, "$variable.files"),
        ("DateDone", {"Parameters": {"a.$": "States.Format('{}', $.b[1])"}}, "States.Format('{}', $.b[1])"),
        ("DateDone", {"ResultSelector": {"a.$": "States.UUID()"}}, "States.UUID"),
        ("DateDone", {"Parameters": {"a.$": "States.Format('{}', States.MathAdd($.b, 1))"}}, "States.MathAdd"),
    ],
)
def test_any_other_use_of_what_an_engine_lacks_is_reported_with_its_state(
    state: str, fields: dict[str, Any], feature: str
) -> None:
    found = seeded(state, **fields)

    assert found[0].startswith(f"{state}: {feature}: ")
    assert all(problem.startswith(f"{state}: ") for problem in found)


@pytest.mark.parametrize(
    "parameters",
    [
        {"Arguments": {"ItemProcessor": "Output"}},
        {"a.$": "States.Format('$.a[0] States.UUID() {}', $.b)"},
        {"a.$": "$$.Map.Item.Value.date_prefix", "b.$": "$"},
        {"a": "$.a[0]"},
    ],
)
def test_what_a_payload_names_or_quotes_is_no_feature(parameters: dict[str, Any]) -> None:
    assert seeded("DateDone", Parameters=parameters) == []
