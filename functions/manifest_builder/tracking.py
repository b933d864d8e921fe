"""Every expression that touches the tracking table: files, locks, manifest records. The schema is in the README."""

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from manifest_builder import aws, clock, files, inputs, manifests
from manifest_builder.batching import PendingFile
from manifest_builder.errors import LockLost, RowContended
from manifest_builder.files import NULL_VERSION, FileName, FileVersion, Location, Removal
from manifest_builder.inputs import ObjectVersion
from manifest_builder.manifests import ManifestRecord, StartedManifest
from manifest_builder.settings import MB, settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

type_serializer = TypeSerializer()
type_deserializer = TypeDeserializer()

PENDING_INDEX = "pending-index"
# One page of a threshold check: a manifest of 3.5 MB files and the one too many, about 11 read units. A query without a
# limit would read a megabyte (256 read units) to learn what the first few rows say.
PAGE_ITEMS = 208
MARKING_THREADS = 16
MAX_BATCH_GET = 100
CONFLICT_ATTEMPTS = 5
CONTENTION_ATTEMPTS = 5
THROTTLED = {"ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"}

Outcome = Literal["tracked", "quarantined", "deleted", "duplicate", "superseded", "untracked"]
Row = dict[str, Any]
Decision = Callable[[str, Row | None], tuple[Outcome, Row | None]]
"""From a sort key and the row there, if there is one: the outcome, and the row to put, None where nothing changes."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a file version or a removal: its outcome and the sort key of its row."""

    outcome: Outcome
    file_name: str


def track_file(date_prefix: str, file: FileVersion) -> Stored:
    """Make the version pending, unless the table knows it or a newer one. Raises RowContended."""
    return _store(date_prefix, file, partial(_after_arrival, date_prefix, file, {"status": "pending"}))


def record_quarantine(date_prefix: str, file: FileVersion, reason: str, copied_to: str | None) -> Stored:
    """Record why the version was refused and where its copy is. Raises RowContended."""
    state = {"status": "quarantined", "reason": reason, "copied_to": copied_to}
    return _store(date_prefix, file, partial(_after_arrival, date_prefix, file, state))


def record_removal(date_prefix: str, removal: Removal) -> Stored:
    """Keep a removed file out of manifests, or record that it is gone where it is too late. Raises RowContended.

    `superseded`: the row is of a later version, or of another one; `untracked`: there is no row, and none is needed.
    """
    row = find_row(date_prefix, removal)
    return _store(date_prefix, removal, partial(_after_removal, date_prefix, removal), known=row)


def is_known(date_prefix: str, file: FileVersion) -> Outcome | None:
    """`duplicate` or `superseded` where the table has this version or a newer one, else None."""
    row = find_row(date_prefix, file)
    return _relation(file, row) if row else None


def find_row(date_prefix: str, file: FileName) -> Row | None:
    """The row of the file's path on this date, whatever its version; None where the table has none."""
    for file_name in _candidate_names(file):
        found = aws.dynamodb().get_item(
            TableName=settings().tracking_table, Key=_key(date_prefix, file_name), ConsistentRead=True
        )
        row = _from_item(found.get("Item", {}))
        if row and row["file_path"] == file.file_path:
            return row
        if not row and not settings().retention_days:
            break  # rows stay for ever, so its own would be here; else a namesake's may have expired before it
    return None


def _store(date_prefix: str, file: FileName, decide: Decision, known: Row | None = None) -> Stored:
    """Put the row that `decide` makes of the one that is there. `known` is the row as it was read, if it was."""
    if known is None and settings().retention_days:
        known = find_row(date_prefix, file)  # under which of its names, the first that is free does not say
    for file_name in [known["file_name"]] if known else _candidate_names(file):
        there = known
        for _ in range(CONTENTION_ATTEMPTS):
            outcome, row = decide(file_name, there)
            found = _put_row(row, there) if row else None
            if found is None:
                return Stored(outcome, file_name)
            if found["file_path"] != file.file_path:
                break  # the same basename from another folder: both are kept
            there = found
        else:
            raise RowContended(f"{date_prefix}/{file_name} changed {CONTENTION_ATTEMPTS} times under the write")
    raise RowContended(f"{file.file_path}: both of its sort keys belong to other files")


