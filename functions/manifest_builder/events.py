"""Reads queue messages: S3 event notifications, bare or wrapped by SNS, and S3 events from EventBridge."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from aws_lambda_powertools.utilities.data_classes import S3Event, S3EventBridgeNotificationEvent
from aws_lambda_powertools.utilities.data_classes.s3_event import S3EventRecord

from manifest_builder import clock
from manifest_builder.files import MAX_KEY_BYTES, NULL_VERSION, FileVersion, Removal, date_in_key

REMOVALS = ("ObjectRemoved", "LifecycleExpiration")


@dataclass(slots=True)
class Contents:
    """The contents of one message. If `problems` is not empty, the message goes back to the queue."""

    files: list[tuple[str, FileVersion]] = field(default_factory=list)
    removals: list[tuple[str, Removal]] = field(default_factory=list)
    ignored: int = 0
    problems: list[str] = field(default_factory=list)


class _Unusable(ValueError):
    """A record of an object, new or removed, in which a field is missing or invalid."""


def read_message(message_id: str, body: str) -> Contents:
    """The (date, file) and (date, removal) pairs of one message. Never raises, for any body."""
    contents = Contents()
    try:
        document = json.loads(body)
        if isinstance(document, dict) and document.get("Type") == "Notification" and "TopicArn" in document:
            document = json.loads(document["Message"])
    except (ValueError, TypeError, KeyError, RecursionError):
        contents.problems.append("the body is not JSON")
        return contents

    if not isinstance(document, dict):
        contents.problems.append("the body is JSON but not an S3 event")
    elif document.get("Event") == "s3:TestEvent":
        contents.ignored += 1
    elif document.get("source") == "aws.s3" and isinstance(document.get("detail"), dict):
        _read_eventbridge(message_id, document, contents)
    elif isinstance(document.get("Records"), list) and document["Records"]:
        _read_notification(message_id, document, contents)
    else:
        contents.problems.append("the body is JSON but not an S3 event")
    return contents


def _read_notification(message_id: str, document: dict[str, Any], contents: Contents) -> None:
    for number, record in enumerate(S3Event(document)["Records"], start=1):
        if not isinstance(record, dict) or record.get("eventSource") != "aws:s3":
            contents.problems.append(f"record {number} is not an S3 record")
        elif not _is_name(record.get("eventName")):
            contents.problems.append(f"record {number} does not say what happened")
        elif _kind_of(record["eventName"]) == "ObjectCreated":
            _collect(contents, f"record {number}", _from_notification, message_id, S3EventRecord(record))
        elif _kind_of(record["eventName"]) in REMOVALS:
            _collect(contents, f"record {number}", _removal_from_notification, message_id, S3EventRecord(record))
        else:
            contents.ignored += 1


def _read_eventbridge(message_id: str, document: dict[str, Any], contents: Contents) -> None:
    if not _is_name(document.get("detail-type")):
        contents.problems.append("the event does not say what happened")
    elif document["detail-type"] == "Object Created":
        _collect(contents, "the event", _from_eventbridge, message_id, S3EventBridgeNotificationEvent(document))
    elif document["detail-type"] == "Object Deleted":
        _collect(contents, "the event", _removal_from_eventbridge, message_id, S3EventBridgeNotificationEvent(document))
    else:
        contents.ignored += 1


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _kind_of(event_name: str) -> str:
    """`s3:ObjectRemoved:Delete` -> `ObjectRemoved`"""
    return event_name.removeprefix("s3:").partition(":")[0]


def _collect(contents: Contents, where: str, read: Any, message_id: str, record: Any) -> None:
    try:
        dated = read(message_id, record)
    except KeyError as missing:
        contents.problems.append(f"{where} has no {missing}")
    except (ValueError, TypeError, AttributeError) as error:
        contents.problems.append(f"{where}: {error}")
    else:
        if dated is None:
            contents.ignored += 1
        elif isinstance(dated[1], Removal):
            contents.removals.append(dated)
        else:
            contents.files.append(dated)


def _from_notification(message_id: str, record: S3EventRecord) -> tuple[str, FileVersion] | None:
    s3_object = record.s3.get_object
    return _dated_file(
        message_id,
        record.s3.bucket.name,
        _decoded_key(record),
        s3_object["size"],
        s3_object.etag,
        s3_object.version_id,
        s3_object.get("sequencer"),
        record.get("eventTime"),
    )


def _removal_from_notification(message_id: str, record: S3EventRecord) -> tuple[str, Removal]:
    s3_object = record.s3.get_object
    is_for_ever = not record["eventName"].endswith(":DeleteMarkerCreated")
    return _dated_removal(
        message_id,
        record.s3.bucket.name,
        _decoded_key(record),
        s3_object.version_id if is_for_ever else None,
        s3_object.get("sequencer"),
        record.get("eventTime"),
    )


def _decoded_key(record: S3EventRecord) -> str:
    """S3 sends keys URL-encoded, with `+` for a space; Powertools does not decode them."""
    return unquote_plus(_text("key", record.s3.get_object.key), errors="strict")


def _from_eventbridge(message_id: str, event: S3EventBridgeNotificationEvent) -> tuple[str, FileVersion] | None:
    s3_object = event.detail.object
    return _dated_file(
        message_id,
        event.detail.bucket.name,
        # EventBridge sends keys as they are; Powertools' `key` would decode them.
        s3_object["key"],
        s3_object["size"],
        s3_object.etag,
        s3_object.get("version-id"),
        s3_object.get("sequencer"),
        event.get("time"),
    )


def _removal_from_eventbridge(message_id: str, event: S3EventBridgeNotificationEvent) -> tuple[str, Removal]:
    s3_object = event.detail.object
    is_for_ever = event.detail.get("deletion-type") != "Delete Marker Created"
    return _dated_removal(
        message_id,
        event.detail.bucket.name,
        s3_object["key"],
        s3_object.get("version-id") if is_for_ever else None,
        s3_object.get("sequencer"),
        event.get("time"),
    )


def _dated_file(
    message_id: str,
    bucket: Any,
    key: Any,
    size: Any,
    etag: Any,
    version_id: Any,
    sequencer: Any,
    event_time: Any,
) -> tuple[str, FileVersion] | None:
    """The file with its date; None for a zero-byte object that stands for a folder."""
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**53:
        raise _Unusable(f"size {size!r} is not a number of bytes")
    file = FileVersion(
        message_id=message_id,
        bucket=_text("bucket name", bucket),
        key=_key(key),
        size_bytes=size,
        etag=_text("etag", etag),
        # An object written while versioning is off or suspended has the version "null".
        version_id=None if version_id == NULL_VERSION else _text_or_none("version id", version_id),
        sequencer=_text_or_none("sequencer", sequencer),
    )
    if size == 0 and key.endswith("/"):
        return None
    return date_in_key(key) or _date_of(event_time), file


def _dated_removal(
    message_id: str, bucket: Any, key: Any, version_id: Any, sequencer: Any, event_time: Any
) -> tuple[str, Removal]:
    """The removal with its date. `version_id`: of a permanently deleted version, never of a delete marker."""
    removal = Removal(
        message_id=message_id,
        bucket=_text("bucket name", bucket),
        key=_key(key),
        version_id=_text_or_none("version id", version_id),
        sequencer=_text_or_none("sequencer", sequencer),
    )
    return date_in_key(key) or _date_of(event_time), removal


def _date_of(event_time: object) -> str:
    """The UTC day of the event itself, so that a redelivery after midnight does not move the file."""
    try:
        return clock.from_text(_text("eventTime", event_time)).date().isoformat()
    except ValueError:
        raise _Unusable(f"neither the key nor the event's time {event_time!r} holds a date") from None


def _key(value: object) -> str:
    key = _text("key", value)
    if not 0 < len(key.encode()) <= MAX_KEY_BYTES:
        raise _Unusable(f"a key has 1 to {MAX_KEY_BYTES} bytes")
    return key


def _text_or_none(what: str, value: object) -> str | None:
    return None if value in (None, "") else _text(what, value)


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise _Unusable(f"{what} {value!r} is not text")
    value.encode()  # a lone surrogate cannot be stored: UnicodeEncodeError is a ValueError
    return value
