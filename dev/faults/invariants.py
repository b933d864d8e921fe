"""The invariants after every run, one function each. A function returns the violations as texts."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from dev.faults.lab import Lab, Version
from dev.simulator.world import NOT_FILES
from manifest_builder import clock, event_bus
from manifest_builder.documents import NamedFile
from manifest_builder.rows import FileRow, is_kept_apart
from manifest_builder.settings import settings
from manifest_builder.validation import reason_to_refuse
from update_status import GONE

Invariant = Callable[[Lab], Iterator[str]]
FORWARD = re.compile(r"open( void| failed|( started( open started)*( succeeded| failed| open failed)?)?( open)?)")
"""The statuses of a manifest's record: opened again only after a run. Without its object it is void, or failed."""


ENDS = {"succeeded": "succeeded", "failed": "waiting_for_operator"}
"""By the status of a manifest's record: that of the event."""


def is_valid(version: Version) -> bool:
    return reason_to_refuse(version.key, version.size_bytes) is None


def latest_versions(lab: Lab) -> dict[str, Version]:
    latest: dict[str, Version] = {}
    for version in lab.seen.versions:
        known = latest.get(version.file_path)
        if known is None or version.sequencer > known.sequencer:
            latest[version.file_path] = version
    return latest


def is_removed(lab: Lab, version: Version) -> bool:
    return lab.seen.removals.get(version.file_path, "") > version.sequencer


def files(lab: Lab) -> dict[str, dict[str, Any]]:
    """The row of each file's newest version."""
    return {item["file_path"]: item for item in rows(lab) if not is_kept_apart(FileRow.from_item(item))}


def rows(lab: Lab) -> list[dict[str, Any]]:
    return [item for (partition, _), item in lab.items().items() if not partition.startswith(NOT_FILES)]


def records(lab: Lab) -> dict[str, dict[str, Any]]:
    return {
        item["file_path"]: item for (partition, _), item in lab.items().items() if partition.startswith("MANIFEST#")
    }


def voided(lab: Lab) -> set[str]:
    """The paths of void manifests: their files count as never named."""
    return {path for path, record in records(lab).items() if record["status"] == "void"}


def is_without_object(record: dict[str, Any]) -> bool:
    return record["status"] == "void" or str(record.get("error")).startswith(GONE)


def committed_documents(lab: Lab) -> dict[str, list[str]]:
    return {path: [file.file_path for file in named] for path, named in committed_files(lab).items()}


def committed_files(lab: Lab) -> dict[str, list[NamedFile]]:
    committed = records(lab).keys() - voided(lab)
    return {path: objects[0] for path, objects in lab.seen.objects.items() if path in committed}


def each_version_is_in_one_manifest_at_most(lab: Lab) -> Iterator[str]:
    void = voided(lab)
    for (path, sequencer), states in lab.seen.rows.items():
        manifests = {manifest for status, manifest in states if status == "manifested" and manifest not in void}
        if len(manifests) > 1:
            yield f"{path} version {sequencer} was marked by {sorted(map(str, manifests))}"


def the_latest_version_of_each_file_is_in_one_manifest_or_waits_for_a_reason(lab: Lab) -> Iterator[str]:
    newest = files(lab)
    pending_bytes: Counter[str] = Counter()
    for known in rows(lab):
        if known["status"] == "pending":
            pending_bytes[known["date_prefix"]] += known["file_size_bytes"]
    dead = set(lab.queue.dead)
    for path, version in latest_versions(lab).items():
        if not is_valid(version) or is_removed(lab, version):
            continue
        row = newest.get(path)
        is_untold = (path, version.sequencer) in lab.seen.untold
        if row is None or row.get("sequencer") not in (version.sequencer, None if is_untold else version.sequencer):
            if f"{version.key}#{version.sequencer}" not in dead:
                yield f"{path} version {version.sequencer} is lost: its row is {row}"
        elif row["status"] == "pending":
            if pending_bytes[row["date_prefix"]] >= settings().max_batch_bytes:
                yield f"{path} is pending though its date has {pending_bytes[row['date_prefix']]} bytes"
        elif row["status"] != "manifested":
            yield f"{path} is valid and {row['status']}"
        elif path not in committed_documents(lab).get(row["manifest_path"], []):
            yield f"{path} says it is in {row['manifest_path']}, which does not name it"


