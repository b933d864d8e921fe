"""The outcome of an execution, from its history and the tracking table: files, manifests, messages, locks."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dev.trace.history import History, Visit
from toolkit.facts import FileRow, Manifest

NOTES = {
    "duplicate": "this version was known: a redelivery changes nothing",
    "superseded": "a newer version is known: an older one changes nothing",
    "untracked": "a file that the table does not know was deleted, and no late event could bring it back",
}


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """The result of an execution for a file, and its row in the table afterwards, or None."""

    uri: str
    date: str
    size_bytes: int
    outcome: str
    why: str
    row: FileRow | None


@dataclass(frozen=True, slots=True)
class ManifestOutcome:
    """A manifest that an execution created or took up again."""

    path: str
    file_count: int
    size_bytes: int
    manifest: Manifest | None
    """Its state in the table afterwards."""


@dataclass(frozen=True, slots=True)
class Outcome:
    dates: int
    """How many the execution had something to do for."""
    files: list[FileOutcome]
    manifests: list[ManifestOutcome]
    rejected: list[dict[str, str]]
    """Messages that are no event: {"messageId", "reason"}."""
    messages_back: int | None
    """How many messages the execution gives back to the queue; None for all of them."""
    locks_taken: int
    locks_released: int
    run_id: str | None


def read_outcome(history: History, rows: Sequence[FileRow], manifests: Sequence[Manifest], succeeded: bool) -> Outcome:
    arrived = next(_outputs(history, "ParseEvent", "FindStalledDates"), {})
    report = next(_outputs(history, "ReportResult"), {})
    return Outcome(
        dates=len(arrived.get("dates", [])),
        files=list(_files(history, arrived.get("dates", []), rows)),
        manifests=_manifests(history, {manifest.path: manifest for manifest in manifests}),
        rejected=arrived.get("rejected", []),
        messages_back=len(report.get("batchItemFailures", [])) if succeeded else None,
        locks_taken=sum(_part(output, "lock")["acquired"] for output in _outputs(history, "AcquireLock")),
        locks_released=sum(visit.state == "ReleaseLock" and visit.status == "run" for visit in history.visits),
        run_id=arrived.get("run_id"),
    )


def subject(visit: Visit) -> str | None:
    """The URI of the file of a visit, else its date."""
    state = _decode(visit.output if visit.is_call else visit.input)
    if "file" in state:
        return f"s3://{state['file']['bucket']}/{state['file']['key']}"
    found: str | None = state.get("file_path", state.get("date_prefix"))
    return found


def _files(history: History, dates: list[dict[str, Any]], rows: Sequence[FileRow]) -> Iterator[FileOutcome]:
    row_of = {row.version: row for row in rows}
    newest = {row.uri: row for row in sorted(rows, key=lambda row: row.sequencer or "")}
    results = {
        (file["message_id"], file["file_path"]): file
        for output in _outputs(history, "ForEachDate")
        for date in output["dates"]
        for file in date["files"]
    }
    reasons = {
        subject(visit): _decode(visit.input)["validation"]["reason"]
        for visit in _of(history, "QuarantineFile")
        if not visit.is_call
    }
    errors = {subject(visit): visit.error for visit in history.visits if visit.status == "caught"}
    for date in dates:
        for file in date["files"]:
            uri = f"s3://{file['bucket']}/{file['key']}"
            result = results.get((file["message_id"], uri), {"outcome": "unknown"})
            # The event of a removal names no version of the file.
            row = row_of.get((uri, file.get("version_id") or file.get("etag", "")), newest.get(uri))
            why = {
                "quarantined": reasons.get(uri) or (row and row.reason),
                "failed": errors.get(uri) or result.get("error"),
                "deleted": row
                and ("before a manifest named it" if row.status == "deleted" else f"{row.status} before"),
            }.get(result["outcome"], NOTES.get(result["outcome"]))
            yield FileOutcome(uri, date["date_prefix"], file["size_bytes"], result["outcome"], why or "", row)


def _manifests(history: History, known: dict[str, Manifest]) -> list[ManifestOutcome]:
    taken = [_part(output, "manifest") for output in _outputs(history, "CreateManifest")]
    return [
        ManifestOutcome(each["manifest_path"], each["file_count"], each["file_size_bytes"], known.get(path))
        for each in taken
        if (path := each["manifest_path"])
    ]


def _outputs(history: History, *states: str) -> Iterator[dict[str, Any]]:
    return (_decode(visit.output) for state in states for visit in _of(history, state) if visit.output)


def _of(history: History, state: str) -> Iterator[Visit]:
    return (visit for visit in history.visits if visit.state == state and not (visit.is_call and visit.error))


def _part(output: dict[str, Any], name: str) -> dict[str, Any]:
    """The result of a function: a state's output holds it under a name, a call's output is the result."""
    part: dict[str, Any] = output.get(name, output)
    return part


def _decode(text: str | None) -> dict[str, Any]:
    found = json.loads(text or "{}")
    return found if isinstance(found, dict) else {}
