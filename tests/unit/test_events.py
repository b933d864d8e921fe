"""The input contract of ParseEvent: one real event file per case, and inputs that are not S3 events."""

import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

import parse_event
from dev.simulator.telemetry import Telemetry
from manifest_builder.events import Contents, read_message
from manifest_builder.files import FileVersion, Removal
from tests.unit.support import body, event

ETAG = "9b2cf535f27731c974343645a3985328"


def read(name: str) -> Contents:
    return read_message("message-1", body(name))


def only_file(contents: Contents) -> tuple[str, FileVersion]:
    assert (contents.problems, contents.ignored) == ([], 0)
    (found,) = contents.files
    return found


def notification(**changes: Any) -> dict[str, Any]:
    """A notification with one record. `key`, `size`, ... change its object; other names change the record."""
    return changed(event("s3_put.json"), **changes)


def changed(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    (record,) = document["Records"]
    for name, value in changes.items():
        if name in ("key", "size", "eTag", "sequencer", "versionId"):
            record["s3"]["object"][name] = value
        else:
            record[name] = value
    return document


def read_changed(**changes: Any) -> Contents:
    return read_message("message-1", json.dumps(notification(**changes)))


# What is accepted


def test_an_s3_notification_gives_a_file_with_every_field_that_identifies_it() -> None:
    assert only_file(read("s3_put.json")) == (
        "2025-12-23",
        FileVersion(
            message_id="message-1",
            bucket="input-bucket",
            key="folder1/2025-12-23-file001.ndjson",
            size_bytes=3_670_016,
            etag=ETAG,
            version_id=None,
            sequencer="0055AED6DCD90281E5",
        ),
    )


def test_every_record_of_a_notification_is_read_with_its_own_date() -> None:
    contents = read("s3_several_records.json")

    assert contents.problems == []
    assert [(date, file.key, file.size_bytes) for date, file in contents.files] == [
        ("2025-12-23", "folder1/2025-12-23-file001.ndjson", 3_670_016),
        ("2025-12-24", "folder1/2025-12-24-file002.ndjson", 5_242_880),
        ("2025-12-25", "data/file.ndjson", 1_048_576),
    ]


def test_the_key_of_a_notification_is_decoded_once() -> None:
    _, file = only_file(read("s3_encoded_key.json"))

    assert file.key == "in/2025-12-23 übersicht+100% \u2013 東京.ndjson"
    assert file.file_path == "s3://input-bucket/in/2025-12-23 übersicht+100% \u2013 東京.ndjson"


def test_a_key_that_still_looks_encoded_after_decoding_is_not_decoded_again() -> None:
    _, file = only_file(read_changed(key=quote_plus("in/a%2Bb%20c.ndjson")))

    assert file.key == "in/a%2Bb%20c.ndjson"


def test_the_key_of_an_eventbridge_event_is_not_decoded() -> None:
    date, file = only_file(read("eventbridge_object_created.json"))

    assert file.key == "data/100%25+a b.ndjson"
    assert date == "2025-12-23", "the day of the event's time, because the key has no date"
    assert (file.bucket, file.size_bytes, file.etag, file.version_id, file.sequencer) == (
        "input-bucket",
        5_242_880,
        "b1946ac92492d2347c6235b4d2611184",
        "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
        "00617F08299329D189",
    )


def test_a_notification_wrapped_by_sns_is_unwrapped() -> None:
    date, file = only_file(read("sns_wrapped.json"))

    assert (date, file.key, file.etag) == ("2025-12-23", "in/2025-12-23 a+b.ndjson", ETAG)


def test_a_key_of_1024_bytes_is_accepted() -> None:
    _, file = only_file(read("s3_key_of_1024_bytes.json"))

    assert len(file.key.encode()) == 1024


def test_a_versioned_object_has_its_version() -> None:
    _, file = only_file(read("s3_versioned.json"))

    assert file.version_id == "096fKKXTRTtl3on89fVO.nfljtsv6qko"


def test_a_created_object_with_the_version_null_has_no_version() -> None:
    _, file = only_file(read("s3_version_null.json"))

    assert file.version_id is None


def test_a_missing_sequencer_is_none() -> None:
    document = notification()
    del document["Records"][0]["s3"]["object"]["sequencer"]

    _, file = only_file(read_message("message-1", json.dumps(document)))

    assert file.sequencer is None


@pytest.mark.parametrize(
    "name",
    ["ObjectCreated:Put", "ObjectCreated:Copy", "s3:ObjectCreated:Post", "ObjectCreated:CompleteMultipartUpload"],
)
def test_every_kind_of_object_creation_is_accepted(name: str) -> None:
    assert len(read_changed(eventName=name).files) == 1


# Dates


@pytest.mark.parametrize(
    ("event_time", "date"),
    [
        ("2025-12-23T00:00:00.000Z", "2025-12-23"),
        ("2025-12-23T23:59:59.999Z", "2025-12-23"),
        ("2025-12-24T01:30:00+02:00", "2025-12-23"),
        ("2025-12-23T23:30:00-02:00", "2025-12-24"),
    ],
)
def test_without_a_date_in_the_key_the_date_is_the_utc_day_of_the_event(event_time: str, date: str) -> None:
    found, _ = only_file(read_changed(key="data/file.ndjson", eventTime=event_time))

    assert found == date


def test_with_an_impossible_date_in_the_key_the_date_is_the_day_of_the_event() -> None:
    found, _ = only_file(read_changed(key="in/2025-99-99.ndjson", eventTime="2025-12-25T10:00:00.000Z"))

    assert found == "2025-12-25"


def test_a_redelivery_after_midnight_does_not_move_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    message = json.dumps(notification(key="data/file.ndjson", eventTime="2025-12-23T23:59:59.000Z"))
    first = read_message("message-1", message)
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)

    assert read_message("message-1", message) == first


