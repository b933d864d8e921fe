"""Manifest records: committed under the lease, claimed by the run that starts the job, closed by the run's outcome.

commit ──> open ──(claim_start, StartGlueJob, RecordJobRun)──> started ──(record_outcome)──> succeeded | failed
            ^                                                     │
            └──────────────────── reopen ─────────────────────────┘

If its object is gone, an open manifest becomes void or failed: see `vanished`.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from botocore.exceptions import ClientError

from manifest_builder import aws, clock, manifests
from manifest_builder.errors import LockLost
from manifest_builder.manifests import ManifestRecord
from manifest_builder.settings import settings
from manifest_builder.tracking import locks, table


def of_date(date_prefix: str) -> Iterator[ManifestRecord]:
    """Every manifest record of a date, in the order of the sort keys."""
    for item in table.query(manifests.partition_of(date_prefix)):
        yield ManifestRecord.from_item(item)


def open_manifests(date_prefix: str) -> list[ManifestRecord]:
    """The manifests of a date without a recorded job run, read consistently from the pending index.

    The index holds no `created_at`: it is None, and `pending_since` is the creation, or the last reopening.
    """
    entries = map(ManifestRecord.from_item, table.query_pending(manifests.partition_of(date_prefix)))
    # A record that names its run is not open: it waits for the outcome.
    return [entry for entry in entries if entry.job_run_id is None]


def find_started(date_prefix: str, manifest_path: str) -> ManifestRecord | None:
    """The record of a manifest that names its job run and has no outcome yet; None if there is none."""
    for item in table.query_pending(manifests.partition_of(date_prefix)):
        if item["file_path"] == manifest_path and "job_run_id" in item:
            record = table.get(item["date_prefix"], item["file_name"])
            return ManifestRecord.from_item(record) if record and "job_run_id" in record else None
    return None


def find_open(date_prefix: str, manifest_path: str) -> ManifestRecord | None:
    """The open manifest with this path; None if there is none."""
    return next((manifest for manifest in open_manifests(date_prefix) if manifest.file_path == manifest_path), None)


def find_given_up(date_prefix: str, manifest_path: str, job_run_id: str, error: str) -> ManifestRecord | None:
    """The record of a manifest whose run was recorded as failed with an error that begins so. Reads the records of the
    date: they are not in the index any more."""
    for record in of_date(date_prefix):
        if record.file_path == manifest_path:
            is_given_up = record.status == "failed" and (record.error or "").startswith(error)
            return record if is_given_up and record.job_run_id == job_run_id else None
    return None


def failed_runs(date_prefix: str, record_name: str) -> list[str]:
    """The job runs of the manifest's earlier attempts."""
    record = table.get(manifests.partition_of(date_prefix), record_name) or {}
    found: list[str] = record.get("failed_runs", [])
    return found


def commit(manifest: ManifestRecord, token: str, now: datetime) -> ManifestRecord:
    """The commit point: writes the record if, and only if, the lease is still ours.

    Returns the committed record. If this token has committed before (its response was lost), that is the earlier one.
    Raises LockLost; then nothing was committed.
    """
    partition = manifests.partition_of(manifest.date_prefix)
    one_commit_per_token = {
        "TableName": settings().tracking_table,
        "Item": table.to_dynamodb(manifest.to_item()),
        "ConditionExpression": "attribute_not_exists(date_prefix)",
    }
    lease_is_ours = locks.lease_is_ours(manifest.date_prefix, token, now)
    try:
        table.through_conflicts(
            lambda: aws.dynamodb().transact_write_items(
                TransactItems=[{"ConditionCheck": lease_is_ours}, {"Put": one_commit_per_token}]  # type: ignore[typeddict-item]
            )
        )
    except ClientError as error:
        lease, record_put = table.cancellation_reasons(error)
        if record_put == "ConditionalCheckFailed":
            earlier = table.get(partition, manifest.record_name)
            if earlier is not None:
                return ManifestRecord.from_item(earlier)
        if lease == "ConditionalCheckFailed":
            raise LockLost(f"the lease on {manifest.date_prefix} is over, or another run's") from error
        raise
    return manifest


