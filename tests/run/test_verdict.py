"""The verdict of the embedded run: each clause of the promise, and facts that break the clause."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.run.kept import (
    GONE,
    MANIFEST,
    MAX_BATCH_BYTES,
    PENDING,
    REFUSED,
    TWICE,
    VALID,
    kept,
    manifest,
    row,
    version,
)
from toolkit.facts import Facts, JobResult, JobRun, Version
from toolkit.verdict import verify, verify_outcomes


def with_row(facts: Facts, uri: str, **changes: object) -> Facts:
    changed = [replace(each, **changes) if each.uri == uri else each for each in facts.files]  # type: ignore[arg-type]
    return replace(facts, files=changed)


def with_manifest(facts: Facts, **changes: object) -> Facts:
    changed = [replace(each, **changes) if each.path == MANIFEST else each for each in facts.manifests]  # type: ignore[arg-type]
    return replace(facts, manifests=changed)


def without_row(etag: str) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, files=[each for each in facts.files if each.version != version(TWICE, etag)])


def named(*uris: str) -> tuple[Version, ...]:
    return tuple(version(uri) for uri in uris)


ACCOUNTED = "every uploaded file is accounted for exactly once"
ONE_MANIFEST = "every version is in one manifest, or pending, refused or deleted"
OVERDUE = "no manifest is overdue"
SOUND = "every manifest names files of its date that exist, each of them once"
JOBS = "every manifest was read by one Glue run to its end, version by version"
REFUSED_KEPT = "every refused file has its reason and its copy"
LOCKS = "no lock is left"
QUEUES = "the queue is empty; the dead-letter queue holds the poison alone"

BREAKAGES: dict[str, tuple[str, Callable[[Facts], Facts]]] = {
    "a file is lost": (ACCOUNTED, lambda facts: replace(facts, files=facts.files[1:])),
    "a file is tracked twice": (ACCOUNTED, lambda facts: replace(facts, files=[*facts.files, row(PENDING, "pending")])),
    "a file appears that nobody uploaded": (
        ACCOUNTED,
        lambda facts: replace(facts, files=[*facts.files, row("s3://input/x.ndjson", "pending")]),
    ),
    "the second version was missed": (ACCOUNTED, without_row("e2")),
    "an older version was forgotten": (ACCOUNTED, without_row("e1")),
    "a size is wrong": (ACCOUNTED, lambda facts: with_row(facts, VALID, size_bytes=99)),
    "a file to refuse was accepted": (
        ACCOUNTED,
        lambda facts: with_row(facts, REFUSED, status="pending", pending_since="2026-01-01T00:00:00.000000Z"),
    ),
    "an object is gone from the input bucket": (
        ACCOUNTED,
        lambda facts: replace(facts, objects={uri: etag for uri, etag in facts.objects.items() if uri != PENDING}),
    ),
    "a deleted file is still there": (ACCOUNTED, lambda facts: replace(facts, objects={**facts.objects, GONE: "e1"})),
    "a deletion is not recorded": (ACCOUNTED, lambda facts: with_row(facts, GONE, deleted_at=None)),
    "a file is said to be deleted that is there": (ACCOUNTED, lambda facts: with_row(facts, VALID, deleted_at="2026")),
    "a date has filled a manifest, and none was built": (
        OVERDUE,
        lambda facts: with_row(facts, PENDING, size_bytes=MAX_BATCH_BYTES),
    ),
    "a file is marked and no manifest names it": (
        ONE_MANIFEST,
        lambda facts: with_manifest(facts, versions=(version(TWICE, "e2"),)),
    ),
    "a pending file is in a manifest already": (
        ONE_MANIFEST,
        lambda facts: with_manifest(facts, versions=named(VALID, PENDING)),
    ),
    "a version is in two manifests": (
        ONE_MANIFEST,
        lambda facts: replace(
            facts, manifests=[*facts.manifests, manifest("s3://manifests/third.json", version(VALID))]
        ),
    ),
    "a manifest names a deleted file": (
        ONE_MANIFEST,
        lambda facts: with_manifest(facts, versions=named(VALID, GONE)),
    ),
    "a refused file is in a manifest": (
        ONE_MANIFEST,
        lambda facts: with_manifest(facts, versions=named(VALID, REFUSED)),
    ),
    "a status is unknown": (ONE_MANIFEST, lambda facts: with_row(facts, VALID, status="lost")),
    "a marked file is still in the index": (ONE_MANIFEST, lambda facts: with_row(facts, VALID, pending_since="2026")),
    "a pending file has left the index": (ONE_MANIFEST, lambda facts: with_row(facts, PENDING, pending_since=None)),
    "a manifest's object is missing": (SOUND, lambda facts: with_manifest(facts, versions=None)),
    "a manifest names a file twice": (SOUND, lambda facts: with_manifest(facts, versions=named(VALID, VALID))),
    "a manifest names another version": (
        SOUND,
        lambda facts: with_manifest(facts, versions=(version(VALID), version(TWICE, "e3"))),
    ),
    "a manifest names a missing file": (SOUND, lambda facts: replace(facts, objects={TWICE: "e2"})),
    "a manifest names a file of another date": (SOUND, lambda facts: with_row(facts, VALID, date="2025-12-24")),
    "a record counts another number of files": (SOUND, lambda facts: with_manifest(facts, file_count=3)),
    "an object has two records": (SOUND, lambda facts: replace(facts, manifests=facts.manifests * 2)),
    "a job was not started": (JOBS, lambda facts: replace(facts, runs=facts.runs[:1])),
    "a job was started twice": (
        JOBS,
        lambda facts: replace(facts, runs=[*facts.runs, JobRun("x", MANIFEST, "SUCCEEDED")]),
    ),
    "a job failed": (JOBS, lambda facts: replace(facts, runs=[facts.runs[0], replace(facts.runs[1], state="FAILED")])),
    "a record is still open": (JOBS, lambda facts: with_manifest(facts, status="open")),
    "a record names another run": (JOBS, lambda facts: with_manifest(facts, job_run_id="another")),
    "a job read fewer files": (
        JOBS,
        lambda facts: replace(facts, results={**facts.results, MANIFEST: JobResult(1, 10, named(VALID))}),
    ),
    "a job read another version": (
        JOBS,
        lambda facts: replace(facts, results={**facts.results, MANIFEST: JobResult(2, 10, named(VALID, TWICE))}),
    ),
    "a job read what was never committed": (
        JOBS,
        lambda facts: replace(facts, runs=[*facts.runs, JobRun("x", "s3://manifests/litter.json", "SUCCEEDED")]),
    ),
    "a refused file has no copy": (REFUSED_KEPT, lambda facts: replace(facts, copies={})),
    "a copy has other content": (REFUSED_KEPT, lambda facts: replace(facts, copies={"2025-12-23-no.ndjson": "e9"})),
    "a reason is missing": (REFUSED_KEPT, lambda facts: with_row(facts, REFUSED, reason=None)),
    "a lock is left": (LOCKS, lambda facts: replace(facts, locks=["manifest-2025-12-23"])),
    "a message is left": (QUEUES, lambda facts: replace(facts, messages_left=1)),
    "the poison is gone": (QUEUES, lambda facts: replace(facts, dead_letters=[])),
    "a good message was parked": (QUEUES, lambda facts: replace(facts, dead_letters=["poison", "good"])),
}


def test_a_run_that_kept_the_promise_has_nothing_against_it() -> None:
    assert [problem for check in verify(kept(), MAX_BATCH_BYTES) for problem in check.problems] == []


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_the_clause_that_was_broken_is_named(breakage: str) -> None:
    clause, break_it = BREAKAGES[breakage]
    assert clause in [check.clause for check in verify(break_it(kept()), MAX_BATCH_BYTES) if not check.holds]


def test_a_run_that_kept_the_promise_has_recorded_and_told_everything() -> None:
    assert [check.problems for check in verify_outcomes(kept())] == [[], []]


@pytest.mark.parametrize(
    ("break_it", "broken", "problem"),
    [
        (lambda facts: with_manifest(facts, status="started"), 0, "is started, and its run has succeeded"),
        (lambda facts: replace(facts, events=facts.events[1:]), 1, "no event says that s3://manifests/"),
        (lambda facts: replace(facts, events=facts.events[:-1]), 1, f"no event says that {REFUSED} was refused"),
    ],
)
def test_an_outcome_that_is_not_recorded_or_not_told_is_named(
    break_it: Callable[[Facts], Facts], broken: int, problem: str
) -> None:
    checks = verify_outcomes(break_it(kept()))

    assert [check.holds for check in checks] == [number != broken for number in range(2)]
    assert problem in checks[broken].problems[0]


def test_every_clause_has_a_case_that_breaks_it() -> None:
    assert {clause for clause, _ in BREAKAGES.values()} == {check.clause for check in verify(kept(), MAX_BATCH_BYTES)}
