"""ParseEvent: reads the queue messages and groups their files by date."""

import uuid
from collections import defaultdict
from typing import Any

from manifest_builder.events import read_message
from manifest_builder.files import FileVersion, Removal
from manifest_builder.telemetry import box, logger, outcome

REASON_CHARACTERS = 300


@box
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Reads every message. A message that cannot be read is rejected alone.

    in:  {"execution", "messages": [{"messageId", "body"}]}
    out: {"run_id", "dates": [{"date_prefix", "files": [...], "flush_before": null}],
          "rejected": [{"messageId", "reason"}], "ignored": n}
    A file is {"removed": false} with the fields of a FileVersion, or {"removed": true, "size_bytes": 0} with those of a
    Removal.
    """
    run_id = str(uuid.uuid4())
    logger.append_keys(run_id=run_id)
    files_by_date: dict[str, list[dict[str, Any]]] = defaultdict(list)
    rejected: list[dict[str, str]] = []
    ignored = 0
    for message in event["messages"]:
        contents = read_message(message["messageId"], message["body"])
        ignored += contents.ignored
        found: list[tuple[str, FileVersion | Removal]] = [*contents.files, *contents.removals]
        for date_prefix, file in found:
            files_by_date[date_prefix].append(file.to_state())
        if contents.problems:
            reason = "; ".join(contents.problems)[:REASON_CHARACTERS]
            rejected.append({"messageId": message["messageId"], "reason": reason})
            logger.error("message rejected", extra={"message_id": message["messageId"], "reason": reason})
    outcome(
        "parsed",
        messages=len(event["messages"]),
        files=sum(map(len, files_by_date.values())),
        rejected=len(rejected),
        ignored=ignored,
    )
    dates = [
        {"date_prefix": date_prefix, "files": files, "flush_before": None}
        for date_prefix, files in sorted(files_by_date.items())
    ]
    return {"run_id": run_id, "dates": dates, "rejected": rejected, "ignored": ignored}
