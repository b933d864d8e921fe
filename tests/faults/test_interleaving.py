"""Executions that run at the same time, for a fixed number of seeds; `make faults` runs more of them."""

from itertools import pairwise

import pytest

from dev.faults.interleave import play

SEEDS = range(25)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_promise_holds_however_executions_interleave(seed: int) -> None:
    played = play(seed)
    assert played.violations == (), played


def test_the_executions_of_a_run_take_turns() -> None:
    actors = [step.partition(":")[0] for step in play(0).order]
    changes = sum(actor != following for actor, following in pairwise(actors))
    assert changes > len(set(actors)), "each acted once, from its beginning to its end"


def test_the_same_seed_gives_the_same_order_of_calls() -> None:
    first, second = play(1), play(1)
    assert first == second
    assert len(first.order) > 20
