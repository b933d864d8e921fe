"""Checks the promise against the facts. Pure."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from toolkit.facts import Facts, FileRow, Version


@dataclass(frozen=True, slots=True)
class Check:
    """One clause of the promise, and its violations."""

    clause: str
    problems: list[str]

    @property
    def holds(self) -> bool:
        return not self.problems


QUEUES_ARE_EMPTY = "the queue is empty; the dead-letter queue holds the poison alone"


def verify(facts: Facts, due_bytes: int, without: Collection[str] = ()) -> list[Check]:
    """`due_bytes` of pending files of one date are a manifest that should have been built. `without`: clauses that the
    facts say nothing about."""
    clauses: dict[str, Callable[[Facts], Iterator[str]]] = {
        "every uploaded file is accounted for exactly once": accounted_once,
        "every version is in one manifest, or pending, refused or deleted": in_one_manifest,
        "no manifest is overdue": partial(none_is_overdue, due_bytes=due_bytes),
        "every manifest names files of its date that exist, each of them once": manifests_are_sound,
        "every manifest was read by one Glue run to its end, version by version": jobs_ran,
        "every refused file has its reason and its copy": refused_are_kept,
        "no lock is left": locks_are_gone,
        QUEUES_ARE_EMPTY: queues_are_done,
    }
    return [Check(clause, list(problems(facts))) for clause, problems in clauses.items() if clause not in without]


def verify_outcomes(facts: Facts) -> list[Check]:
    """Where the ends of runs are told to the workflow."""
    clauses: dict[str, Callable[[Facts], Iterator[str]]] = {
        "the end of every run is recorded": outcomes_are_recorded,
        "every manifest's end and every refused file was told on the event bus": events_were_sent,
    }
    return [Check(clause, list(problems(facts))) for clause, problems in clauses.items()]


def accounted_once(facts: Facts) -> Iterator[str]:
    latest = {upload.uri: upload for upload in facts.uploads}
    rows = Counter(row.version for row in facts.files)
    # In a bucket without versions, a newer object takes the place of the older one.
    there = {upload.version: upload for upload in facts.uploads if upload.version_id} | {
        upload.version: upload for upload in latest.values()
    }
    for uri, version in there.keys() - rows.keys():
        is_latest = latest[uri].version == (uri, version)
        yield f"{uri}{'' if is_latest else f' version {version}'} is not in the table"
    for (uri, version), count in rows.items():
        if count > 1:
            yield f"{uri} version {version} is in the table {count} times"
        if (uri, version) not in there:
            yield f"{uri} version {version} is in the table and was never uploaded"
    for row in facts.files:
        upload = there.get(row.version)
        if upload and (row.etag, row.size_bytes) != (upload.etag, upload.size_bytes):
            yield f"{row.uri}: the table says another etag or size than the upload of this version had"
        if upload and upload.refused is not None and upload.refused != (row.status == "quarantined"):
            yield f"{row.uri} is {row.status}, and should {'' if upload.refused else 'not '}have been refused"
    for uri, upload in latest.items():
        if facts.objects.get(uri) != (None if uri in facts.deleted else upload.etag):
            yield f"{uri} is not in the input bucket as it was uploaded"
    known_to_be_gone = {row.uri for row in facts.files if row.deleted_at}
    for uri in known_to_be_gone.symmetric_difference(facts.deleted):
        yield f"{uri} was {'' if uri in facts.deleted else 'not '}deleted, and the table does not say so"


def in_one_manifest(facts: Facts) -> Iterator[str]:
    named_in: dict[Version, set[str]] = {}
    for manifest in facts.manifests:
        for version in manifest.versions or ():
            named_in.setdefault(version, set()).add(manifest.path)
    for row in facts.files:
        manifests = named_in.get(row.version, set())
        is_manifested = row.status == "manifested"
        if is_manifested and row.manifest_path not in manifests:
            yield f"{row.uri} is marked, but {row.manifest_path} does not name it"
        if row.status not in ("manifested", "pending", "quarantined", "deleted"):
            yield f"{row.uri} has the unknown status {row.status}"
        if len(manifests) > is_manifested:
            yield f"{row.uri} is {row.status} and in {len(manifests)} manifests: {', '.join(sorted(manifests))}"
        if (row.pending_since is None) == (row.status == "pending"):
            yield f"{row.uri} is {row.status}, which its place in the index contradicts"


def none_is_overdue(facts: Facts, due_bytes: int) -> Iterator[str]:
    for date in overdue_dates(facts.files, due_bytes):
        yield f"{date} has pending files that should be in a manifest by now"


def overdue_dates(files: Iterable[FileRow], due_bytes: int) -> list[str]:
    """Dates with so many bytes of pending files."""
    pending: Counter[str] = Counter()
    for row in files:
        if row.status == "pending":
            pending[row.date] += row.size_bytes
    return sorted(date for date, size_bytes in pending.items() if size_bytes >= due_bytes)


def manifests_are_sound(facts: Facts) -> Iterator[str]:
    known = {(row.date, *row.version) for row in facts.files}
    gone_since = {row.uri for row in facts.files if row.status == "manifested" and row.deleted_at}
    for manifest in facts.manifests:
        if manifest.versions is None:
            yield f"{manifest.path} is committed, and its object is missing"
            continue
        if len(manifest.versions) != manifest.file_count:
            yield f"{manifest.path} names {len(manifest.versions)} files, its record says {manifest.file_count}"
        for uri, count in Counter(manifest.uris).items():
            if count > 1:
                yield f"{manifest.path} names {uri} {count} times"
            if uri not in facts.objects and uri not in gone_since:
                yield f"{manifest.path} names {uri}, which does not exist"
        for uri, version in manifest.versions:
            if (manifest.date, uri, version) not in known:
                yield f"{manifest.path} names {uri} version {version}, which is not in the table for {manifest.date}"
    for path, count in Counter(manifest.path for manifest in facts.manifests).items():
        if count > 1:
            yield f"{path} has {count} records"


def jobs_ran(facts: Facts) -> Iterator[str]:
    runs_of: dict[str, list[str]] = {}
    for run in facts.runs:
        runs_of.setdefault(run.manifest_path, []).append(run.run_id)
        if run.state != "SUCCEEDED":
            yield f"run {run.run_id} of {run.manifest_path} is {run.state} {run.error}".rstrip()
    for manifest in facts.manifests:
        runs = runs_of.pop(manifest.path, [])
        if len(runs) != 1:
            yield f"{manifest.path} has {len(runs)} runs"
        if manifest.status not in ("started", "succeeded") or manifest.job_run_id not in runs:
            yield f"{manifest.path} is {manifest.status} with run {manifest.job_run_id}"
        if not facts.has_results:
            continue
        result = facts.results.get(manifest.path)
        if result is None or result.files != manifest.file_count:
            yield f"{manifest.path}: its run read {result.files if result else 'no'} files of {manifest.file_count}"
        elif sorted(result.versions) != sorted(manifest.versions or ()):
            yield f"{manifest.path}: its run read other versions than it names"
    for path in runs_of:
        yield f"a run read {path}, which was never committed"


def outcomes_are_recorded(facts: Facts) -> Iterator[str]:
    state_of = {run.run_id: run.state for run in facts.runs}
    for manifest in facts.manifests:
        if state_of.get(manifest.job_run_id or "") == "SUCCEEDED" and manifest.status != "succeeded":
            yield f"{manifest.path} is {manifest.status}, and its run has succeeded"


def events_were_sent(facts: Facts) -> Iterator[str]:
    ends = {(event["manifestPath"], event["status"]) for event in facts.events if "manifestPath" in event}
    for manifest in facts.manifests:
        if manifest.status == "succeeded" and (manifest.path, "succeeded") not in ends:
            yield f"no event says that {manifest.path} is succeeded"
    refused = {
        (f"s3://{event['bucket']}/{event['key']}", event["versionId"] or event["etag"])
        for event in facts.events
        if "copiedTo" in event
    }
    for row in facts.files:
        if row.status == "quarantined" and row.version not in refused:
            yield f"no event says that {row.uri} was refused"


def refused_are_kept(facts: Facts) -> Iterator[str]:
    for row in facts.files:
        if row.status != "quarantined":
            continue
        if not row.reason:
            yield f"{row.uri} was refused without a reason"
        key = row.uri.removeprefix("s3://").partition("/")[2]
        if facts.copies.get(key) != row.etag:
            yield f"{row.uri} has no copy in the quarantine bucket"


def locks_are_gone(facts: Facts) -> Iterator[str]:
    for lock in facts.locks:
        yield f"the lock {lock} is still there"


def queues_are_done(facts: Facts) -> Iterator[str]:
    if facts.messages_left:
        yield f"{facts.messages_left} messages are still in the queue"
    expected, found = Counter(facts.poison), Counter(facts.dead_letters)
    for body in expected - found:
        yield f"not in the dead-letter queue: {body}"
    for body in found - expected:
        yield f"in the dead-letter queue: {body}"
