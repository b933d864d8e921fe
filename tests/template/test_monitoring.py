"""Alarms notify the topic, have a description, and appear on a dashboard."""

import re

import pytest

from dev.paths import TEMPLATE
from dev.template import template
from tests.template.monitoring import alarms, resolve, widgets, widgets_of
from tests.template.sam import expanded, functions, properties, resources

ALARMS = alarms()
TO_THE_TOPIC = [{"Ref": "AlarmTopic"}]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_is_published_when_it_goes_off_and_when_it_is_over(name: str) -> None:
    alarm = ALARMS[name]
    assert alarm["AlarmActions"] == alarm["OKActions"] == TO_THE_TOPIC
    assert alarm["AlarmDescription"].endswith(".")


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_gives_the_reason_for_what_missing_data_means(name: str) -> None:
    text = TEMPLATE.read_text().partition(f"  {name}:\n")[2]
    assert re.match(r"(?:.+\n)+? +# .+\n +TreatMissingData: ", text)


def test_a_sweep_that_stays_away_is_published() -> None:
    told = {name for name, alarm in ALARMS.items() if alarm.get("InsufficientDataActions") == TO_THE_TOPIC}
    assert told == {"OverdueFileAlarm"}
    assert ALARMS["OverdueFileAlarm"]["TreatMissingData"] == "missing"


@pytest.mark.parametrize("name", ["OverdueFileAlarm", "OpenManifestAlarm"])
def test_several_sweeps_fall_into_the_period_of_an_alarm_that_needs_one(name: str) -> None:
    minutes = re.fullmatch(r"rate\((\d+) minutes\)", template()["Parameters"]["SweepScheduleExpression"]["Default"])
    assert minutes
    assert ALARMS[name]["Period"] >= 4 * 60 * int(minutes[1])


def test_a_manifest_may_be_open_for_half_an_hour_and_a_file_overdue_for_one() -> None:
    assert ALARMS["OpenManifestAlarm"]["Threshold"] == 30 * 60
    assert ALARMS["OverdueFileAlarm"]["Threshold"] == 60 * 60


def test_only_this_stacks_alarms_may_publish_and_only_over_tls() -> None:
    policy = properties("AlarmTopicPolicy")
    assert policy["Topics"] == TO_THE_TOPIC
    allow, deny = policy["PolicyDocument"]["Statement"]
    assert (allow["Effect"], allow["Principal"]) == ("Allow", {"Service": "cloudwatch.amazonaws.com"})
    assert allow["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    allowed = resolve(allow["Condition"]["ArnLike"]["aws:SourceArn"]).rpartition(":alarm:")[2]
    assert allowed.endswith("-*")
    assert all(resolve(alarm["AlarmName"]).startswith(allowed.removesuffix("*")) for alarm in ALARMS.values())
    assert (deny["Effect"], deny["Principal"]) == ("Deny", "*")
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert allow["Action"] == deny["Action"] == "sns:Publish"
    assert allow["Resource"] == deny["Resource"] == {"Ref": "AlarmTopic"}


def test_alarms_are_encrypted_with_a_key_that_cloudwatch_may_use() -> None:
    """The key policy of the AWS managed key `alias/aws/sns` allows no service and cannot be changed."""
    assert properties("AlarmTopic")["KmsMasterKeyId"] == {"Ref": "AlarmTopicKey"}
    key = properties("AlarmTopicKey")
    account, cloudwatch = key["KeyPolicy"]["Statement"]
    assert account["Action"] == "kms:*", "a key whose account has lost it cannot be deleted either"
    assert cloudwatch["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert cloudwatch["Action"] == ["kms:Decrypt", "kms:GenerateDataKey*"]
    assert cloudwatch["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert key["EnableKeyRotation"] is True


def test_an_address_is_subscribed_if_there_is_one() -> None:
    (subscription,) = resources("AWS::SNS::Subscription").values()
    assert subscription["Condition"] == "HasAlarmEmail"
    assert expanded()["Conditions"]["HasAlarmEmail"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmEmail"}, ""]}]}
    assert subscription["Properties"] == {
        "TopicArn": {"Ref": "AlarmTopic"},
        "Protocol": "email",
        "Endpoint": {"Ref": "AlarmEmail"},
    }


@pytest.mark.parametrize(
    ("address", "is_accepted"), [("", True), ("a@b.example", True), ("a", False), ("a@b c", False)]
)
def test_an_address_is_empty_or_looks_like_one(address: str, is_accepted: bool) -> None:
    pattern = template()["Parameters"]["AlarmEmail"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, address)) is is_accepted


def test_the_dashboard_shows_every_alarm() -> None:
    (status,) = (widget for widget in widgets() if widget["type"] == "alarm")
    assert sorted(status["properties"]["alarms"]) == sorted(f"<{name}.Arn>" for name in ALARMS)


@pytest.mark.parametrize("dashboard", resources("AWS::CloudWatch::Dashboard"))
def test_the_dashboards_are_of_those_that_cost_nothing(dashboard: str) -> None:
    """Three dashboards with at most 50 metrics each are free. Source: Amazon CloudWatch pricing."""
    assert len(resources("AWS::CloudWatch::Dashboard")) <= 3
    assert sum(len(widget["properties"].get("metrics", [])) for widget in widgets_of(dashboard)) <= 50


@pytest.mark.parametrize("title", ["Function errors", "Duration of functions (p95, ms)"])
def test_the_dashboard_shows_every_function(title: str) -> None:
    (widget,) = (widget for widget in widgets() if widget["properties"]["title"] == title)
    assert sorted(metric[-1] for metric in widget["properties"]["metrics"]) == sorted(
        f"<{box}Function>" for box in functions()
    )


def test_the_dashboard_has_its_address_among_the_outputs() -> None:
    address, names = template()["Outputs"]["DashboardUrl"]["Value"]["Fn::Sub"]
    assert address == "https://${Host}/cloudwatch/home?region=${AWS::Region}#dashboards/dashboard/${Dashboard}"
    assert names == {"Host": {"Fn::FindInMap": ["Console", {"Ref": "AWS::Partition"}, "Host"]}}
