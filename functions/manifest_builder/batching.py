"""The batching rule (specification, `_create_batches`), one batch at a time and reading no more than it must."""

from collections.abc import Iterable
from dataclasses import dataclass

# What the boxes can read and mark in their time, whatever the limits say. By those of the specification 0.7 GB of the
# smallest files are fewer.
MAX_BATCH_FILES = 8000


@dataclass(frozen=True, slots=True)
class PendingFile:
    """A row of the pending index. `pending_since` is text as in `clock`."""

    file_name: str
    file_path: str
    size_bytes: int
    pending_since: str


def next_batch(
    pending: Iterable[PendingFile], max_bytes: int, *, date_started: bool, flush_before: str | None
) -> list[PendingFile]:
    """The next batch of a date, or an empty list when there is none to build yet.

    `pending` comes in order of arrival and is read only until the answer is certain. Files are taken greedily up to
    `max_bytes`, inclusive, or MAX_BATCH_FILES. A date starts when its pending total reaches either; once it has
    (`date_started`: a batch was already cut by this execution), a rest that is at least half full is kept too. With
    `flush_before` any rest is taken whose first file is pending since then: what arrives meanwhile does not prolong it.
    """
    batch: list[PendingFile] = []
    size = 0
    for file in pending:
        if batch and size + file.size_bytes > max_bytes:
            return batch
        batch.append(file)
        size += file.size_bytes
        if size >= max_bytes or len(batch) == MAX_BATCH_FILES:
            return batch
    is_overdue = bool(batch and flush_before and batch[0].pending_since <= flush_before)
    if is_overdue or (date_started and 2 * size >= max_bytes):
        return batch
    return []