def _after_arrival(
    date_prefix: str, file: FileVersion, state: Row, file_name: str, known: Row | None
) -> tuple[Outcome, Row | None]:
    relation = _relation(file, known) if known else None
    if relation is not None:
        return relation, None
    now = clock.to_text(clock.now())
    row = {
        "date_prefix": date_prefix,
        "file_name": file_name,
        "file_path": file.file_path,
        "file_size_mb": _megabytes(file.size_bytes),
        "file_size_bytes": file.size_bytes,
        "etag": file.etag,
        "version_id": file.version_id,
        "sequencer": file.sequencer,
        "created_at": now,
        **state,
    }
    cut = known.get("cut") if known else None
    row["cut"] = cut
    if state["status"] != "pending":
        return "quarantined", row | _expiry()
    # A manifest that named an earlier version marks rows up to its cut: this one must stay beyond it, whatever the
    # clocks say.
    row["pending_since"] = max(now, clock.microsecond_after(cut)) if cut else now
    return "tracked", row


def _after_removal(date_prefix: str, removal: Removal, file_name: str, known: Row | None) -> tuple[Outcome, Row | None]:
    now = clock.to_text(clock.now())
    ended = {"deleted_at": now, "updated_at": now}
    if known is None:
        if not _is_worth_a_row(removal):
            return "untracked", None
        unseen = {"date_prefix": date_prefix, "file_name": file_name, "file_path": removal.file_path}
        tombstone = unseen | {"status": "deleted", "created_at": now} | ended
        # Without the version that is gone, others may be there: only a removal of them all supersedes what is late.
        last = {"version_id": removal.version_id} if removal.version_id else {"sequencer": removal.sequencer}
        return "deleted", tombstone | last | _expiry()
    relation = _relation_of_removal(removal, known)
    if relation is not None:
        return relation, None
    row = known | ended
    if removal.version_id is None and removal.sequencer:
        row["sequencer"] = removal.sequencer  # an older version that comes late stays superseded
    if row["status"] == "pending":
        row |= {"status": "deleted"} | _expiry()
        del row["pending_since"]
    return "deleted", row


def _expiry() -> dict[str, int]:
    """What makes a row that nothing is left to do for disappear when its time is over. Writing it anew takes it off."""
    days = settings().retention_days
    return {"ttl": int((clock.now() + timedelta(days=days)).timestamp())} if days else {}


def _is_worth_a_row(removal: Removal) -> bool:
    """Whether the creation of an unknown file may come after its removal, and would be told by a row to be late.

    A key without a date has its row on the day that it was created, which is not to be found from here.
    """
    names_a_moment = removal.version_id != NULL_VERSION if removal.version_id else removal.sequencer is not None
    return names_a_moment and removal.key.endswith(files.EXTENSION) and files.date_in_key(removal.key) is not None


def _relation_of_removal(removal: Removal, row: Row) -> Literal["duplicate", "superseded"] | None:
    """How a removal stands to the row of its path; None: it ends the version that the row is about."""
    sequencer = row.get("sequencer")
    if removal.version_id or not removal.sequencer:
        names_this = removal.version_id == row.get("version_id", NULL_VERSION) if removal.version_id else not sequencer
        # "null" is the name of one version after another.
        is_later = removal.sequencer and sequencer and files.is_newer(sequencer, than=removal.sequencer)
        if not names_this or (removal.version_id == NULL_VERSION and is_later):
            return "superseded"
        return "duplicate" if "deleted_at" in row else None
    if sequencer:
        if files.is_newer(removal.sequencer, than=sequencer):
            return None
        return "superseded" if files.is_newer(sequencer, than=removal.sequencer) else "duplicate"
    # The row is of a version that S3 did not announce, or not yet: this may be the removal of the one before.
    is_there = inputs.is_current(removal, ObjectVersion(row.get("version_id"), row.get("etag", "")))
    return "superseded" if is_there else None


def _put_row(row: Row, known: Row | None) -> Row | None:
    """Write the row if it is absent, or still exactly as `known`; else return the row that is there."""
    condition, names, values = _still_as(known)
    request: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
    if names:
        request["ExpressionAttributeNames"] = names
    try:
        aws.dynamodb().put_item(
            TableName=settings().tracking_table,
            Item=_to_item(row),
            ConditionExpression=condition,
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
            **request,
        )
    except ClientError as error:
        if _code(error) != "ConditionalCheckFailedException":
            raise
        found = _from_item(error.response.get("Item", {}))
        if not found:
            raise RowContended(f"{row['date_prefix']}/{row['file_name']} vanished under the write") from error
        return found
    return None


