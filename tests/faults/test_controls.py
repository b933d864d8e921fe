"""Each control breaks one clause of the protocol. The invariant of the control must report a violation."""

import pytest

from dev.faults.controls import CONTROLS, UNREACHABLE, Control
from dev.faults.invariants import INVARIANTS


@pytest.mark.parametrize("control", CONTROLS, ids=str)
def test_a_broken_clause_is_caught_by_its_invariant(control: Control) -> None:
    assert control.caught_by.__name__ in control.run(broken=True)


@pytest.mark.parametrize("control", CONTROLS, ids=str)
def test_the_system_as_it_is_passes_the_same_run(control: Control) -> None:
    assert control.run(broken=False) == set()


def test_each_control_has_a_clause_of_its_own_and_an_invariant_that_is_checked() -> None:
    clauses = [control.clause for control in CONTROLS]

    assert len(set(clauses)) == len(clauses)
    assert not set(clauses) & set(UNREACHABLE)
    assert {control.caught_by for control in CONTROLS} <= set(INVARIANTS)
