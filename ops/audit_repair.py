"""`audit --repair`: sends the events of missing files, as `backfill` does, and replays failed manifests."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.markup import escape

from manifest_builder import announcements, listing
from manifest_builder.auditing.results import DateAudit
from manifest_builder.auditing.spool import Spool
from manifest_builder.inputs import Listed
from ops import replay
from ops.screen import Screen
from ops.stack import Stack
from ops.where import named_record
from toolkit.texts import plural


@dataclass(slots=True)
class Repair:
    """What --repair has done. `refused`: why a manifest was not replayed, by its path."""

    sent: int
    replayed: list[str]
    refused: dict[str, str]


def repair(stack: Stack, audits: list[DateAudit], spool: Spool, screen: Screen) -> Repair | None:
    """Sends the missing events and replays the failed manifests, after asking. None: there was nothing to do, or the
    answer was no."""
    missing = sum(audit.states["missing"] for audit in audits)
    failed = [path for audit in audits for path in audit.failed_manifests]
    if not missing and not failed:
        screen.say("nothing that --repair could repair")
        return None
    if not screen.ask(
        f"Sends an S3 event for {plural(missing, 'missing file')}, and starts the job again for "
        f"{plural(len(failed), 'failed manifest')}"
    ):
        return None
    done = Repair(0, [], {})
    for objects in missing_objects(audits, spool):
        announcements.send(stack.input_queue_url, [listing.record(listed, stack.region) for listed in objects])
        done.sent += len(objects)
    for path in failed:
        why_not = _replay(stack, path)
        if why_not:
            done.refused[path] = why_not
            screen.say(f"not replayed: {escape(path)}: {escape(why_not)}")
        else:
            done.replayed.append(path)
    screen.say(f"{plural(done.sent, 'event')} sent, {plural(len(done.replayed), 'manifest')} replayed")
    return done


def _replay(stack: Stack, path: str) -> str | None:
    """Why the manifest was not replayed; None if it was."""
    _, record = named_record(path)
    if record is None or record.status != "failed":
        return replay.CHANGED
    why_not = replay.why_not(stack, record)
    if why_not is None and replay.replay(stack, record) is None:
        why_not = replay.CHANGED
    return why_not


def missing_objects(audits: Iterable[DateAudit], spool: Spool) -> Iterator[list[Listed]]:
    for audit in audits:
        yield from spool.missing(audit.date)