def _still_as(known: Row | None) -> tuple[str, dict[str, str], dict[str, "AttributeValueTypeDef"]]:
    """The condition that a row is absent (`known` is None), or in the state it was read in."""
    if known is None:
        return "attribute_not_exists(date_prefix)", {}, {}
    clauses, names, values = [], {}, {}
    for attribute in ("file_path", "status", "pending_since", "cut", "etag", "version_id", "sequencer"):
        names[f"#{attribute}"] = attribute
        if attribute in known:
            values[f":{attribute}"] = _value(known[attribute])
            clauses.append(f"#{attribute} = :{attribute}")
        else:
            clauses.append(f"attribute_not_exists(#{attribute})")
    return " AND ".join(clauses), names, values


def _relation(file: FileVersion, row: Row) -> Literal["duplicate", "superseded"] | None:
    """How an arriving version stands to the row of its path; None: it is newer.

    Where a sequencer is missing on either side, as in events that S3 did not send, S3 is asked which version is the
    later one: the current one.
    """
    is_same, sequencer = is_version_of(file, row), row.get("sequencer")
    if is_same and row["status"] != "deleted":
        return None if row.get("released") else "duplicate"
    if file.sequencer and sequencer:
        # The sequencer of a deleted row is that of its removal, which this very version may have come after.
        if files.is_newer(file.sequencer, than=sequencer):
            return None
        return "superseded" if files.is_newer(sequencer, than=file.sequencer) else "duplicate"
    if inputs.is_current(file, ObjectVersion(file.version_id, file.etag)):
        return None
    return "duplicate" if is_same else "superseded"


def _candidate_names(file: FileName) -> list[str]:
    disambiguated = files.disambiguated_name(file)
    if not file.base_name or files.looks_disambiguated(file.base_name):
        return [disambiguated]
    return [file.base_name, disambiguated]


def _megabytes(size_bytes: int) -> Decimal:
    """MB of 1024^2, rounded to 6 places."""
    return round(Decimal(size_bytes) / MB, 6)


def pending_files(date_prefix: str, until: str | None = None) -> Iterator[PendingFile]:
    """The pending files of a date in order of arrival, read consistently and lazily, page by page."""
    key = "date_prefix = :date_prefix" + (" AND pending_since <= :until" if until else "")
    values = {":date_prefix": date_prefix} | ({":until": until} if until else {})
    for row in _query_index(key, values):
        yield PendingFile(row["file_name"], row["file_path"], int(row["file_size_bytes"]), row["pending_since"])


@dataclass(frozen=True, slots=True)
class Marking:
    """Rows that were marked, and how many were not reached: time was up, or the table refused more for now."""

    marked: list[PendingFile]
    left: int


def mark_manifested(
    date_prefix: str, rows: list[PendingFile], manifest_path: str, cut: str, until: datetime
) -> Marking:
    """Move rows to `manifested`, if they are still pending since before the cut; begin none after `until`.

    What is deleted meanwhile is for `mark_deleted`.

    A date's rows take 500 marks a second: each writes the table and the index, and a collection with a local index has
    1,000 write units a second (DynamoDB, local secondary indexes).
    """

    def mark(row: PendingFile) -> bool | None:
        if clock.now() >= until:
            return None
        try:
            return _mark_row(date_prefix, row, manifest_path, cut, PENDING_UP_TO_THE_CUT)
        except ClientError as error:
            if _code(error) in THROTTLED:
                return None
            raise

    with ThreadPoolExecutor(max_workers=MARKING_THREADS) as pool:
        outcomes = list(pool.map(mark, rows))
    return Marking(
        [row for row, was_marked in zip(rows, outcomes, strict=True) if was_marked],
        sum(was_marked is None for was_marked in outcomes),
    )


PENDING_UP_TO_THE_CUT = ("pending", "pending_since <= :cut")  # a re-upload since then stays pending
# A deleted row has no pending_since any more: it was the later of these two moments.
DELETED_AFTER_THE_CUT = ("deleted", "created_at <= :cut AND (attribute_not_exists(cut) OR cut < :cut)")