def test_an_event_without_a_time_needs_a_date_in_the_key() -> None:
    contents = read("s3_no_date_anywhere.json")

    assert contents.files == []
    assert contents.problems == ["record 1: neither the key nor the event's time None holds a date"]


@pytest.mark.parametrize("event_time", [None, 1766484000, "yesterday", "2025-12-23", "2025-12-23T10:00:00", ""])
def test_an_event_time_without_an_offset_gives_no_date(event_time: object) -> None:
    contents = read_changed(key="data/file.ndjson", eventTime=event_time)

    assert contents.files == []
    assert "holds a date" in contents.problems[0]


@pytest.mark.parametrize("event_time", [None, "yesterday"])
def test_a_date_in_the_key_needs_no_time(event_time: object) -> None:
    assert only_file(read_changed(eventTime=event_time))[0] == "2025-12-23"


# Removals


def only_removal(contents: Contents) -> tuple[str, Removal]:
    assert (contents.files, contents.problems, contents.ignored) == ([], [], 0)
    (found,) = contents.removals
    return found


def removed(**changes: Any) -> Contents:
    """Parse the notification of a removal with these changes; names as for `notification`."""
    return read_message("message-1", json.dumps(changed(event("s3_object_removed.json"), **changes)))


def test_the_notification_of_a_removal_has_neither_size_nor_etag() -> None:
    assert only_removal(read("s3_object_removed.json")) == (
        "2025-12-23",
        Removal(
            message_id="message-1",
            bucket="input-bucket",
            key="folder1/2025-12-23-file001.ndjson",
            version_id=None,
            sequencer="0055AED6DCD90281E9",
        ),
    )


@pytest.mark.parametrize("name", ["ObjectRemoved", "LifecycleExpiration", "s3:ObjectRemoved", "s3:LifecycleExpiration"])
def test_a_delete_marker_removes_the_current_version_and_a_delete_removes_the_version_it_names(name: str) -> None:
    # The version id in the event of a delete marker is the id of the marker.
    _, current = only_removal(removed(eventName=f"{name}:DeleteMarkerCreated", versionId="the marker"))
    _, for_ever = only_removal(removed(eventName=f"{name}:Delete", versionId="v1"))

    assert (current.version_id, for_ever.version_id) == (None, "v1")


def test_a_removal_of_the_version_null_keeps_that_version() -> None:
    assert only_removal(removed(versionId="null"))[1].version_id == "null"


def test_the_key_of_a_removal_is_decoded_and_has_its_date() -> None:
    date, removal = only_removal(removed(key=quote_plus("in/2025-12-24 a+b.ndjson")))

    assert (date, removal.file_path) == ("2025-12-24", "s3://input-bucket/in/2025-12-24 a+b.ndjson")


