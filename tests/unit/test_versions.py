"""The rules of versions, without AWS: a truth table, and the events of one key in every order and with duplicates."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from manifest_builder import removals, versions
from manifest_builder.files import NULL_VERSION, FileVersion, ObjectVersion, Removal
from manifest_builder.rows import FileRow
from manifest_builder.versions import Change, Moment, Place, Refusal
from tests.unit.support import DATE, a_file, a_row

KEY = f"in/{DATE}-a.ndjson"
PLACE = Place(DATE, f"{DATE}-a.ndjson")
OLD, MIDDLE, NEW = "01", "02", "03"
NOW = "2025-12-23T12:00:00.000000Z"
LATER = "2025-12-23T12:00:01.000000Z"
REFUSAL = Refusal("Invalid extension", "s3://quarantine-bucket/a")


def never_asked(version: ObjectVersion) -> bool:
    raise AssertionError("S3 was asked, although the events tell which version is the later one")


def answers(yes: bool) -> versions.IsCurrent:
    return lambda version: yes


def none_kept(version_id: str) -> FileRow | None:
    return None


def arrive(row: FileRow | None, file: FileVersion, is_current: versions.IsCurrent = never_asked) -> Change:
    return versions.arrive(row, PLACE, file, None, Moment(NOW, None), is_current, none_kept)


def remove(row: FileRow | None, removal: Removal, is_current: versions.IsCurrent = never_asked) -> Change:
    return removals.remove(row, PLACE, removal, Moment(NOW, None), is_current, none_kept)


def a_removal(version_id: str | None = None, sequencer: str | None = NEW, key: str = KEY) -> Removal:
    return Removal("message-1", "input-bucket", key, version_id, sequencer)


# An arriving version: its relation to the row of its path


@pytest.mark.parametrize(
    ("arriving", "row", "relation"),
    [
        # Both have a sequencer: the sequencers decide.
        ({"sequencer": NEW}, {"sequencer": OLD}, None),
        ({"sequencer": OLD}, {"sequencer": NEW}, "superseded"),
        ({"sequencer": NEW}, {"sequencer": NEW}, "duplicate"),
        ({"sequencer": "1"}, {"sequencer": "10"}, "duplicate"),  # right-padded to one length
        ({"sequencer": "0A"}, {"sequencer": "0a"}, "duplicate"),
        # The same version id is the same version, even without sequencers.
        ({"version_id": "v1", "sequencer": None}, {"version_id": "v1", "sequencer": OLD}, "duplicate"),
        ({"version_id": "v1", "sequencer": NEW}, {"version_id": "v1", "sequencer": None}, "duplicate"),
        ({"version_id": "v2", "sequencer": NEW}, {"version_id": "v1", "sequencer": OLD}, None),
        # Without versions and sequencers, equal etag and size mean the same version.
        ({"sequencer": None, "etag": "e", "size_bytes": 1}, {"etag": "e", "file_size_bytes": 1}, "duplicate"),
        ({"sequencer": OLD}, {"sequencer": OLD, "status": "quarantined"}, "duplicate"),
        # A deleted row has the sequencer of its removal.
        ({"sequencer": OLD}, {"sequencer": MIDDLE, "status": "deleted"}, "superseded"),
        ({"sequencer": NEW}, {"sequencer": MIDDLE, "status": "deleted"}, None),
    ],
)
def test_relation_of_a_version_if_the_events_decide(
    arriving: dict[str, Any], row: dict[str, Any], relation: str | None
) -> None:
    assert versions.relation_of(a_file(KEY, **arriving), a_row(**row), never_asked) == relation


@pytest.mark.parametrize(
    ("arriving", "row", "if_current", "if_not"),
    [
        ({"sequencer": None, "etag": "new"}, {"sequencer": OLD, "etag": "old"}, None, "superseded"),
        ({"sequencer": NEW, "etag": "new"}, {"etag": "old"}, None, "superseded"),
        ({"version_id": "v2", "sequencer": None}, {"version_id": "v1"}, None, "superseded"),
        # A quarantined version that an operator has released counts as new, once, if it is still there.
        ({"sequencer": OLD}, {"sequencer": OLD, "status": "quarantined", "released": True}, None, "superseded"),
        # The row of a deleted version without a sequencer: the version may have been restored.
        ({"version_id": "v1", "sequencer": None}, {"version_id": "v1", "status": "deleted"}, None, "duplicate"),
    ],
)
def test_relation_of_a_version_if_s3_has_to_be_asked(
    arriving: dict[str, Any], row: dict[str, Any], if_current: str | None, if_not: str
) -> None:
    file = a_file(KEY, **arriving)
    assert versions.relation_of(file, a_row(**row), answers(True)) == if_current
    assert versions.relation_of(file, a_row(**row), answers(False)) == if_not


# A removal: its relation to the row of its path


@pytest.mark.parametrize(
    ("removal", "row", "relation"),
    [
        # Removal of the current version: the sequencers decide.
        ((None, NEW), {"sequencer": OLD}, None),
        ((None, OLD), {"sequencer": NEW}, "superseded"),
        ((None, NEW), {"sequencer": NEW, "status": "deleted"}, "duplicate"),
        # Permanent removal of one version: only the row of that version becomes deleted.
        (("v1", NEW), {"version_id": "v1", "sequencer": OLD}, None),
        (("v1", NEW), {"version_id": "v2", "sequencer": OLD}, "superseded"),
        (("v1", NEW), {"version_id": "v1", "deleted_at": NOW}, "duplicate"),
        # Successive versions have the id "null", so the sequencers decide.
        ((NULL_VERSION, NEW), {"sequencer": OLD}, None),
        ((NULL_VERSION, OLD), {"sequencer": NEW}, "superseded"),
        # Without version and sequencer, the removal may be older than a row that has a sequencer.
        ((None, None), {"sequencer": OLD}, "superseded"),
        ((None, None), {}, None),
    ],
)
def test_relation_of_a_removal(
    removal: tuple[str | None, str | None], row: dict[str, Any], relation: str | None
) -> None:
    assert removals.relation_of_removal(a_removal(*removal), a_row(**row), never_asked) == relation


def test_relation_of_a_removal_to_a_row_without_sequencer_if_s3_has_to_be_asked() -> None:
    assert removals.relation_of_removal(a_removal(), a_row(etag="e"), answers(True)) == "superseded"
    assert removals.relation_of_removal(a_removal(), a_row(etag="e"), answers(False)) is None


@pytest.mark.parametrize(
    ("removal", "is_worth_a_row"),
    [
        (a_removal(), True),
        (a_removal("v1"), True),
        (a_removal("v1", None), True),
        (a_removal(NULL_VERSION), False),
        (a_removal(None, None), False),
        (a_removal(key=f"in/{DATE}-a.csv"), False),
        (a_removal(key="in/a.ndjson"), False),
    ],
)
def test_a_removal_of_an_unknown_file_writes_a_row_if_an_event_of_the_file_may_still_come(
    removal: Removal, is_worth_a_row: bool
) -> None:
    change = remove(None, removal)

    assert change.outcome == ("deleted" if is_worth_a_row else "untracked")
    assert (change.row is not None) == is_worth_a_row


# The next row


def test_a_new_version_is_pending_since_now() -> None:
    row = arrive(None, a_file(KEY, 1024**2, sequencer=OLD)).row

    assert row is not None
    assert (row.status, row.pending_since, row.created_at, row.cut, row.ttl) == ("pending", NOW, NOW, None, None)


@pytest.mark.parametrize(
    ("cut", "since"), [(NOW, "2025-12-23T12:00:00.000001Z"), (LATER, "2025-12-23T12:00:01.000001Z")]
)
def test_a_later_version_is_pending_since_after_the_last_cut_even_with_a_lagging_clock(cut: str, since: str) -> None:
    row = arrive(a_row(sequencer=OLD, status="manifested", cut=cut), a_file(KEY, sequencer=NEW)).row

    assert row is not None
    assert (row.pending_since, row.cut) == (since, cut)


def test_a_refused_version_is_quarantined_keeps_the_cut_and_expires() -> None:
    known = a_row(sequencer=OLD, status="manifested", cut=NOW)
    row = versions.arrive(
        known, PLACE, a_file(KEY, sequencer=NEW), REFUSAL, Moment(LATER, 17), never_asked, none_kept
    ).row

    assert row is not None
    assert (row.status, row.reason, row.copied_to) == ("quarantined", REFUSAL.reason, REFUSAL.copied_to)
    assert (row.pending_since, row.cut, row.ttl) == (None, NOW, 17)


def test_the_removal_of_a_pending_file_makes_it_deleted_and_keeps_all_other_attributes() -> None:
    known = a_row(sequencer=OLD, pending_since=NOW, etag="e", file_size_bytes=7, cut=NOW, of_a_later_release="kept")
    row = remove(known, a_removal(sequencer=NEW)).row

    assert row == replace(known, status="deleted", pending_since=None, sequencer=NEW, deleted_at=NOW, updated_at=NOW)
    assert row is not None
    assert row.to_item()["of_a_later_release"] == "kept"


@pytest.mark.parametrize("status", ["manifested", "quarantined"])
def test_the_removal_of_a_finished_file_is_only_recorded(status: str) -> None:
    row = remove(a_row(sequencer=OLD, status=status, ttl=17), a_removal(sequencer=NEW)).row

    assert row is not None
    assert (row.status, row.deleted_at, row.ttl) == (status, NOW, 17)


def test_the_removal_of_one_version_leaves_no_sequencer_that_supersedes_others() -> None:
    row = remove(None, a_removal("v1", NEW)).row

    assert row is not None
    assert (row.version_id, row.sequencer) == ("v1", None)


# Any order and any duplication of the events of one key


@dataclass(frozen=True)
class History:
    """Events of one key in the order in which they happened."""

    events: tuple[FileVersion | Removal, ...]

    def is_current(self, version: ObjectVersion) -> bool:
        """The response of S3 after all events."""
        last = self.events[-1]
        return isinstance(last, FileVersion) and ObjectVersion(last.version_id, last.etag) == version

    def table_after(self, order: Iterable[int]) -> "Table":
        table = Table()
        for number in order:
            table.take(self.events[number], self.is_current)
        return table


@dataclass
class Table:
    """The rows of one key: the file's row, and those of its older versions by version id."""

    row: FileRow | None = None
    kept: dict[str | None, FileRow] = field(default_factory=dict)

    def take(self, event: FileVersion | Removal, is_current: versions.IsCurrent) -> None:
        at = Moment(NOW, None)
        if isinstance(event, Removal):
            change = removals.remove(self.row, PLACE, event, at, is_current, self.kept.get)
        else:
            change = versions.arrive(self.row, PLACE, event, None, at, is_current, self.kept.get)
        if change.apart:
            assert self.kept.get(change.apart.version_id) == change.known_apart
            self.kept[change.apart.version_id] = change.apart
        self.row = change.row or self.row
        if isinstance(event, Removal) and self.row:
            for version_id, kept in self.kept.items():
                if removals.is_removed_with_its_file(kept, self.row):
                    self.kept[version_id] = removals.removed(kept, at)

    def final(self) -> tuple[Any, ...]:
        """What must not depend on the order of events. A deleted row may lack the attributes of its file, and a version
        that is deleted may have no row."""
        row = self.row
        pending = sorted(str(kept.version_id) for kept in self.kept.values() if kept.status == "pending")
        if row is None:
            return (None,)
        if row.status == "deleted":
            return "deleted", row.sequencer, pending
        newest = (row.status, row.version_id, row.etag, row.sequencer, row.file_size_bytes, row.pending_since)
        return (*newest, pending)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Up to five uploads and deletions of one key, in a bucket with or without versions."""
    versioned = draw(st.booleans())
    kinds = draw(st.lists(st.sampled_from(["upload", "delete"]), min_size=1, max_size=5))
    events: list[FileVersion | Removal] = []
    for number, kind in enumerate(kinds, start=1):
        sequencer = f"{number:02}"
        if kind == "upload":
            version_id = f"v{number}" if versioned else None
            events.append(a_file(KEY, number, etag=f"e{number}", version_id=version_id, sequencer=sequencer))
        else:
            events.append(a_removal(None, sequencer))
    return History(tuple(events))


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[History, list[int]]:
    """A history, and an order of delivery in which each event occurs at least once."""
    history = draw(histories())
    numbers = list(range(len(history.events)))
    again = draw(st.lists(st.sampled_from(numbers), max_size=4))
    return history, draw(st.permutations(numbers + again))


UPLOADED_TWICE = History((a_file(KEY, 1, etag="e1", sequencer="01"), a_file(KEY, 2, etag="e2", sequencer="02")))


@given(deliveries())
@example((UPLOADED_TWICE, [1, 0, 1]))
def test_any_order_and_duplication_of_the_events_of_a_key_ends_in_the_same_row(
    delivery: tuple[History, list[int]],
) -> None:
    history, order = delivery

    assert history.table_after(order).final() == history.table_after(range(len(history.events))).final()


def test_every_order_of_four_events_ends_in_the_same_row_and_the_latest_version_is_pending() -> None:
    for kinds in itertools.product([True, False], repeat=4):
        events = [
            a_file(KEY, number, etag=f"e{number}", sequencer=f"{number:02}")
            if is_upload
            else a_removal(None, f"{number:02}")
            for number, is_upload in enumerate(kinds, start=1)
        ]
        history = History(tuple(events))
        for order in itertools.permutations(range(4)):
            row = history.table_after(order).row
            assert row is not None
            assert row.status == ("pending" if kinds[-1] else "deleted"), (kinds, order)
            assert row.sequencer == "04", (kinds, order)


@given(deliveries())
def test_every_version_since_the_last_deletion_is_pending_once_in_a_bucket_with_versions(
    delivery: tuple[History, list[int]],
) -> None:
    history, order = delivery
    uploads = [event for event in history.events if isinstance(event, FileVersion)]
    deletions = [event.sequencer or "" for event in history.events if isinstance(event, Removal)]
    last = max(deletions, default="")
    expected = [upload.version_id for upload in uploads if upload.version_id and str(upload.sequencer) > last]

    table = history.table_after(order)

    rows = [*table.kept.values(), *([table.row] if table.row else [])]
    pending = [row.version_id for row in rows if row.status == "pending" and row.version_id]
    assert sorted(map(str, pending)) == sorted(map(str, expected))