def mark_deleted(
    date_prefix: str, file_paths: Collection[str], manifest_path: str, cut: str, until: datetime
) -> Marking:
    """Move rows of deleted files to `manifested` that were pending when the manifest which names them was cut.

    `deleted_at` tells that they have gone since. To be called when nothing named is pending any more. What is left, of
    thousands on a busy date, stays `deleted`: no reason to keep the job waiting.
    """
    rows, left = _read_by_path(date_prefix, file_paths, until)
    marked = []
    for row in rows:
        if row["status"] == "deleted":
            file = PendingFile(row["file_name"], row["file_path"], int(row.get("file_size_bytes", 0)), cut)
            if _mark_row(date_prefix, file, manifest_path, cut, DELETED_AFTER_THE_CUT):
                marked.append(file)
    return Marking(marked, left)


def _read_by_path(date_prefix: str, file_paths: Collection[str], until: datetime) -> tuple[list[Row], int]:
    """Rows of these files, and how many files were not reached. A date has 3,000 read units a second, so a second name
    is read only where the first is not the file's own."""
    rows: list[Row] = []
    names = {path: _candidate_names(Location.from_path(path)) for path in file_paths}
    with ThreadPoolExecutor(max_workers=MARKING_THREADS) as pool:
        while names:
            # Namesakes of two folders have their first name in common.
            wanted = list(dict.fromkeys(of_file[0] for of_file in names.values()))
            chunks = [wanted[first : first + MAX_BATCH_GET] for first in range(0, len(wanted), MAX_BATCH_GET)]
            answers = list(pool.map(partial(_read_until, until, date_prefix), chunks))
            found = {row["file_name"]: row for of_chunk, _ in answers for row in of_chunk}
            if left := sum(left for _, left in answers):
                return rows, left
            own = {
                path: row for path, (name, *_) in names.items() if (row := found.get(name)) and row["file_path"] == path
            }
            rows += own.values()
            names = {path: others for path, (_, *others) in names.items() if others and path not in own}
    return rows, 0


def _read_until(until: datetime, date_prefix: str, names: list[str]) -> tuple[list[Row], int]:
    """A hundred rows at most; what the table refuses for now is asked for again until then."""
    rows: list[Row] = []
    keys: list[Any] = [_key(date_prefix, name) for name in names]
    table = settings().tracking_table
    while keys and clock.now() < until:
        try:
            request: Any = {table: {"Keys": keys, "ConsistentRead": True}}
            answer: Any = aws.dynamodb().batch_get_item(RequestItems=request)
        except ClientError as error:
            if _code(error) not in THROTTLED:
                raise
        else:
            rows += map(_from_item, answer["Responses"].get(table, []))
            keys = answer["UnprocessedKeys"].get(table, {}).get("Keys", [])
        if keys:
            time.sleep(random.uniform(0.05, 0.2))
    return rows, len(keys)


def _mark_row(date_prefix: str, row: PendingFile, manifest_path: str, cut: str, named: tuple[str, str]) -> bool:
    """`named` is the status, and the condition, of a row whose present version the manifest names."""
    status, is_named_version = named
    expiry = _expiry()
    set_expiry = ", #ttl = :ttl" if expiry else ""
    return _update(
        _key(date_prefix, row.file_name),
        f"SET #status = :manifested, manifest_path = :path, cut = :cut, updated_at = :now{set_expiry} "
        "REMOVE pending_since",
        f"#status = :status AND {is_named_version}",
        {
            ":manifested": "manifested",
            ":path": manifest_path,
            ":cut": cut,
            ":now": clock.to_text(clock.now()),
            ":status": status,
            **{f":{name}": moment for name, moment in expiry.items()},
        },
        names={"#status": "status"} | {f"#{name}": name for name in expiry},
    )


