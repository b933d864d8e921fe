"""When a run is over."""

from dataclasses import replace

from local.watch import Progress

DONE = Progress(
    files=3,
    files_known=3,
    manifests=1,
    jobs_finished=1,
    messages=0,
    dead_letters=1,
    locks=0,
    manifests_open=0,
    files_pending=1,
)


def test_a_run_is_over_when_every_file_is_known_and_the_poison_is_parked() -> None:
    assert DONE.is_finished(poison=1)


def test_a_run_goes_on_while_anything_is_under_way() -> None:
    under_way = [
        replace(DONE, messages=1),
        replace(DONE, locks=1),
        replace(DONE, manifests_open=1),
        replace(DONE, jobs_finished=0),
        replace(DONE, files_known=2),
        replace(DONE, dead_letters=0),
    ]
    assert not any(progress.is_finished(poison=1) for progress in under_way)


def test_a_run_with_a_file_that_failed_for_good_is_over_too() -> None:
    assert replace(DONE, files_known=2, dead_letters=2).is_finished(poison=1)