def claim_start(
    partition: str, record_name: str, run_id: str, stale_attempt: tuple[str, str] | None, now: datetime
) -> bool:
    """Makes this run the one that starts the manifest's job; False if another run is, or if the job was started.

    `stale_attempt`: the (starter, start_attempted_at) of the attempt that CreateManifest found to be given up, or None.
    """
    never_attempted = "attribute_not_exists(start_attempted_at)"
    starter_is_us = "starter = :run_id"
    allowed = [never_attempted, starter_is_us]
    values: dict[str, Any] = {":open": "open", ":run_id": run_id, ":now": clock.to_text(now)}
    if stale_attempt is not None:
        allowed.append("(starter = :stale_starter AND start_attempted_at = :stale_attempted_at)")
        values[":stale_starter"], values[":stale_attempted_at"] = stale_attempt
    return table.update_if(
        partition,
        record_name,
        "SET starter = :run_id, start_attempted_at = :now",
        f"#status = :open AND ({' OR '.join(allowed)})",
        values,
        names={"#status": "status"},
    )


def read(partition: str, record_name: str) -> ManifestRecord | None:
    """The record, read consistently."""
    item = table.get(partition, record_name)
    return ManifestRecord.from_item(item) if item else None


def record_outcome(
    manifest: ManifestRecord, status: Literal["succeeded", "failed"], details: dict[str, str | None]
) -> bool:
    """Records the end of the manifest's run; False if the record has changed. `details`: attributes of the record."""
    given = {name: text for name, text in details.items() if text is not None}
    return table.update_if(
        manifests.partition_of(manifest.date_prefix),
        manifest.record_name,
        f"SET #status = :status, updated_at = :now{''.join(f', #{name} = :{name}' for name in given)} "
        "REMOVE pending_since",
        "job_run_id = :run AND #status = :known",
        {
            ":status": status,
            ":known": manifest.status,
            ":run": manifest.job_run_id,
            ":now": clock.to_text(clock.now()),
            **{f":{name}": text for name, text in given.items()},
        },
        names={"#status": "status", **{f"#{name}": name for name in given}},
    )


def follow(manifest: ManifestRecord, run_id: str) -> bool:
    """Makes Glue's own retry the run of the manifest; False if the record has changed. `failed_runs` keeps the run that
    it follows."""
    return table.update_if(
        manifests.partition_of(manifest.date_prefix),
        manifest.record_name,
        "SET job_run_id = :run, updated_at = :now, failed_runs = list_append(if_not_exists(failed_runs, :none), :runs)",
        "#status = :started AND job_run_id = :failed",
        {
            ":run": run_id,
            ":failed": manifest.job_run_id,
            ":started": "started",
            ":now": clock.to_text(clock.now()),
            ":none": [],
            ":runs": [manifest.job_run_id],
        },
        names={"#status": "status"},
    )


def reopen(
    date_prefix: str, record_name: str, *, run_id: str | None, error: str | None = None, is_replay: bool = False
) -> bool:
    """Opens a manifest whose run has ended for another attempt; False if `run_id` is not its run any more. After a
    replay it has all its retries again. `run_id` is None for a failed manifest whose job was never started.

    `failed_runs` keeps the run, so that nobody takes it for the run of the new attempt. `starter` stays: it says that
    the rows are marked.
    """
    values: dict[str, Any] = {":open": "open", ":one": 1, ":now": clock.to_text(clock.now())}
    names = {"#status": "status"}
    remember = ""
    condition = "attribute_not_exists(job_run_id) AND #status = :failed"
    if run_id is None:
        values[":failed"] = "failed"
    else:
        condition = "job_run_id = :run"
        remember = ", failed_runs = list_append(if_not_exists(failed_runs, :none), :runs)"
        values |= {":run": run_id, ":none": [], ":runs": [run_id]}
    if error is not None:
        remember += ", #error = :error"
        values[":error"], names["#error"] = error, "error"
    if is_replay:
        remember += ", replayed_after = if_not_exists(attempt, :one)"
    return table.update_if(
        manifests.partition_of(date_prefix),
        record_name,
        "SET #status = :open, pending_since = :now, updated_at = :now, "
        f"attempt = if_not_exists(attempt, :one) + :one{remember} "
        "REMOVE job_run_id, job_name, start_attempted_at, run_started_at, finished_at",
        condition,
        values,
        names=names,
    )