def every_version_is_named_by_one_manifest_or_waits(lab: Lab) -> Iterator[str]:
    """In a bucket with versions, also the versions that newer ones have replaced."""
    named = Counter((file.file_path, file.version_id) for files in committed_files(lab).values() for file in files)
    waiting = {(row["file_path"], row["version_id"]) for row in rows(lab) if "version_id" in row and is_pending(row)}
    for version in lab.seen.versions:
        if version.version_id is None or not is_valid(version) or is_removed(lab, version):
            continue
        this = (version.file_path, version.version_id)
        if named[this] + (this in waiting) != 1:
            where = f"named by {named[this]} manifests and {'pending' if this in waiting else 'not pending'}"
            yield f"{version.file_path} version {version.version_id} is {where}"


def is_pending(row: dict[str, Any]) -> bool:
    return bool(row["status"] == "pending")


def every_input_is_accounted_for(lab: Lab) -> Iterator[str]:
    for message_id in lab.queue.messages:
        yield f"message {message_id} is still in the queue"
    for message_id in lab.queue.lost:
        yield f"message {message_id} was deleted at the end of the queue's retention"
    for message_id in lab.queue.dead:
        if message_id != "poison":
            yield f"message {message_id} went to the dead letters"
    for path, version in latest_versions(lab).items():
        found = files(lab).get(path)
        if is_removed(lab, version) and (found is None or "deleted_at" not in found or "pending_since" in found):
            yield f"{path} is removed, and its row is {found}"
        elif not is_valid(version) and (found is None or found["status"] != "quarantined"):
            yield f"{path} is invalid and not quarantined: {found}"


def a_manifest_names_what_the_table_says(lab: Lab) -> Iterator[str]:
    latest = latest_versions(lab)
    for path, named in committed_documents(lab).items():
        if len(set(named)) != len(named):
            yield f"{path} names a file twice"
        for file_path in named:
            marked = [
                manifest
                for (row_path, _), states in lab.seen.rows.items()
                if row_path == file_path
                for status, manifest in states
                if status == "manifested"
            ]
            # A version that was replaced before it was marked is named, and never marked: the newer one is pending.
            was_replaced = sum(version.file_path == file_path for version in lab.seen.versions) > 1
            if path not in marked and not was_replaced:
                yield f"{path} names {file_path}, whose row was never marked by it"
            if file_path not in latest:
                yield f"{path} names {file_path}, which never arrived"


def what_was_removed_before_the_cut_is_in_no_manifest(lab: Lab) -> Iterator[str]:
    """By the clocks of the functions that wrote these moments: where one was wrong, they say that much less."""
    margin = max(map(abs, lab.skews.values()), default=timedelta(0))
    newest, cuts = files(lab), {path: record["cut"] for path, record in records(lab).items()}
    for path, named in committed_documents(lab).items():
        for file_path in named:
            deleted_at = newest[file_path].get("deleted_at")
            if deleted_at and clock.from_text(deleted_at) + margin <= clock.from_text(cuts[path]):
                yield f"{path} names {file_path}, which had been deleted by then"


def a_file_is_named_once_for_each_of_its_versions_at_most(lab: Lab) -> Iterator[str]:
    named = Counter(file_path for paths in committed_documents(lab).values() for file_path in paths)
    versions = Counter(version.file_path for version in lab.seen.versions)
    for file_path, times in named.items():
        if times > versions[file_path]:
            yield f"{file_path} has {versions[file_path]} version(s) and is named by {times} manifests"


def each_marked_version_was_there_when_its_job_started(lab: Lab) -> Iterator[str]:
    """Else the job has read an older version, and nothing will ever read this one."""
    # A version that was released has no sequencer in its row, and was there before.
    uploaded = {(version.file_path, version.sequencer): at for at, version in enumerate(lab.seen.versions)}
    for (path, sequencer), states in lab.seen.rows.items():
        for status, manifest in states:
            runs = lab.seen.runs.get(manifest or "", [])
            if status == "manifested" and runs and uploaded.get((path, sequencer), -1) >= max(runs):
                yield f"{path} version {sequencer} is marked by {manifest}, whose job had started before it arrived"


