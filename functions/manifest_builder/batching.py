"""The batching rule (specification, `_create_batches`), for one batch at a time. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

# As many files as the boxes can read and mark within their timeouts. With the limits of the specification, 0.7 GB of
# the smallest files are fewer.
MAX_BATCH_FILES = 8000


@dataclass(frozen=True, slots=True)
class PendingFile:
    """An entry of the pending index: a file that waits for a manifest. `pending_since` is text as in `clock`."""

    file_name: str
    file_path: str
    size_bytes: int
    pending_since: str
    version_id: str | None = None
    """None in a bucket without versions."""
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Files of the next manifest; none if there is nothing to build yet."""

    files: list[PendingFile]
    is_flush: bool = False
    """Whether it is the rest of a date, taken because its first file is old enough."""


def next_batch(
    pending: Iterable[PendingFile], max_bytes: int, *, date_started: bool, flush_before: str | None
) -> Batch:
    """The next batch of a date, without files when there is none to build yet.

    `pending` comes in order of arrival, and is read only until the answer is certain. Files are taken greedily up to
    `max_bytes` (inclusive) or MAX_BATCH_FILES. The first batch of a date needs a pending total that reaches one of the
    two. Once this execution has cut a batch (`date_started`), a last batch that is at least half full is kept too.
    With `flush_before`, a last batch of any size is kept if its first file has been pending since then or longer.

    A batch holds one version of a file: readers that know keys alone would read the newest version twice. Another
    version waits for the next batch, and counts in the pending total.
    """
    batch: list[PendingFile] = []
    paths: set[str] = set()
    size = total = 0
    for number, file in enumerate(pending, start=1):
        total += file.size_bytes
        if file.file_path not in paths:
            if batch and size + file.size_bytes > max_bytes:
                return Batch(batch)
            batch.append(file)
            paths.add(file.file_path)
            size += file.size_bytes
        if size >= max_bytes or number == MAX_BATCH_FILES:
            return Batch(batch)
    if total >= max_bytes:
        return Batch(batch)
    if batch and flush_before and batch[0].pending_since <= flush_before:
        return Batch(batch, is_flush=True)
    return Batch(batch if date_started and 2 * size >= max_bytes else [])
