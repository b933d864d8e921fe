"""What `audit` has found, as tables and lines for a person, and as a document for a script."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import chain, islice
from typing import Any

from rich.markup import escape

from manifest_builder import clock
from manifest_builder.auditing.results import BAD, MOST_PROBLEMS, DateAudit, State
from manifest_builder.auditing.spool import Spool
from manifest_builder.inputs import Listed
from ops import shell, tables
from ops.audit_repair import Repair
from ops.screen import Screen
from ops.stack import Stack
from toolkit.texts import duration, plural

MOST_SHOWN = 20
HEADERS: dict[State, str] = {
    "pending": "Pending",
    "running": "Running",
    "succeeded": "Succeeded",
    "failed": "Failed",
    "quarantined": "Quarantined",
    "deleted": "Deleted",
    "expired": "Expired",
    "young": "Too young",
    "other": "No file",
    "contradicted": "Contradicted",
    "missing": "Missing",
}


def document(
    stack: Stack, audits: list[DateAudit], spool: Spool, repair: Repair | None, *, is_complete: bool
) -> dict[str, Any]:
    total = _total(audits)
    return {
        "stack": stack.name,
        "complete": is_complete,
        "files": total.total(),
        "states": {state: total[state] for state in HEADERS},
        "dates": [
            {
                "date": audit.date,
                "complete": audit.is_complete,
                "files": audit.files,
                "states": {state: audit.states[state] for state in HEADERS},
                "oldest_pending": audit.oldest_pending,
                "manifests": audit.manifests,
                "failed_manifests": audit.failed_manifests,
                "litter": audit.litter,
                "problem_count": audit.problem_count,
                "problems": audit.problems,
                "missing": [listed.file.file_path for listed in first_missing(audit, spool, MOST_PROBLEMS)],
            }
            for audit in audits
        ],
        "repair": asdict(repair) if repair else None,
    }


def first_missing(audit: DateAudit, spool: Spool, most: int) -> list[Listed]:
    return list(islice(chain.from_iterable(spool.missing(audit.date)), most))


def _total(audits: Iterable[DateAudit]) -> Counter[State]:
    return sum((audit.states for audit in audits), Counter())


def show(stack: Stack, audits: list[DateAudit], spool: Spool, screen: Screen) -> None:
    total = _total(audits)
    if audits:
        columns = [state for state in HEADERS if total[state] or state == "missing"]
        tables.show([_row(audit, columns) for audit in audits], screen)
    wrong = [what for audit in audits for what in (*audit.problems, *_words(stack, audit, spool))]
    for what in wrong[:MOST_SHOWN]:
        screen.say(escape(what))
    if len(wrong) > MOST_SHOWN:
        screen.say("... and more: --json tells them")
    if litter := sum(audit.litter for audit in audits):
        screen.say(f"{plural(litter, 'manifest object')} never committed: nothing reads them")
    screen.say(_verdict(audits, total))


def _words(stack: Stack, audit: DateAudit, spool: Spool) -> Iterator[str]:
    for path in audit.failed_manifests:
        yield f"failed   {path}: after the cause is fixed: {shell.command(stack, 'replay', path)}"
    for listed in first_missing(audit, spool, MOST_SHOWN + 1):
        yield f"missing  {listed.file.file_path}"


def _row(audit: DateAudit, columns: Iterable[State]) -> dict[str, str]:
    row = {"Date": audit.date, "Files": f"{audit.files:,}"}
    for state in columns:
        row[HEADERS[state]] = f"{audit.states[state]:,}"
        if state == "pending":
            oldest = audit.oldest_pending
            row["Oldest"] = duration(clock.age_seconds(oldest, clock.now()) / 60) if oldest else "-"
    return row


def _verdict(audits: list[DateAudit], total: Counter[State]) -> str:
    of_dates = f"{plural(total.total(), 'file')} of {plural(len(audits), 'date')}"
    problems = sum(audit.problem_count for audit in audits)
    if all(audit.is_complete for audit in audits):
        return f"complete: {of_dates}, each accounted for"
    wrong = [f"{total[state]:,} {state}" for state in BAD if total[state]]
    if problems:
        wrong.append(plural(problems, "contradiction"))
    return f"not complete: {of_dates}, {', '.join(wrong)}"