def every_manifest_has_its_object(lab: Lab) -> Iterator[str]:
    there = lab.paths_of_manifest_objects()
    for path, record in records(lab).items():
        if not lab.seen.objects[path] or path in lab.seen.deleted_objects:
            yield f"{path} is committed and has no object"
        if not is_without_object(record) and path not in there:
            yield f"{path} is {record['status']}, and its object is gone"


def no_committed_object_is_overwritten(lab: Lab) -> Iterator[str]:
    for path in records(lab):
        if len(lab.seen.objects[path]) > 1:
            yield f"{path} was written {len(lab.seen.objects[path])} times"


def every_manifest_starts_its_job(lab: Lab) -> Iterator[str]:
    runs = lab.runs_by_manifest()
    for path, record in records(lab).items():
        if is_without_object(record):
            if record["status"] == "void" and runs.get(path):
                yield f"{path} is void and has {runs[path]} run(s)"
        elif record["status"] == "open" or not runs.get(path):
            yield f"{path} is {record['status']} with {runs.get(path, 0)} run(s)"
        if (record["status"] == "started") != ("pending_since" in record):
            yield f"{path} is {record['status']}, and in the index of unfinished work: {'pending_since' in record}"


def the_end_of_every_run_is_recorded(lab: Lab) -> Iterator[str]:
    """Runs end in those scenarios only in which the sweep asks about every run."""
    for path, ends in lab.ends_of_runs().items():
        record = records(lab)[path]
        for run, state in ends.items():
            is_current = record.get("job_run_id") == run
            expected = {"SUCCEEDED": "succeeded"}.get(state, "failed")
            if is_current and record["status"] != expected:
                yield f"{path} is {record['status']}, and its run {run} has {state}"
            if not is_current and run not in record.get("failed_runs", []):
                yield f"{path} does not know of the run {run} that has {state}"


def no_manifest_starts_a_second_run(lab: Lab) -> Iterator[str]:
    for path, times in lab.runs_by_manifest().items():
        attempts = 1 + len(records(lab).get(path, {}).get("failed_runs", []))
        if times > attempts + lab.seen.excused_starts[path]:
            yield f"{path} has {times} runs in {attempts} attempts"


def a_record_names_one_run_for_ever(lab: Lab) -> Iterator[str]:
    for path, runs in lab.seen.recorded_runs.items():
        failed = records(lab)[path].get("failed_runs", [])
        if runs[:-1] != failed[: len(runs) - 1] or len(runs) > len(failed) + 1:
            yield f"the record of {path} named {runs}, of which only {failed} failed"


def no_run_reads_what_was_never_committed(lab: Lab) -> Iterator[str]:
    for path in lab.runs_by_manifest():
        if path not in records(lab):
            yield f"a run reads {path}, which no record names"


def states_only_move_forward(lab: Lab) -> Iterator[str]:
    void = voided(lab)
    for (path, sequencer), states in lab.seen.rows.items():
        # What a void manifest has marked is as if it had never been.
        counted = [state for state in states if state[1] not in void]
        if [status for at, (status, _) in enumerate(counted) if not at or counted[at - 1][0] != status] not in (
            ["pending"],
            ["pending", "manifested"],
            ["pending", "deleted"],
            # Deleted after its manifest was cut and before its row was marked.
            ["pending", "deleted", "manifested"],
            ["quarantined"],
            ["deleted"],
        ):
            yield f"{path} version {sequencer} went {states}"
    for path, statuses in lab.seen.records.items():
        retried_by_glue = {retry["PreviousRunId"] for retry in lab.retries.values()}
        reopened = len(set(records(lab).get(path, {}).get("failed_runs", [])) - retried_by_glue)
        if not FORWARD.fullmatch(" ".join(statuses)) or statuses.count("open") != 1 + reopened:
            yield f"{path} went {statuses}"


def no_file_is_marked_before_its_manifest_is_committed(lab: Lab) -> Iterator[str]:
    known = set(lab.seen.records)
    for (path, _), states in lab.seen.rows.items():
        for status, manifest in states:
            if status == "manifested" and manifest not in known:
                yield f"{path} is marked by {manifest}, which was never committed"