def acquire_lock(date_prefix: str, run_id: str, token: str) -> bool:
    """Take the date's lease for LOCK_TTL_SECONDS with a fresh token; False where another run holds it."""
    now = clock.now()
    expires = now + timedelta(seconds=settings().lock_ttl_seconds)
    lock_is_free = "attribute_not_exists(date_prefix)"
    lease_is_over = "#ttl < :now"  # never rely on DynamoDB's own TTL deletion: it comes days late
    lock_is_ours = "lock_id = :lock_id"  # a retry after a lost answer must not lock itself out
    lock = {
        **_lock_key(date_prefix),
        "lock_id": run_id,
        "token": token,
        "ttl": int(expires.timestamp()),
        "created_at": clock.to_text(now),
    }
    try:
        _through_conflicts(
            lambda: aws.dynamodb().put_item(
                TableName=settings().tracking_table,
                Item=_to_item(lock),
                ConditionExpression=f"{lock_is_free} OR {lease_is_over} OR {lock_is_ours}",
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues=_to_item({":now": int(now.timestamp()), ":lock_id": run_id}),
            )
        )
    except ClientError as error:
        if _code(error) in ("ConditionalCheckFailedException", "TransactionConflictException"):
            return False
        raise
    return True


def release_lock(date_prefix: str, run_id: str, token: str | None) -> bool:
    """Give the lease up: by its token, or by run where AcquireLock's answer was lost. False: not ours any more."""
    name, value = ("token", token) if token else ("lock_id", run_id)
    try:
        _through_conflicts(
            lambda: aws.dynamodb().delete_item(
                TableName=settings().tracking_table,
                Key=_to_item(_lock_key(date_prefix)),
                ConditionExpression="#holder = :holder",
                ExpressionAttributeNames={"#holder": name},
                ExpressionAttributeValues=_to_item({":holder": value}),
            )
        )
    except ClientError as error:
        if _code(error) == "ConditionalCheckFailedException":
            return False
        raise
    return True


def _lock_key(date_prefix: str) -> dict[str, str]:
    return {"date_prefix": f"LOCK#manifest-{date_prefix}", "file_name": "LOCK"}


def read_lock(date_prefix: str) -> dict[str, Any] | None:
    """The date's lock, whether its lease is over or not; None where nobody has left one."""
    found = aws.dynamodb().get_item(
        TableName=settings().tracking_table, Key=_to_item(_lock_key(date_prefix)), ConsistentRead=True
    )
    return _from_item(found["Item"]) if "Item" in found else None


def manifest_records(date_prefix: str) -> list[dict[str, Any]]:
    """Every manifest record of a date, whatever its status, in the order of their sort keys."""
    return list(_query_table(manifests.partition_of(date_prefix)))


def read_rows(files_of_dates: Iterable[tuple[str, FileName]]) -> dict[tuple[str, str], Row]:
    """What tells versions apart, by date and path, of the files that have a row: `find_row` for many."""
    found: dict[tuple[str, str], Row] = {}
    names = {(date_prefix, file.file_path): _candidate_names(file) for date_prefix, file in files_of_dates}
    while names:
        there = _batch_get({(date_prefix, of_file[0]) for (date_prefix, _), of_file in names.items()})
        second_names = {}
        for (date_prefix, file_path), (name, *others) in names.items():
            row = there.get((date_prefix, name))
            if row and row["file_path"] == file_path:
                found[date_prefix, file_path] = row
            # The namesake's row may have been forgotten before this file's.
            elif others and (row or settings().retention_days):
                second_names[date_prefix, file_path] = others
        names = second_names
    return found


def _batch_get(keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Row]:
    """Rows by their keys. Sleeps where the table leaves some for later; each answer has at least one (BatchGetItem)."""
    table = settings().tracking_table
    rows: dict[tuple[str, str], Row] = {}
    left = [_key(*key) for key in keys]
    delay = 0.05
    while left:
        request: Any = {
            "Keys": left[:MAX_BATCH_GET],
            "ConsistentRead": True,
            "ProjectionExpression": (
                "date_prefix, file_name, file_path, file_size_bytes, etag, version_id, #status, released"
            ),
            "ExpressionAttributeNames": {"#status": "status"},
        }
        answer: Any = aws.dynamodb().batch_get_item(RequestItems={table: request})
        for row in map(_from_item, answer["Responses"].get(table, [])):
            rows[row["date_prefix"], row["file_name"]] = row
        unprocessed = answer["UnprocessedKeys"].get(table, {}).get("Keys", [])
        left = unprocessed + left[MAX_BATCH_GET:]
        if unprocessed:
            time.sleep(random.uniform(0.5, 1) * delay)
            delay = min(2 * delay, 2)
    return rows


