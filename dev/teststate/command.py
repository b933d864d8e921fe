"""`make teststate`: every branch of every state, on the emulator, or on AWS with the caller's credentials.

Exit codes: 0 every branch holds, or is named as a gap of the emulator; 1 a branch does not hold or has no test; 2 a
mistake in the call; 130 Ctrl-C; 143 SIGTERM or SIGHUP.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from dev.emulator.command import CommandParser, exit_code
from dev.emulator.emulator import Emulator
from dev.paths import DEFINITION
from dev.template import definition
from dev.teststate.cases import Case, cases, in_order_of_states, leftover, missing
from toolkit.console import make_console
from toolkit.ending import end_when_told
from toolkit.errors import UsageError
from toolkit.exit_codes import FAILED

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

GAPS_OF_MINISTACK = {
    "Map": "MiniStack 1.5.33 does not test Map states",
    "Parallel": "MiniStack 1.5.33 does not test Parallel states",
}
"""By type of state. A response for such a state is reported as a problem, so this list stays true."""
RIGHT = "the caller needs states:TestState; mocked results need no role and call no other service"


@dataclass
class Outcome:
    """The branches that hold, the gaps of the engine by reason, and the problems as sentences."""

    held: list[Case] = field(default_factory=list)
    gaps: dict[str, list[Case]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    def command() -> int:
        parser = CommandParser("dev.teststate", "teststate", "Tests every state of the definition with mocked results.")
        parser.add_argument(
            "--aws", action="store_true", help="on AWS, with your credentials; the default: an emulator"
        )
        options = parser.parse_args(arguments)
        end_when_told(with_parent=options.end_with_parent)
        if options.aws:
            return report(on_aws(machine()), machine())
        with Emulator() as emulator:
            return report(run(emulator.stepfunctions, cases(machine()), GAPS_OF_MINISTACK), machine())

    return exit_code(command)


def machine() -> dict[str, Any]:
    """The definition. Mocked states call nothing, so any names do for its placeholders."""
    names = re.findall(r"\$\{(\w+)\}", DEFINITION.read_text())
    integrations = {
        "GlueStartJobRunResource": "arn:aws:states:::glue:startJobRun",
        "DynamoDbUpdateItemResource": "arn:aws:states:::dynamodb:updateItem",
    }
    functions = {name: f"arn:aws:lambda:us-east-1:123456789012:function:{name}" for name in names}
    return dict(json.loads(definition(functions | integrations)))


def on_aws(of: Mapping[str, Any]) -> Outcome:
    """Raises UsageError if AWS cannot be asked."""
    try:
        return run(boto3.client("stepfunctions"), cases(of), {})
    except (BotoCoreError, ClientError) as error:
        raise UsageError(f"{str(error).rstrip('.')}: sign in to AWS and set a region ({RIGHT})") from None


def run(stepfunctions: "SFNClient", tests: Sequence[Case], gaps: Mapping[str, str]) -> Outcome:
    outcome = Outcome()
    for case in tests:
        gap = gaps.get(case.state["Type"])
        try:
            response = stepfunctions.test_state(**case.request)
        except ClientError as error:
            if gap and "Unsupported state type" in str(error):
                outcome.gaps.setdefault(gap, []).append(case)
                continue
            if error.response["Error"]["Code"] != "InvalidDefinition":
                raise
            outcome.problems.append(f"{case.branch}: {error}")
            continue
        problems = case.problems(response)
        if gap:
            problems.append(f"this engine tests it, so it is no gap any more ({gap}): see GAPS_OF_MINISTACK")
        outcome.problems += [f"{case.branch}: {problem}" for problem in problems]
        if not problems:
            outcome.held.append(case)
    return outcome


def report(outcome: Outcome, of: Mapping[str, Any]) -> int:
    """Prints the table of states and branches; returns the exit code."""
    console, tests = make_console(), cases(of)
    show(console, tests, outcome)
    untested = [f"{branch}: no sample in dev/teststate/samples.py" for branch in missing(of)]
    unknown = [f"{name}: the definition has no such branch, but dev/teststate/samples.py has" for name in leftover(of)]
    problems = [*outcome.problems, *untested, *unknown]
    for problem in problems:
        console.print(f"[red]✗[/] {problem}", soft_wrap=True)
    for gap, affected in outcome.gaps.items():
        console.print(f"not on this engine: {gap}: " + "; ".join(str(case.branch) for case in affected), soft_wrap=True)
    total, gaps = len(tests) + len(untested), sum(map(len, outcome.gaps.values()))
    covered = 100 * len(tests) // total
    console.print(
        f"{total} branches, {covered} % of them with a test: {len(outcome.held)} hold, {gaps} not on this engine, "
        f"{len(problems)} problems"
    )
    return FAILED if problems else 0


def show(console: Console, tests: list[Case], outcome: Outcome) -> None:
    table = Table("State", "Type", "Branches", "Hold", "Not on this engine")
    gaps = [case for affected in outcome.gaps.values() for case in affected]
    for name, of_state in in_order_of_states(tests):
        held = sum(case in outcome.held for case in of_state)
        left_out = sum(case in gaps for case in of_state)
        table.add_row(name, str(of_state[0].state["Type"]), str(len(of_state)), str(held), str(left_out or ""))
    console.print(table)
