"""The key and the format of a manifest, and which open manifest may be resumed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifest_builder import clock, manifests
from manifest_builder.manifests import START_SETTLE_SECONDS as SETTLED
from manifest_builder.manifests import ManifestRecord, oldest_resumable
from tests.unit.support import NOON, a_manifest


def test_the_key_of_a_manifest_holds_its_date_number_and_time_in_microseconds() -> None:
    at = datetime(2025, 12, 24, 0, 0, 1, 42, tzinfo=UTC)

    assert manifests.object_key("2025-12-23", 1, at) == "manifests/2025-12-23/batch-0001-20251224T000001000042Z.json"
    assert manifests.object_key("2025-12-23", 1, at) != manifests.object_key(
        "2025-12-23", 1, at + timedelta(microseconds=1)
    )


def test_a_records_name_holds_its_token() -> None:
    assert manifests.record_name(12, "abc") == "batch-0012-abc"


@pytest.mark.parametrize(
    ("partition", "date"),
    [("MANIFEST#2025-12-23", "2025-12-23"), ("2025-12-23", None), ("LOCK#manifest-2025-12-23", None)],
)
def test_only_the_partition_key_of_a_manifest_gives_a_date(partition: str, date: str | None) -> None:
    assert manifests.date_of(partition) == date


def test_the_partition_key_of_a_manifest_holds_its_date() -> None:
    assert manifests.date_of(manifests.partition_of("2025-12-23")) == "2025-12-23"


def opened(created: float, attempted: float | None = None) -> ManifestRecord:
    """An open manifest, created and (unless None) attempted this many seconds before noon."""

    def ago(seconds: float) -> str:
        return clock.to_text(NOON - timedelta(seconds=seconds))

    return a_manifest(
        f"token-{created}",
        created_at=ago(created),
        starter=None if attempted is None else "run-1",
        start_attempted_at=None if attempted is None else ago(attempted),
    )


def resumable(*open_manifests: ManifestRecord) -> ManifestRecord | None:
    return oldest_resumable(open_manifests, NOON)


def test_without_an_open_manifest_there_is_nothing_to_resume() -> None:
    assert resumable() is None


def test_a_manifest_without_an_attempted_start_is_resumable_at_once() -> None:
    assert resumable(opened(0)) == opened(0)


def test_the_oldest_manifest_is_resumed_first_in_any_order_of_reading() -> None:
    assert resumable(opened(1), opened(3), opened(2)) == opened(3)
    assert resumable(opened(3), opened(1), opened(2)) == opened(3)


@pytest.mark.parametrize(
    ("attempted", "is_resumable"),
    [(0, False), (SETTLED - 0.000001, False), (SETTLED, True), (3600, True)],
)
def test_a_manifest_with_an_attempted_start_is_resumable_once_it_has_settled(
    attempted: float, is_resumable: bool
) -> None:
    assert (resumable(opened(7200, attempted)) is not None) is is_resumable


def test_a_start_attempted_in_the_future_by_our_clock_is_not_resumable() -> None:
    assert resumable(opened(100, attempted=-30)) is None


def test_no_attempted_manifest_is_resumed_soon_after_another_attempt() -> None:
    assert resumable(opened(300, attempted=250), opened(100, attempted=SETTLED - 1)) is None
    assert resumable(opened(300, attempted=250), opened(100, attempted=SETTLED)) == opened(300, attempted=250)


def test_a_manifest_without_an_attempt_is_resumed_soon_after_an_older_manifests_attempt() -> None:
    assert resumable(opened(300, attempted=10), opened(100)) == opened(100)


def test_a_settled_attempt_comes_before_a_younger_manifest_without_an_attempt() -> None:
    assert resumable(opened(300, attempted=SETTLED + 1), opened(100)) == opened(300, attempted=SETTLED + 1)
    assert resumable(opened(300), opened(100, attempted=SETTLED + 1)) == opened(300)


@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.none() | st.integers(0, 230)), max_size=6, unique_by=lambda pair: pair[0]
    )
)
def test_the_choice_of_a_resumable_manifest_keeps_every_clause_of_the_protocol(
    pairs: list[tuple[int, int | None]],
) -> None:
    open_manifests = [opened(created, attempted) for created, attempted in pairs]

    chosen = resumable(*open_manifests)

    unattempted = [one for one in open_manifests if one.start_attempted_at is None]
    something_settles = any(attempted is not None and attempted < SETTLED for _, attempted in pairs)
    if unattempted:
        assert chosen is not None, "a manifest whose files may be unmarked is resumed before a batch is cut"
    if chosen is None:
        assert something_settles or not open_manifests
    elif chosen.was_attempted:
        assert not something_settles
        assert chosen.created_at == min(one.created_at for one in open_manifests)
    else:
        assert chosen.created_at == min(one.created_at for one in unattempted)