def is_version_of(file: FileVersion, row: Row) -> bool:
    """Whether the row of this path is of this very version. Without versions content tells, where sequencers do not."""
    version_id, sequencer = row.get("version_id"), row.get("sequencer")
    if file.version_id or version_id:
        return file.version_id == version_id
    if file.sequencer and sequencer:
        return not (files.is_newer(file.sequencer, sequencer) or files.is_newer(sequencer, file.sequencer))
    return bool(file.etag) and file.etag == row.get("etag") and file.size_bytes == row.get("file_size_bytes")


def scan_rows(file_path: str) -> Iterator[dict[str, Any]]:
    """The rows of a path on all dates. Reads the whole table."""
    pages = aws.dynamodb().get_paginator("scan")
    for page in pages.paginate(
        TableName=settings().tracking_table,
        FilterExpression="file_path = :file_path",
        ExpressionAttributeValues=_to_item({":file_path": file_path}),
    ):
        for item in page["Items"]:
            yield _from_item(item)


def release_version(row: dict[str, Any]) -> bool:
    """Let the next event of this very version, which is quarantined, count as new. False where the row has changed.

    The row stays quarantined until that event comes: nothing is lost where it does not.
    """
    is_same_version = "version_id = :version_id" if "version_id" in row else "attribute_not_exists(version_id)"
    return _update(
        _key(row["date_prefix"], row["file_name"]),
        "SET released = :true, updated_at = :now",
        f"#status = :quarantined AND etag = :etag AND {is_same_version}",
        {
            ":quarantined": "quarantined",
            ":etag": row["etag"],
            ":version_id": row.get("version_id"),
            ":true": True,
            ":now": clock.to_text(clock.now()),
        },
        names={"#status": "status"},
    )


def _query_table(partition: str, **options: Any) -> Iterator[dict[str, Any]]:
    pages = aws.dynamodb().get_paginator("query")
    for page in pages.paginate(
        TableName=settings().tracking_table,
        ConsistentRead=True,
        KeyConditionExpression="date_prefix = :date_prefix",
        ExpressionAttributeValues=_to_item({":date_prefix": partition}),
        **options,
    ):
        for item in page["Items"]:
            yield _from_item(item)


def open_manifests(date_prefix: str) -> list[ManifestRecord]:
    """The manifests of a date whose job run is not recorded yet, read consistently."""
    partition = manifests.partition_of(date_prefix)
    rows = _query_index("date_prefix = :date_prefix", {":date_prefix": partition})
    # An open manifest has been pending since its creation, or since it was reopened: the index need not hold the moment
    # twice, for every file. One that names its run waits for the outcome.
    return [
        _manifest_record(date_prefix, row | {"created_at": row["pending_since"]})
        for row in rows
        if "job_run_id" not in row
    ]


def commit_manifest(manifest: ManifestRecord, token: str) -> ManifestRecord:
    """The commit point: the record appears if, and only if, the lease is still ours.

    Returns the committed record; it is an earlier one where this token has committed already (an answer was lost).
    Raises LockLost, and then nothing was committed.
    """
    now = clock.now()
    key = {
        "date_prefix": manifests.partition_of(manifest.date_prefix),
        "file_name": manifest.record_name,
    }
    record = {
        **key,
        "file_path": manifest.file_path,
        "file_count": manifest.file_count,
        "file_size_bytes": manifest.file_size_bytes,
        "cut": manifest.cut,
        "status": "open",
        "created_at": manifest.created_at,
        "pending_since": manifest.created_at,
    }
    table = settings().tracking_table
    lease_is_ours = {
        "TableName": table,
        "Key": _to_item(_lock_key(manifest.date_prefix)),
        "ConditionExpression": "#token = :token AND #ttl >= :now",
        "ExpressionAttributeNames": {"#token": "token", "#ttl": "ttl"},
        "ExpressionAttributeValues": _to_item({":token": token, ":now": int(now.timestamp())}),
    }
    one_commit_per_token = {
        "TableName": table,
        "Item": _to_item(record),
        "ConditionExpression": "attribute_not_exists(date_prefix)",
    }
    try:
        _through_conflicts(
            lambda: aws.dynamodb().transact_write_items(
                TransactItems=[{"ConditionCheck": lease_is_ours}, {"Put": one_commit_per_token}]  # type: ignore[typeddict-item]
            )
        )
    except ClientError as error:
        lease, record_put = _cancellation(error)
        if record_put == "ConditionalCheckFailed":
            found = aws.dynamodb().get_item(TableName=table, Key=_to_item(key), ConsistentRead=True)
            return _manifest_record(manifest.date_prefix, _from_item(found["Item"]))
        if lease == "ConditionalCheckFailed":
            raise LockLost(f"the lease on {manifest.date_prefix} is over or another run's") from error
        raise
    return manifest