def test_without_a_date_in_the_key_the_date_of_a_removal_is_the_day_of_its_event() -> None:
    assert only_removal(removed(key="data/a.ndjson", eventTime="2025-12-25T10:00:00.000Z"))[0] == "2025-12-25"


def test_an_eventbridge_event_of_a_removal_is_read() -> None:
    assert only_removal(read("eventbridge_object_deleted.json")) == (
        "2025-12-23",
        Removal(
            message_id="message-1",
            bucket="input-bucket",
            key="data/100%25+a b.ndjson",
            version_id="IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
            sequencer="00617F08299329D189",
        ),
    )


def test_the_version_of_a_delete_marker_in_eventbridge_is_not_the_version_of_the_file() -> None:
    document = event("eventbridge_object_deleted.json")
    document["detail"]["deletion-type"] = "Delete Marker Created"

    assert only_removal(read_message("message-1", json.dumps(document)))[1].version_id is None


def test_a_removal_without_a_key_is_rejected() -> None:
    document = event("s3_object_removed.json")
    del document["Records"][0]["s3"]["object"]["key"]

    assert read_message("message-1", json.dumps(document)).problems == ["record 1 has no 'key'"]
    assert removed(key="").problems == ["record 1: a key has 1 to 1024 bytes"]


def test_parse_event_returns_files_and_removals_in_one_list_and_marks_the_removals() -> None:
    messages = [{"messageId": name, "body": body(name)} for name in ("s3_put.json", "s3_object_removed.json")]

    (date,) = parse_event.handler({"messages": messages}, None)["dates"]

    assert [(file["removed"], file["message_id"]) for file in date["files"]] == [
        (False, "s3_put.json"),
        (True, "s3_object_removed.json"),
    ]
    assert date["files"][1]["size_bytes"] == 0, "the state machine reads this field when a file fails"


# What is acknowledged and counted


@pytest.mark.parametrize(
    "name",
    ["s3_test_event.json", "s3_folder.json"],
)
def test_test_events_and_folder_markers_are_acknowledged_and_counted(name: str) -> None:
    assert read(name) == Contents(files=[], ignored=1, problems=[])


def test_only_an_empty_object_whose_key_ends_in_a_slash_is_a_folder_marker() -> None:
    assert read_changed(key="in/2025-12-23/", size=1).ignored == 0
    assert read_changed(key="in/2025-12-23-a.ndjson", size=0).ignored == 0
    assert read_changed(key="in/", size=0, eventTime=None).ignored == 1


# What is rejected


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("malformed_json.txt", "the body is not JSON"),
        ("sns_wrapped_text.json", "the body is not JSON"),
        ("json_but_no_event.json", "the body is JSON but not an S3 event"),
    ],
)
def test_a_body_that_is_not_an_s3_event_is_rejected_with_a_reason(name: str, reason: str) -> None:
    assert read(name) == Contents(files=[], ignored=0, problems=[reason])


