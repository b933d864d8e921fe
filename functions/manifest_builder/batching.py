"""The batching rule (specification, `_create_batches`), one batch at a time and reading no more than it must."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PendingFile:
    """A row of the pending index. `pending_since` is text as in `clock`."""

    file_name: str
    file_path: str
    size_bytes: int
    pending_since: str


def next_batch(pending: Iterable[PendingFile], max_bytes: int, *, date_started: bool, flush: bool) -> list[PendingFile]:
    """The next batch of a date, or an empty list when there is none to build yet.

    `pending` comes in order of arrival and is read only until the answer is certain. Files are taken greedily up to
    `max_bytes`, inclusive. A date starts when its pending total reaches `max_bytes`; once it has (`date_started`: a
    batch was already cut by this execution), a rest that is at least half full is kept too. `flush` takes any rest.
    """
    batch: list[PendingFile] = []
    size = 0
    for file in pending:
        if batch and size + file.size_bytes > max_bytes:
            return batch
        batch.append(file)
        size += file.size_bytes
        if size >= max_bytes:
            return batch
    if flush or (date_started and 2 * size >= max_bytes):
        return batch
    return []