def claim_start(partition: str, record_name: str, run_id: str, stale_attempt: tuple[str, str] | None) -> bool:
    """Make this run the one that starts the manifest's job; False where another run is, or the job was started.

    `stale_attempt` is the (starter, start_attempted_at) of the given-up attempt that CreateManifest looked into.
    """
    never_attempted = "attribute_not_exists(start_attempted_at)"
    starter_is_us = "starter = :run_id"
    allowed = [never_attempted, starter_is_us]
    values: dict[str, Any] = {":open": "open", ":run_id": run_id, ":now": clock.to_text(clock.now())}
    if stale_attempt is not None:
        allowed.append("(starter = :stale_starter AND start_attempted_at = :stale_attempted_at)")
        values[":stale_starter"], values[":stale_attempted_at"] = stale_attempt
    return _update(
        _key(partition, record_name),
        "SET starter = :run_id, start_attempted_at = :now",
        f"#status = :open AND ({' OR '.join(allowed)})",
        values,
        names={"#status": "status"},
    )


def find_started(date_prefix: str, manifest_path: str) -> StartedManifest | None:
    """The record of a manifest that names its run and whose outcome is not known yet; None where there is none."""
    partition = manifests.partition_of(date_prefix)
    for entry in _query_index("date_prefix = :date_prefix", {":date_prefix": partition}):
        if entry["file_path"] == manifest_path and "job_run_id" in entry:
            record = _read_record(date_prefix, entry["file_name"])
            return StartedManifest(
                date_prefix=date_prefix,
                record_name=entry["file_name"],
                file_path=manifest_path,
                file_count=int(record["file_count"]),
                job_run_id=record.get("job_run_id"),
                attempt=int(record.get("attempt", 1)),
            )
    return None


def failed_runs(date_prefix: str, record_name: str) -> list[str]:
    """Runs that a manifest has had and that are not its own any more."""
    found: list[str] = _read_record(date_prefix, record_name).get("failed_runs", [])
    return found


def record_outcome(
    manifest: StartedManifest, status: Literal["succeeded", "failed"], details: dict[str, str | None]
) -> bool:
    """The end of a manifest's run, unless it is recorded already. `details` are attributes of the record."""
    given = {name: text for name, text in details.items() if text is not None}
    return _update(
        _key(manifests.partition_of(manifest.date_prefix), manifest.record_name),
        f"SET #status = :status, updated_at = :now{''.join(f', #{name} = :{name}' for name in given)} "
        "REMOVE pending_since",
        "job_run_id = :run AND #status = :started",
        {
            ":status": status,
            ":started": "started",
            ":run": manifest.job_run_id,
            ":now": clock.to_text(clock.now()),
            **{f":{name}": text for name, text in given.items()},
        },
        names={"#status": "status", **{f"#{name}": name for name in given}},
    )


def reopen_manifest(date_prefix: str, record_name: str, *, run_id: str, error: str | None = None) -> bool:
    """Open a manifest whose run has ended for another attempt; False where `run_id` is not its run any more.

    The run is remembered in `failed_runs`, so that nobody takes it for the run of the new attempt. `starter` stays: it
    says that the rows are marked.
    """
    now = clock.to_text(clock.now())
    values: dict[str, Any] = {
        ":open": "open",
        ":one": 1,
        ":none": [],
        ":runs": [run_id],
        ":run": run_id,
        ":now": now,
    }
    remember = ""
    if error is not None:
        remember, values[":error"] = ", #error = :error", error
    return _update(
        _key(manifests.partition_of(date_prefix), record_name),
        "SET #status = :open, pending_since = :now, updated_at = :now, "
        "attempt = if_not_exists(attempt, :one) + :one, "
        f"failed_runs = list_append(if_not_exists(failed_runs, :none), :runs){remember} "
        "REMOVE job_run_id, start_attempted_at, run_started_at, finished_at",
        "job_run_id = :run",
        values,
        names={"#status": "status"} | ({"#error": "error"} if remember else {}),
    )


