"""Real runs write exactly the metrics that alarms, dashboards and documents name."""

from datetime import timedelta

import pytest

from dev.faults.lab import Lab
from dev.simulator.acts import LIMIT_30_MB, deliver
from dev.simulator.telemetry import Metric, captured
from dev.simulator.world import ENVIRONMENT, World, message_of_removal
from tests.documents.markdown import OPERATIONS, names, table
from tests.permissions.paths import (
    an_audit_finds_what_is_missing,
    functions_are_throttled,
    the_object_of_a_manifest_is_gone,
)
from tests.template.monitoring import Look, alarms, looks
from tests.template.sam import functions, resources
from tests.workflow.scenarios import (
    answer_lost,
    busy,
    deleted_before_it_fills_a_batch,
    lock_held_elsewhere,
    mixed,
    one_file_fails,
    the_run_ends,
    with_glue,
)

pytestmark = pytest.mark.xdist_group("metrics")

NAMESPACE = ENVIRONMENT["POWERTOOLS_METRICS_NAMESPACE"]
# By namespace: the dimension, the type of resource that it names, and metrics as documented.
AWS_METRICS = {
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    "AWS/SQS": (
        "QueueName",
        "AWS::SQS::Queue",
        {
            "ApproximateAgeOfOldestMessage",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesVisible",
        },
    ),
    # https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html, "for all state machines". Those of
    # service integrations are no use here: their dimension names the kind of call, over all machines of the account.
    "AWS/States": (
        "StateMachineArn",
        "AWS::StepFunctions::StateMachine",
        {"ExecutionsAborted", "ExecutionsFailed", "ExecutionsStarted", "ExecutionsTimedOut"},
    ),
    # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    "AWS/Lambda": ("FunctionName", "AWS::Lambda::Function", {"Duration", "Errors"}),
}
AGE_AT_AN_AUDIT = "OldestUnauditedSeconds"
# The attribute of a resource that is the value of the dimension.
ATTRIBUTE = {"AWS::SQS::Queue": ".QueueName", "AWS::StepFunctions::StateMachine": "", "AWS::Lambda::Function": ""}
LOOKS = list(looks())
OWN_LOOKS = [look for look in LOOKS if look.metric[0] == NAMESPACE]
AWS_LOOKS = [look for look in LOOKS if look.metric[0] != NAMESPACE]


def name_of(look: Look) -> str:
    return f"{look.where} {look.metric[1]}"


def old_version_comes_late(world: World) -> None:
    newer, older = (world.upload("2025-12-23-again.ndjson", 10**7, sequencer=sequencer) for sequencer in ("02", "01"))
    world.deliver(newer)
    world.deliver(older)


def unknown_file_without_a_date_is_deleted(world: World) -> None:
    world.deliver(message_of_removal("unknown.ndjson"))


@pytest.fixture(scope="module")
def written() -> set[Metric]:
    """The metrics of runs in which every event happens."""
    acts = [mixed, deliver(3), deliver(3), one_file_fails, old_version_comes_late, World.sweep]
    glue = [with_glue(busy, deliver(3)), deliver(3), with_glue(answer_lost, deliver(3, day="2025-12-24"))]
    found: set[Metric] = set()
    ends = [deliver(3), the_run_ends("FAILED"), the_run_ends("FAILED")]
    well = [deliver(3), the_run_ends("SUCCEEDED")]
    removed = [deleted_before_it_fills_a_batch, unknown_file_without_a_date_is_deleted]
    for acts_of_one_world in (acts, glue, ends, well, removed, [lock_held_elsewhere]):
        with World(environment=LIMIT_30_MB) as world, captured() as telemetry:
            for act in acts_of_one_world:
                act(world)
        found |= set(telemetry.metric_values)
    with Lab() as lab, captured() as telemetry:
        lab.queue.send({"messageId": "poison", "body": "no event"}, lab.time())
        assert lab.trigger()
        functions_are_throttled(lab)
        with lab.skewed(timedelta(minutes=10)):
            lab.later += timedelta(hours=1)
            lab.deliver_all()
    with World(environment=LIMIT_30_MB) as world, captured() as of_gone:
        the_object_of_a_manifest_is_gone(world)
    found |= set(of_gone.metric_values)
    with World(environment=LIMIT_30_MB) as world, captured() as of_audit:
        an_audit_finds_what_is_missing(world)
    found |= set(of_audit.metric_values)
    return found | set(telemetry.metric_values)


@pytest.fixture(scope="module")
def written_by_an_idle_sweep() -> set[Metric]:
    with World() as world, captured() as telemetry:
        world.sweep()
    return set(telemetry.metric_values)


def test_alarms_and_dashboard_look_at_metrics_of_every_kind() -> None:
    assert {look.metric[0] for look in LOOKS} == {NAMESPACE, *AWS_METRICS}


@pytest.mark.parametrize("look", OWN_LOOKS, ids=name_of)
def test_what_is_looked_at_is_written_with_these_very_dimensions(look: Look, written: set[Metric]) -> None:
    assert look.metric in written


@pytest.mark.parametrize("box", functions())
def test_every_function_writes_under_the_stacks_name(box: str) -> None:
    """The environment variables of these runs are those that the template sets."""
    variables = functions()[box]["Environment"]["Variables"]
    assert variables["POWERTOOLS_METRICS_NAMESPACE"] == NAMESPACE
    assert variables["POWERTOOLS_SERVICE_NAME"] == {"Ref": "NamePrefix"}


@pytest.mark.parametrize("look", AWS_LOOKS, ids=name_of)
def test_what_aws_is_asked_for_is_documented_and_about_a_resource_of_the_stack(look: Look) -> None:
    namespace, name, dimensions = look.metric
    dimension, resource_type, names = AWS_METRICS[namespace]
    assert name in names
    ((given, value),) = dimensions
    assert given == dimension
    assert value in {f"<{resource}{ATTRIBUTE[resource_type]}>" for resource in resources(resource_type)}


@pytest.mark.parametrize("look", OWN_LOOKS, ids=name_of)
def test_what_a_sweep_or_an_audit_measures_is_not_added_up(
    look: Look, written: set[Metric], written_by_an_idle_sweep: set[Metric]
) -> None:
    is_measure = look.metric in written_by_an_idle_sweep or look.metric[1] == AGE_AT_AN_AUDIT
    statistics = {"Maximum"} if is_measure else {"Sum", "Average"}
    assert look.statistic in statistics


@pytest.mark.parametrize("name", alarms())
def test_missing_data_is_no_alarm_unless_every_sweep_brings_some(
    name: str, written_by_an_idle_sweep: set[Metric]
) -> None:
    (look,) = (look for look in OWN_LOOKS + AWS_LOOKS if look.where == name)
    expected = "missing" if look.metric in written_by_an_idle_sweep else "notBreaching"
    assert alarms()[name]["TreatMissingData"] == expected


def test_the_documents_explain_every_metric_and_no_other(written: set[Metric]) -> None:
    explained = [name for row in table(OPERATIONS, "Metric") for name in names(row[0])]

    assert sorted(explained) == sorted(name for _, name, _ in written)