@pytest.mark.parametrize(
    "text",
    ["", " ", "null", "true", "17", '"text"', "[]", "{}", '{"Records": []}', '{"Records": {}}', '{"Records": null}',
     '{"source": "aws.s3"}', '{"source": "aws.s3", "detail": []}', '{"Type": "Notification", "TopicArn": "t"}',
     '{"Type": "Notification", "TopicArn": "t", "Message": {"Records": []}}',
     '{"Type": "SubscriptionConfirmation", "TopicArn": "t", "Message": "confirm"}',
     "[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000, "\ud800", "\x00", "1" * 5000],
)  # fmt: skip
def test_any_other_body_is_rejected_with_one_problem(text: str) -> None:
    contents = read_message("message-1", text)

    assert (contents.files, contents.ignored, len(contents.problems)) == ([], 0, 1)


def test_the_problem_of_a_record_names_the_missing_field() -> None:
    contents = read("s3_records_with_missing_fields.json")

    assert [file.etag for _, file in contents.files] == [""], "the sixth record has no etag and is accepted"
    assert contents.problems == [
        "record 1 has no 's3'",
        "record 2 has no 'bucket'",
        "record 3 has no 'object'",
        "record 4 has no 'key'",
        "record 5 has no 'size'",
    ]


@pytest.mark.parametrize(
    ("part", "missing"),
    [("bucket", None), ("bucket", "name"), ("object", None), ("object", "key"), ("object", "size")],
)
def test_an_eventbridge_event_with_a_missing_field_is_rejected(part: str, missing: str | None) -> None:
    document = event("eventbridge_object_created.json")
    if missing:
        del document["detail"][part][missing]
    else:
        del document["detail"][part]

    contents = read_message("message-1", json.dumps(document))

    assert contents.files == []
    assert len(contents.problems) == 1


@pytest.mark.parametrize("name", [None, "", 7, ["ObjectCreated:Put"]])
def test_an_event_that_does_not_say_what_happened_is_rejected(name: object) -> None:
    notification, eventbridge = event("s3_put.json"), event("eventbridge_object_created.json")
    notification["Records"][0]["eventName"] = name
    eventbridge["detail-type"] = name

    for document in (notification, eventbridge):
        contents = read_message("message-1", json.dumps(document))

        assert (contents.files, contents.ignored) == ([], 0)
        assert [problem.endswith("does not say what happened") for problem in contents.problems] == [True]


@pytest.mark.parametrize("record", [None, 17, "text", [], [1], {}, {"eventSource": "aws:ses"}, {"eventName": "x"}])
def test_a_record_of_another_service_than_s3_is_rejected(record: object) -> None:
    contents = read_message("message-1", json.dumps({"Records": [record]}))

    assert contents.problems == ["record 1 is not an S3 record"]


def test_a_good_record_beside_a_bad_one_is_kept() -> None:
    contents = read("s3_good_beside_bad.json")

    assert [file.key for _, file in contents.files] == ["in/2025-12-23-good.ndjson"]
    assert contents.problems == ["record 2: size '3.5 MB' is not a number of bytes"]


@pytest.mark.parametrize("size", [None, True, False, -1, 1.5, "3670016", [], {}, 2**53, 10**400, 1e999])
def test_a_size_that_is_not_a_number_of_bytes_is_rejected(size: object) -> None:
    contents = read_changed(size=size)

    assert contents.files == []
    assert "is not a number of bytes" in contents.problems[0]


@pytest.mark.parametrize("size", [0, 1, 2**53 - 1])
def test_a_size_is_any_whole_number_that_a_double_holds(size: int) -> None:
    assert only_file(read_changed(size=size))[1].size_bytes == size


@pytest.mark.parametrize(
    "key",
    ["", "%ff%fe", "%ed%a0%80", "\ud800.ndjson", None, 17, ["a"], "2025-12-23/" + "a" * 1014, quote("é" * 513)],
)
def test_a_key_that_s3_does_not_allow_is_rejected(key: object) -> None:
    contents = read_changed(key=key)

    assert contents.files == []
    assert len(contents.problems) == 1


@pytest.mark.parametrize("key", ["2025-12-23/%zz.ndjson", "2025-12-23/100%", "2025-12-23/%4.ndjson"])
def test_a_percent_sign_that_encodes_nothing_is_kept(key: str) -> None:
    assert only_file(read_changed(key=key))[1].key == key


@pytest.mark.parametrize("field", ["eTag", "sequencer", "versionId"])
@pytest.mark.parametrize("value", [17, ["x"], {"x": "y"}, True, "\udfff"])
def test_identifying_fields_that_are_not_text_are_rejected(field: str, value: object) -> None:
    contents = read_changed(**{field: value})

    assert contents.files == []
    assert len(contents.problems) == 1


@pytest.mark.parametrize("s3", [None, 17, "text", [], {}, {"bucket": 1, "object": 2}, {"bucket": {}, "object": []}])
def test_a_record_whose_s3_field_has_the_wrong_shape_is_rejected(s3: object) -> None:
    contents = read_changed(s3=s3)

    assert contents.files == []
    assert len(contents.problems) == 1


# No input raises an exception

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def check(text: str) -> None:
    contents = read_message("message-1", text)

    assert contents.files or contents.ignored or contents.problems, "every input gives a file, a count or a problem"
    json.dumps([file.to_state() for _, file in contents.files]).encode()
    "".join(contents.problems).encode()
    for date, file in contents.files:
        assert len(date) == 10
        assert 0 < len(file.key.encode()) <= 1024


@given(st.text())
def test_any_text_is_read_without_an_exception(text: str) -> None:
    check(text)


@given(json_values.filter(lambda value: value != {"Records": []}))
def test_any_json_is_read_without_an_exception(value: object) -> None:
    check(json.dumps(value))


@st.composite
def damaged_events(draw: st.DrawFn) -> str:
    """A real event in which one to three values are deleted or replaced."""
    document = event(
        draw(
            st.sampled_from(
                ["s3_several_records.json", "eventbridge_object_created.json", "s3_put.json", "sns_wrapped.json"]
            )
        )
    )
    for _ in range(draw(st.integers(1, 3))):
        node = document
        while True:
            names = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not names:
                break
            name = draw(st.sampled_from(names))
            inside = node[name]
            if isinstance(inside, (dict, list)) and draw(st.integers(0, 3)):
                node = inside
            elif draw(st.booleans()):
                node[name] = draw(json_values)
                break
            else:
                del node[name]
                break
    return json.dumps(document)


@given(damaged_events())
def test_a_damaged_event_is_read_without_an_exception(text: str) -> None:
    check(text)


@given(
    st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=60).filter(lambda key: len(key.encode()) <= 255)
)
def test_every_encoded_key_is_decoded_to_the_original_key(key: str) -> None:
    _, file = only_file(read_changed(key=quote_plus(key)))

    assert file.key == key


