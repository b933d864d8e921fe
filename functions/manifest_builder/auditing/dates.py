"""The audit of one date: its rows against its manifests, and the listed objects against both.

The listing, the rows and the manifests are read one after the other while files arrive and manifests are cut, and the
rows are read eventually consistent. So nothing is called missing or contradicted at the first look: what looks so is
read again, consistently, and the bucket is asked again for the object.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

from manifest_builder import clock, files, inputs, listing, manifest_objects
from manifest_builder.auditing.results import OUTCOMES, DateAudit, State
from manifest_builder.auditing.spool import Spool, in_chunks
from manifest_builder.documents import NamedFile
from manifest_builder.errors import ManifestGone
from manifest_builder.inputs import Listed
from manifest_builder.manifests import Status
from manifest_builder.rows import FileRow
from manifest_builder.tracking import file_rows, manifest_records

GRACE = timedelta(minutes=15)
"""What is younger may still be under way: an event for minutes, a manifest object until its commit for 120 s."""
READERS = 8
ROW_ATTRIBUTES = (
    "date_prefix",
    "file_name",
    "file_path",
    "status",
    "created_at",
    "file_size_bytes",
    "etag",
    "version_id",
    "sequencer",
    "pending_since",
    "manifest_path",
    "released",
)
"""What the audit needs of a row. Other attributes would take time to read."""

Progress = Callable[[int], None]
"""Called with the number of rows that have been compared since the last call."""

OnMissing = Callable[[list[Listed]], None]
"""Called with missing objects, up to a thousand, as soon as they are known to be missing."""


def audit_date(
    date: str,
    spool: Spool,
    on_missing: OnMissing,
    *,
    grace: timedelta = GRACE,
    progress: Progress = lambda rows: None,
) -> DateAudit:
    """Compares a date. `spool` holds its objects."""
    audit = _Audit(date, spool, on_missing, grace)
    audit.read_manifests()
    for rows in in_chunks(file_rows.of_date(date, ROW_ATTRIBUTES)):
        audit.compare_rows(rows)
        progress(len(rows))
    for objects in spool.left(date):
        audit.judge_objects(objects)
    return audit.result


@dataclass
class _Audit:
    date: str
    spool: Spool
    on_missing: OnMissing
    grace: timedelta
    result: DateAudit = field(init=False)
    statuses: dict[str, Status] = field(default_factory=dict)
    """Of the date's manifests, by path. A manifest holds about 70 files, so these fit the memory."""
    unreadable: set[str] = field(default_factory=set)
    """Manifests whose objects do not tell which files they name."""

    def __post_init__(self) -> None:
        self.result = DateAudit(self.date)

    # Manifests

    def read_manifests(self) -> None:
        """Reads records first and objects then: an object is written before its record."""
        self.read_records()
        objects = dict(manifest_objects.of_date(self.date))
        if objects.keys() - self.statuses.keys():
            self.read_records()
        committed = clock.now() - GRACE
        self.result.litter = sum(path not in self.statuses and written < committed for path, written in objects.items())
        self.result.manifests = len(self.statuses)
        self.read_documents([path for path, status in self.statuses.items() if status != "void"])
        self.result.failed_manifests = sorted(path for path, status in self.statuses.items() if status == "failed")

    def read_records(self) -> None:
        self.statuses |= {record.file_path: record.status for record in manifest_records.of_date(self.date)}

    def read_documents(self, paths: Iterable[str]) -> None:
        with ThreadPoolExecutor(READERS) as pool:
            for some in in_chunks(paths, READERS * 8):
                for path, named in zip(some, pool.map(_read_document, some), strict=True):
                    self.take_document(path, named)

    def take_document(self, path: str, named: list[NamedFile] | str) -> None:
        if isinstance(named, str):
            self.unreadable.add(path)
            # A failed manifest waits for an operator anyway, who finds the reason in its record.
            if self.statuses[path] != "failed":
                self.result.add_problem(named)
            return
        for file in named:
            # In a bucket without versions the same content may have been uploaded twice.
            if file.version_id:
                self.compare_with_other_manifests(file, path)
        self.spool.name(named, path)

    def compare_with_other_manifests(self, file: NamedFile, path: str) -> None:
        for other, manifest in self.spool.named(file.file_path):
            if other.version_id == file.version_id and manifest != path and not any(map(_is_void, (manifest, path))):
                self.result.add_problem(
                    f"{file.file_path} version {file.version_id} is named by {manifest} and by {path}"
                )

    # Rows

    def compare_rows(self, rows: Sequence[FileRow]) -> None:
        """Counts each row by its state, and takes the objects out of the spool that rows account for."""
        doubtful = []
        for row in rows:
            state = self.state_of(row)
            if state is None:
                doubtful.append(row)
            else:
                self.count(row, state)
        self.look_again(doubtful)
        of_rows = ((self.spool.find(row.file_path), row) for row in rows)
        self.spool.take_out([listed for listed, row in of_rows if listed and listing.is_known(listed, [row])])

    def look_again(self, rows: Sequence[FileRow]) -> None:
        """Judges rows by their manifests as they are now: they may have been cut, or become void, meanwhile."""
        again = file_rows.read_again(rows) if rows else []
        if any(row.manifest_path not in self.statuses for row in again):
            known = set(self.statuses)
            self.read_records()
            self.read_documents(path for path in self.statuses.keys() - known if self.statuses[path] != "void")
        for row in again:
            state = self.state_of(row)
            if state is None:
                state = "contradicted"
                fault = "does not name it" if row.manifest_path in self.statuses else "was never committed"
                self.result.add_problem(f"{row.file_path}: its row names {row.manifest_path}, which {fault}")
            self.count(row, state)

    def count(self, row: FileRow, state: State) -> None:
        self.result.states[state] += 1
        if state == "pending" and row.pending_since:
            self.result.oldest_pending = min(row.pending_since, self.result.oldest_pending or row.pending_since)

    def state_of(self, row: FileRow) -> State | None:
        """None if the row's manifest does not exist, or does not name the row's version."""
        if row.status != "manifested":
            return row.status
        status = self.statuses.get(row.manifest_path or "")
        if status is None:
            return None
        if status == "void" or row.manifest_path in self.unreadable:
            return OUTCOMES[status]
        is_named = any(
            manifest == row.manifest_path and named.names(row) for named, manifest in self.spool.named(row.file_path)
        )
        return OUTCOMES[status] if is_named else None

    # Objects

    def judge_objects(self, objects: Sequence[Listed]) -> None:
        """Objects that no row of the date accounts for."""
        doubtful = []
        for listed in objects:
            state = self.state_without_row(listed)
            if state is None:
                doubtful.append(listed)
            else:
                self.result.states[state] += 1
        if doubtful:
            self.ask_again(doubtful)

    def state_without_row(self, listed: Listed) -> State | None:
        """None if the object may be missing."""
        if listed.is_folder:
            return "other"
        of_manifest = self.outcome_by_manifest(listed)
        if of_manifest:
            return of_manifest
        if self.is_young(listed):
            return "young"
        return "expired" if listing.may_be_forgotten(listed) else None

    def outcome_by_manifest(self, listed: Listed) -> State | None:
        """Manifests outlive the rows of their files. Without a version id they do not tell one object from the next."""
        for named, manifest in self.spool.named(listed.file.file_path):
            status = self.statuses.get(manifest)
            if status and named.version_id and named.version_id == listed.file.version_id:
                return OUTCOMES[status]
        return None

    def is_young(self, listed: Listed) -> bool:
        return listed.at > clock.now() - self.grace

    def ask_again(self, objects: Sequence[Listed]) -> None:
        """Asks the bucket first and the table then: an event that comes in between is seen."""
        with ThreadPoolExecutor(READERS) as pool:
            current = [now for now in pool.map(inputs.current_object, (listed.file for listed in objects)) if now]
        rows = defaultdict(list)
        for row in file_rows.read_versions((date, now.file) for now in current for date in now.dates):
            rows[row.file_path].append(row)
        listed_files = {listed.file for listed in objects}
        missing = []
        for now in current:
            own = rows[now.file.file_path]
            known = [row for row in own if listing.is_known(now, [row])]
            if known:
                # A row of another date counts there. The row of a version that has come since the listing has counted.
                is_first_look = now.file in listed_files
                self.look_again([row for row in known if is_first_look and row.date_prefix == self.date])
            elif self.is_young(now) or self.was_just_released(own):
                self.result.states["young"] += 1
            else:
                missing.append(now)
        self.result.states["deleted"] += len(objects) - len(current)
        if missing:
            self.result.states["missing"] += len(missing)
            self.on_missing(missing)

    def was_just_released(self, rows: Iterable[FileRow]) -> bool:
        """Whether the event of a released file may still be under way."""
        since = clock.to_text(clock.now() - self.grace)
        return any(row.released and (row.updated_at or "") > since for row in rows)


def _read_document(path: str) -> list[NamedFile] | str:
    """The files that a manifest names, or why that is not known."""
    try:
        return manifest_objects.read(path)
    except ManifestGone as gone:
        return str(gone)
    except (ValueError, KeyError, TypeError):
        return f"{path} is not the document of a manifest"


def _is_void(path: str) -> bool:
    date = files.date_in_key(files.Location.from_path(path).key)
    return any(record.file_path == path and record.status == "void" for record in manifest_records.of_date(str(date)))
