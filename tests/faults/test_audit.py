"""Events are lost at random, and one audit follows: every file is in one manifest, or waits for one."""

import pytest

from dev.faults.invariants import violations
from dev.faults.lab import Lab
from dev.faults.scenarios import LIMIT_30_MB, audit, prepare_lost_events


@pytest.mark.parametrize("seed", range(12))
def test_one_audit_is_enough(seed: int) -> None:
    with Lab(environment=LIMIT_30_MB) as lab:
        prepare_lost_events(lab, seed, files=12)
        lost = {path for path, _ in lab.seen.untold}
        assert not lost & lab.files().keys()

        audit(lab)
        lab.settle()

        assert lost <= lab.files().keys()
        assert violations(lab) == []


def test_a_file_that_every_manifest_has_is_not_sent_again() -> None:
    with Lab(environment=LIMIT_30_MB) as lab:
        prepare_lost_events(lab)
        audit(lab)
        sent, runs = lab.queue.sent, lab.runs_by_manifest()
        assert sent

        audit(lab)

        assert (lab.queue.sent, lab.runs_by_manifest()) == (sent, runs)