# The box


def messages(*names: str) -> dict[str, Any]:
    return {"messages": [{"messageId": name, "body": body(name)} for name in names]}


def test_files_of_all_messages_are_grouped_by_date() -> None:
    answer = parse_event.handler(messages("s3_several_records.json", "s3_versioned.json"), None)

    assert [date["date_prefix"] for date in answer["dates"]] == ["2025-12-23", "2025-12-24", "2025-12-25"]
    assert [date["flush_before"] for date in answer["dates"]] == [None, None, None]
    first = answer["dates"][0]["files"]
    assert [(file["message_id"], file["key"]) for file in first] == [
        ("s3_several_records.json", "folder1/2025-12-23-file001.ndjson"),
        ("s3_versioned.json", "in/2025-12-23-a.ndjson"),
    ]
    assert (answer["rejected"], answer["ignored"]) == ([], 0)


def test_a_message_that_cannot_be_read_is_rejected_alone() -> None:
    answer = parse_event.handler(messages("malformed_json.txt", "s3_put.json", "s3_test_event.json"), None)

    assert answer["rejected"] == [{"messageId": "malformed_json.txt", "reason": "the body is not JSON"}]
    assert [file["message_id"] for date in answer["dates"] for file in date["files"]] == ["s3_put.json"]
    assert answer["ignored"] == 1


def test_a_message_with_a_good_and_a_bad_record_is_rejected_and_its_good_record_is_returned() -> None:
    answer = parse_event.handler(messages("s3_good_beside_bad.json"), None)

    assert [rejected["messageId"] for rejected in answer["rejected"]] == ["s3_good_beside_bad.json"]
    assert [file["key"] for date in answer["dates"] for file in date["files"]] == ["in/2025-12-23-good.ndjson"]


def test_no_message_gives_no_date() -> None:
    answer = parse_event.handler({"messages": []}, None)

    assert (answer["dates"], answer["rejected"], answer["ignored"]) == ([], [], 0)


def test_each_run_has_an_id_of_its_own() -> None:
    runs = {parse_event.handler(messages("s3_put.json"), None)["run_id"] for _ in range(3)}

    assert len(runs) == 3


def test_the_reason_of_a_rejection_is_cut_to_300_characters() -> None:
    many = {"Records": [None] * 1000}

    answer = parse_event.handler({"messages": [{"messageId": "m", "body": json.dumps(many)}]}, None)

    assert len(answer["rejected"][0]["reason"]) == 300


def test_a_rejected_message_is_logged_with_its_id_reason_and_run(log: Telemetry) -> None:
    answer = parse_event.handler(messages("malformed_json.txt"), None)

    (line,) = log.at_least("ERROR")
    assert (line["message_id"], line["reason"]) == ("malformed_json.txt", "the body is not JSON")
    assert line["run_id"] == answer["run_id"]


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_an_event_time_outside_the_range_of_utc_dates_is_a_problem_of_its_record(time: str) -> None:
    document = event("s3_put.json")
    document["Records"][0]["s3"]["object"]["key"] = "data/a.ndjson"
    document["Records"][0]["eventTime"] = time
    contents = read_message("message-1", json.dumps(document))
    assert contents.files == []
    assert "holds a date" in contents.problems[0]