def no_lock_outlives_its_lease(lab: Lab) -> Iterator[str]:
    now = clock.now().timestamp()
    for (partition, _), item in lab.items().items():
        if partition.startswith("LOCK#") and item["ttl"] >= now:
            yield f"{partition} is held by {item['lock_id']} for {item['ttl'] - now:.0f} s more"


def whatever_is_recorded_has_been_told(lab: Lab) -> Iterator[str]:
    """The end of each attempt of a manifest, each refused version, each flush."""
    told = lab.seen.told.keys()
    for path, record in records(lab).items():
        attempt = int(record.get("attempt", 1))
        ends = dict.fromkeys(range(1, attempt), "failed")
        if record["status"] in ENDS:
            ends[attempt] = ENDS[record["status"]]
        for number, end in ends.items():
            if (event_bus.MANIFEST_STATUS_CHANGE, path, number, end) not in told:
                yield f"attempt {number} of {path} has ended ({end}), and no event says so"
    refused = {
        (f"s3://{subject[1]}/{subject[2]}", subject[3], subject[-1])
        for subject in told
        if subject[0] == event_bus.FILE_QUARANTINED
    }
    for row in rows(lab):
        version = (row["file_path"], row.get("version_id"), row.get("reason"))
        if row["status"] == "quarantined" and version not in refused:
            yield f"{row['file_path']} is quarantined, and no event says so"
    for date, cut in lab.seen.flushes:
        if (event_bus.DATE_FLUSHED, date, cut) not in told:
            yield f"{date} was flushed up to {cut}, and no event says so"


def an_event_has_the_same_id_each_time(lab: Lab) -> Iterator[str]:
    known: dict[str, tuple[Any, ...]] = {}
    for subject, ids in lab.seen.told.items():
        if len(ids) > 1:
            yield f"{subject} was told with {len(ids)} ids"
        for event_id in ids:
            if known.setdefault(event_id, subject) != subject:
                yield f"{subject} has the id of {known[event_id]}"


def no_date_waits_behind_others(lab: Lab) -> Iterator[str]:
    for date in lab.seen.starved:
        yield f"{date} was not finished although sweeps had time for it"


def a_lock_is_given_up_by_its_holder_only(lab: Lab) -> Iterator[str]:
    for lock in lab.seen.foreign_releases:
        yield f"{lock} was released by another run"


def replaying_all_messages_changes_nothing(lab: Lab) -> Iterator[str]:
    """Last, since it acts: every event that was not given up on comes once more."""
    before, runs = lab.items(), lab.runs_by_manifest()
    for event in lab.seen.messages:
        if event["messageId"] not in lab.queue.dead:
            lab.repeat(event)
    lab.deliver_all()
    after = lab.items()
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield f"{'/'.join(key)} was {before.get(key)} and is {after.get(key)}"
    if lab.runs_by_manifest() != runs:
        yield f"the runs of jobs were {runs} and are {lab.runs_by_manifest()}"


INVARIANTS: list[Invariant] = [
    each_version_is_in_one_manifest_at_most,
    the_latest_version_of_each_file_is_in_one_manifest_or_waits_for_a_reason,
    every_version_is_named_by_one_manifest_or_waits,
    every_input_is_accounted_for,
    a_manifest_names_what_the_table_says,
    what_was_removed_before_the_cut_is_in_no_manifest,
    a_file_is_named_once_for_each_of_its_versions_at_most,
    each_marked_version_was_there_when_its_job_started,
    every_manifest_has_its_object,
    no_committed_object_is_overwritten,
    every_manifest_starts_its_job,
    the_end_of_every_run_is_recorded,
    no_manifest_starts_a_second_run,
    a_record_names_one_run_for_ever,
    no_run_reads_what_was_never_committed,
    states_only_move_forward,
    no_file_is_marked_before_its_manifest_is_committed,
    no_lock_outlives_its_lease,
    whatever_is_recorded_has_been_told,
    an_event_has_the_same_id_each_time,
    no_date_waits_behind_others,
    a_lock_is_given_up_by_its_holder_only,
    replaying_all_messages_changes_nothing,
]


def violations(lab: Lab) -> list[str]:
    """Everything that is wrong, each with the name of its invariant."""
    return [f"{invariant.__name__}: {wrong}" for invariant in INVARIANTS for wrong in invariant(lab)]