def _read_record(date_prefix: str, record_name: str) -> dict[str, Any]:
    found = aws.dynamodb().get_item(
        TableName=settings().tracking_table,
        Key=_key(manifests.partition_of(date_prefix), record_name),
        ConsistentRead=True,
    )
    return _from_item(found.get("Item", {}))


def _manifest_record(date_prefix: str, row: dict[str, Any]) -> ManifestRecord:
    return ManifestRecord(
        date_prefix=date_prefix,
        record_name=row["file_name"],
        file_path=row["file_path"],
        file_count=int(row["file_count"]),
        file_size_bytes=int(row["file_size_bytes"]),
        cut=row["cut"],
        created_at=row["created_at"],
        starter=row.get("starter"),
        start_attempted_at=row.get("start_attempted_at"),
    )


def scan_unfinished() -> Iterator[dict[str, Any]]:
    """Every pending file and every manifest without an outcome, of every date.

    As date_prefix, pending_since and file_size_bytes; a manifest that is started has a job_run_id, and all a file_path.
    """
    pages = aws.dynamodb().get_paginator("scan")
    for page in pages.paginate(
        TableName=settings().tracking_table,
        IndexName=PENDING_INDEX,
        ProjectionExpression="date_prefix, pending_since, file_size_bytes, job_run_id, file_path",
    ):
        for item in page["Items"]:
            yield _from_item(item)


def _query_index(key_condition: str, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    pages = aws.dynamodb().get_paginator("query")
    for page in pages.paginate(
        TableName=settings().tracking_table,
        IndexName=PENDING_INDEX,
        ConsistentRead=True,
        KeyConditionExpression=key_condition,
        ExpressionAttributeValues=_to_item(values),
        PaginationConfig={"PageSize": PAGE_ITEMS},
    ):
        for item in page["Items"]:
            yield _from_item(item)


def _update(
    key: dict[str, "AttributeValueTypeDef"],
    expression: str,
    condition: str,
    values: dict[str, Any],
    *,
    names: dict[str, str],
) -> bool:
    try:
        _through_conflicts(
            lambda: aws.dynamodb().update_item(
                TableName=settings().tracking_table,
                Key=key,
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=_to_item(values),
            )
        )
    except ClientError as error:
        if _code(error) == "ConditionalCheckFailedException":
            return False
        raise
    return True


def _through_conflicts(call: Callable[[], Any]) -> None:
    """Run a write that an ongoing transaction may refuse; botocore does not retry such conflicts. Under 1 s."""
    for attempt in range(CONFLICT_ATTEMPTS):
        try:
            call()
            return
        except ClientError as error:
            if attempt == CONFLICT_ATTEMPTS - 1 or not _is_conflict(error):
                raise
            time.sleep(random.uniform(0.02, 0.04) * 2**attempt)


def _is_conflict(error: ClientError) -> bool:
    if _code(error) == "TransactionConflictException":
        return True
    reasons = _cancellation(error)
    return "TransactionConflict" in reasons and "ConditionalCheckFailed" not in reasons


def _cancellation(error: ClientError) -> tuple[str, ...]:
    """The reason of each action of a cancelled transaction, in their order."""
    if _code(error) != "TransactionCanceledException":
        return ("None", "None")
    reasons: list[dict[str, str]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]
    return tuple(reason.get("Code", "None") for reason in reasons)


def _code(error: ClientError) -> str:
    return error.response["Error"]["Code"]


def _key(date_prefix: str, file_name: str) -> dict[str, "AttributeValueTypeDef"]:
    return _to_item({"date_prefix": date_prefix, "file_name": file_name})


def _value(value: Any) -> "AttributeValueTypeDef":
    return type_serializer.serialize(value)


def _to_item(row: dict[str, Any]) -> dict[str, "AttributeValueTypeDef"]:
    return {name: _value(value) for name, value in row.items() if value is not None}


def _from_item(item: Any) -> dict[str, Any]:
    return {name: type_deserializer.deserialize(value) for name, value in item.items()}
