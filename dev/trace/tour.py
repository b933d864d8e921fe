"""Executions of the real definition and functions on a simulated account: a tour of typical cases, or one event."""

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from dev.simulator.world import ENVIRONMENT
from dev.trace.data import Execution
from toolkit.facts import file_row, manifest_of

os.environ.update(ENVIRONMENT)  # importing a function checks its settings

from dev.simulator.acts import DAY, LIMIT_30_MB, MB, NEXT_DAY, failing
from dev.simulator.world import INPUT_BUCKET, Function, World, message
from dev.simulator.world import Execution as Executed
from manifest_builder.events import read_message

FILE = 10 * MB


def trace_tour() -> tuple[str, list[Execution]]:
    """A title and the executions."""
    with World(environment=LIMIT_30_MB) as world:
        return "Manifest builder: a tour, with manifests of at most 30 MB", list(tour(world))


def tour(world: World) -> Iterator[Execution]:
    """A mixed batch, a build that fails, the redelivery that finishes it, another version of a file, and a sweep."""

    def file(key: str, size_bytes: int = FILE, version: int = 1) -> dict[str, str]:
        message_id = f"message of {key}" + (f", version {version}" if version > 1 else "")
        put = world.s3.put_object(Bucket=INPUT_BUCKET, Key=key, Body=b"{}\n")
        etag, sequencer = put["ETag"].strip('"'), f"{version:016}"
        return message(
            key, size_bytes, message_id=message_id, etag=etag, version_id=put["VersionId"], sequencer=sequencer
        )

    world.s3.put_bucket_versioning(Bucket=INPUT_BUCKET, VersioningConfiguration={"Status": "Enabled"})

    first_day = [file(f"orders/{DAY}-orders-{hour:02}.ndjson") for hour in range(5)]
    second_day = [file(f"orders/{NEXT_DAY}-orders-{hour:02}.ndjson") for hour in range(4)]
    mixed = [
        *first_day,
        second_day[0],
        file(f"orders/{DAY}-orders.csv"),
        file(f"orders/{DAY}-orders-large.ndjson", 2 * FILE),
        file(f"returns/{DAY}-orders-00.ndjson"),
        {"messageId": "message of somebody else", "body": '{"greeting": "I am JSON, but no S3 event"}'},
    ]

    def break_on_one_file(function: Function, event: dict[str, Any]) -> Any:
        if event["file"]["key"].endswith("orders-03.ndjson"):
            raise RuntimeError("TrackFile broke")
        return function(event, None)

    world.around["TrackFile"] = break_on_one_file
    yield run(
        world,
        "Mixed batch",
        "Files of two dates, two of them to be refused, one that TrackFile breaks on, and a message that is no event.",
        lambda world: world.deliver(*mixed),
    )
    del world.around["TrackFile"]
    yield run(
        world,
        "Build fails",
        "UpdateStatus breaks after the manifest is committed: the error is caught, and the lock is released.",
        failing("UpdateStatus", lambda world: world.deliver(*second_day[1:])),
    )
    world.wait(minutes=2)
    yield run(
        world,
        "Redelivery resumes",
        "Two minutes later the queue delivers again what went back to it: the open manifest is finished.",
        lambda world: world.deliver(*second_day[1:], first_day[3]),
    )
    yield run(
        world,
        "Another version",
        "A file that a manifest names already was overwritten: its new version waits for a manifest of its own.",
        lambda world: world.deliver(file(f"orders/{DAY}-orders-00.ndjson", version=2)),
    )
    world.wait(hours=25)
    yield run(world, "Sweep", "A day later the sweep takes what has not filled a manifest.", World.sweep)


def trace_event(path: Path) -> tuple[str, list[Execution]]:
    """An event of the queue with all its messages, or the body of one message. Returns a title and the execution."""
    messages = list(messages_of(path.read_text(encoding="utf-8")))
    with World() as world:
        for message in messages:
            for _, file in read_message(message["messageId"], message["body"]).files:
                if file.bucket == INPUT_BUCKET:
                    world.s3.put_object(Bucket=file.bucket, Key=file.key, Body=b"{}\n")
        execution = run(world, path.stem, f"The event {path.name}", lambda world: world.deliver(*messages))
    return f"Manifest builder: {path.name}", [execution]


def messages_of(text: str) -> Iterator[dict[str, str]]:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    records = document.get("Records", []) if isinstance(document, dict) else []
    if records and all(isinstance(record, dict) and record.get("eventSource") == "aws:sqs" for record in records):
        yield from ({"messageId": record["messageId"], "body": record["body"]} for record in records)
    else:
        yield {"messageId": "message-1", "body": text}


def run(world: World, title: str, note: str, act: Callable[[World], Executed]) -> Execution:
    with redirect_stdout(io.StringIO()):  # functions print their metrics
        executed = act(world)
    named = {
        path: [(file.file_path, str(file.version_id or file.etag)) for file in files]
        for path, files in world.manifest_documents().items()
    }
    manifests = [manifest_of(record, named.get(record["file_path"])) for record in world.manifest_records()]
    return Execution(
        title=title,
        note=note,
        status=executed.status,
        events=executed.history,
        files=[file_row(row) for row in [*world.files().values(), *world.older_versions()]],
        manifests=sorted(manifests, key=lambda manifest: (manifest.date, manifest.created_at)),
    )
