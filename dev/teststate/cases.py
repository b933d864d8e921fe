"""A test of one branch: the request to TestState, and the check of its response."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dev.template import all_states
from dev.teststate.branches import SUCCESS, Branch, branches
from dev.teststate.samples import CONTEXT, SAMPLES, Sample

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import TestStateInputTypeDef

MOCKED = {"Task", "Map", "Parallel"}
CAUSE = "it broke"


@dataclass(frozen=True)
class Case:
    """One branch with its sample."""

    branch: Branch
    sample: Sample
    state: Mapping[str, Any]

    @property
    def request(self) -> "TestStateInputTypeDef":
        """TestState's arguments. The state is given alone, since engines look for it at different depths."""
        request: TestStateInputTypeDef = {
            "definition": json.dumps(self.state),
            "input": json.dumps(self.sample.input),
            "context": json.dumps(CONTEXT),
        }
        if self.state["Type"] not in MOCKED:
            return request
        if self.branch.name == SUCCESS:
            request["mock"] = {"result": json.dumps(self.sample.result)}
        else:
            request["mock"] = {"errorOutput": {"error": str(self.branch.error), "cause": CAUSE}}
            if retries := self._retries():
                request["stateConfiguration"] = {"retrierRetryCount": retries}
        return request

    def _retries(self) -> int:
        """A Catch comes into effect after this many retries of its error."""
        return sum(
            retrier["MaxAttempts"]
            for retrier in self.state.get("Retry", [])
            if self.branch.error in retrier["ErrorEquals"]
        )

    def problems(self, response: Mapping[str, Any]) -> list[str]:
        """Differences between TestState's response and the definition, as sentences."""
        expected: dict[str, Any] = {"nextState": self.branch.next, "output": self.sample.output}
        if self.state["Type"] == "Fail":
            expected |= {"status": "FAILED", "output": None, "error": self.branch.error, "cause": self.state["Cause"]}
        elif self.branch.error:
            caught = {"Error": self.branch.error, "Cause": CAUSE}
            output = {**self.sample.input, str(self.branch.error_path): caught}
            expected |= {"status": "CAUGHT_ERROR", "error": self.branch.error, "cause": CAUSE, "output": output}
        else:
            expected |= {"status": "SUCCEEDED"}
        found = {**response, "output": json.loads(response["output"]) if response.get("output") else None}
        return [
            f"{name} is {json.dumps(found.get(name))}, not {json.dumps(value)}"
            for name, value in expected.items()
            if found.get(name) != value
        ]


def cases(machine: Mapping[str, Any], samples: Mapping[str, Mapping[str, Sample]] = SAMPLES) -> list[Case]:
    """The cases of all branches that have a sample; see `missing`."""
    states = all_states(dict(machine))
    return [
        Case(branch, sample, states[branch.state])
        for branch in branches(machine)
        if (sample := _sample(branch, samples)) is not None
    ]


def missing(machine: Mapping[str, Any], samples: Mapping[str, Mapping[str, Sample]] = SAMPLES) -> list[Branch]:
    """The branches without a sample."""
    return [branch for branch in branches(machine) if _sample(branch, samples) is None]


def leftover(machine: Mapping[str, Any], samples: Mapping[str, Mapping[str, Sample]] = SAMPLES) -> list[str]:
    """Samples of states and branches that the definition does not have."""
    known = {(branch.state, branch.name) for branch in branches(machine)}
    return [f"{state}, {name}" for state, names in samples.items() for name in names if (state, name) not in known]


def _sample(branch: Branch, samples: Mapping[str, Mapping[str, Sample]]) -> Sample | None:
    of_state = samples.get(branch.state, {})
    return of_state.get(SUCCESS if branch.error_path else branch.name)


def in_order_of_states(found: list[Case]) -> Iterator[tuple[str, list[Case]]]:
    """The cases of each state."""
    for name in dict.fromkeys(case.branch.state for case in found):
        yield name, [case for case in found if case.branch.state == name]
