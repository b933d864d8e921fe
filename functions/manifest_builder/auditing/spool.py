"""Facts that wait on disk for their comparison: listed objects, and the files that manifests name.

The memory of an audit does not grow with the number of files. A million files take about 0.5 GB in the folder for
temporary files; SQLite removes its file when the connection is closed.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Self, TypeVar

from manifest_builder.documents import NamedFile
from manifest_builder.files import FileVersion
from manifest_builder.inputs import Listed

T = TypeVar("T")
CHUNK = 1000
_SCHEMA = """
CREATE TABLE objects (
    key TEXT PRIMARY KEY, size INTEGER, etag TEXT, version_id TEXT, at REAL, date TEXT, is_missing INTEGER
) WITHOUT ROWID;
CREATE INDEX objects_of_date ON objects (date, key);
CREATE TABLE named (
    path TEXT, version_id TEXT, etag TEXT, is_pinned INTEGER, manifest TEXT,
    PRIMARY KEY (path, version_id, etag, manifest)
) WITHOUT ROWID;
"""

_FIND = "SELECT key, size, etag, version_id, at FROM objects WHERE key = ?"
_LEFT = "SELECT key, size, etag, version_id, at FROM objects WHERE date = ? AND key > ? ORDER BY key LIMIT ?"
_MISSING = _LEFT.replace("WHERE", "WHERE is_missing AND")


class Spool:
    """Objects of one bucket. An object leaves it as soon as a row accounts for it."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        # Without a name: a file of its own that nobody else can open. It needs neither journal nor commits.
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.executescript(_SCHEMA)
        self._db.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._db.close()

    # Objects

    def add(self, objects: Iterable[Listed]) -> None:
        self._add(objects, lambda listed: (listed.dates[0], False))

    def _add(self, objects: Iterable[Listed], date_and_mark: Callable[[Listed], tuple[str, bool]]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    each.file.key,
                    each.file.size_bytes,
                    each.file.etag,
                    each.file.version_id,
                    each.at.timestamp(),
                    *date_and_mark(each),
                )
                for each in objects
            ),
        )

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM objects").fetchone()[0])

    def dates(self) -> list[str]:
        return [date for (date,) in self._db.execute("SELECT DISTINCT date FROM objects ORDER BY date")]

    def find(self, file_path: str) -> Listed | None:
        """The object of a path, if no row has accounted for it."""
        key = file_path.removeprefix(f"s3://{self._bucket}/")
        found = self._db.execute(_FIND, (key,)).fetchone()
        return self._listed(found) if found and key != file_path else None

    def take_out(self, objects: Iterable[Listed]) -> None:
        self._db.executemany("DELETE FROM objects WHERE key = ?", ((each.file.key,) for each in objects))

    def left(self, date: str) -> Iterator[list[Listed]]:
        """The objects of a date that no row has accounted for, in chunks, in the order of their keys."""
        return self._chunks(_LEFT, date)

    def mark_missing(self, date: str, objects: Iterable[Listed]) -> None:
        """Marks objects of a date as missing, as they are now."""
        self._add(objects, lambda listed: (date, True))

    def missing(self, date: str) -> Iterator[list[Listed]]:
        """The missing objects of a date, in chunks."""
        return self._chunks(_MISSING, date)

    def _chunks(self, query: str, date: str) -> Iterator[list[Listed]]:
        last = ""
        while found := self._db.execute(query, (date, last, CHUNK)).fetchall():
            yield [self._listed(each) for each in found]
            last = found[-1][0]

    def _listed(self, found: tuple[str, int, str, str | None, float]) -> Listed:
        key, size_bytes, etag, version_id, at = found
        return Listed(
            FileVersion("", self._bucket, key, size_bytes, etag, version_id, None), datetime.fromtimestamp(at, UTC)
        )

    # Files that manifests name

    def name(self, files: Sequence[NamedFile], manifest: str) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO named VALUES (?, ?, ?, ?, ?)",
            ((file.file_path, file.version_id or "", file.etag or "", file.is_pinned, manifest) for file in files),
        )

    def named(self, file_path: str) -> list[tuple[NamedFile, str]]:
        """The versions of a file that manifests name, each with the manifest's path."""
        found = self._db.execute("SELECT version_id, etag, is_pinned, manifest FROM named WHERE path = ?", (file_path,))
        return [
            (NamedFile(file_path, version_id or None, etag or None, None, bool(is_pinned)), manifest)
            for version_id, etag, is_pinned, manifest in found
        ]


def in_chunks(each: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    left = iter(each)
    while chunk := list(islice(left, size)):
        yield chunk
