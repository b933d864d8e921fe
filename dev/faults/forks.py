"""Many runs of one scenario at the price of few: the calls that they have in common are made once.

The process plays the scenario and forks itself before each call that a fault strikes. The child goes on with the fault,
its parent without it. So each run plays in a process of its own and sees what it sees when it is played alone: the
memory of a process holds the whole account, its clock, and the functions.
"""

import gc
import json
import os
import traceback
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import NoReturn

from dev.faults import worlds
from dev.faults.calls import Call, Fault
from dev.faults.lab import Lab
from dev.faults.scenarios import Scenario
from dev.faults.sweep import Outcome, Result, Run, outcome_of, result_of, rival
from dev.faults.worlds import Known
from dev.simulator.world import World

Numbered = dict[int, Run]
"""Runs by their place in the sequence that was asked for."""


def explore(runs: Sequence[Run], known: Known) -> list[Result]:
    """The results of runs of one scenario, in their order; the same as those of `sweep.execute`.

    A run that comes to a world in `known` ends there: the end of the world is known. The process must have no other
    thread that a run needs: a fork would not have it. A run that raises, or ends its process, has that as its
    violation.
    """
    if not runs:
        return []
    scenario = runs[0].scenario
    assert all(run.scenario is scenario for run in runs)
    without_faults = Run(scenario, ())
    # First, because most others come back to its worlds.
    if known.outcome(str(without_faults)) is None:
        _play(scenario, {0: without_faults}, known)
    outcomes = _play(scenario, dict(enumerate(runs)), known)
    return [result_of(run, outcomes[number]) for number, run in enumerate(runs)]


def _play(scenario: Scenario, runs: Numbered, known: Known) -> dict[int, Outcome]:
    branch = _Branch(known)
    _warm_up()
    # A garbage collector that leaves alone what is here spares a child the copies of it.
    gc.collect()
    gc.freeze()
    if not branch.forked(runs):
        return branch.outcomes
    try:
        lab = Lab(environment=scenario.environment, rival=rival, before_call=branch.before_call, at_rest=branch.at_rest)
        with lab:
            scenario.play(lab)
            lab.at_rest = None  # the last invariant acts: the violations that were found before it are in no world
            branch.end(outcome_of(lab))
    except BaseException:
        branch.end(Outcome((f"the run raised an exception: {traceback.format_exc()}",)))


@cache
def _warm_up() -> None:
    """Makes a world once in this process: what botocore and moto load and parse for it, its forks have then."""
    with World():
        pass


class _Branch:
    """One process: the runs that it still has to fork off or to play itself, and the outcomes that it knows."""

    def __init__(self, known: Known) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self._known = known
        self._worlds: list[str] = []
        """Those that this process has come to, since all faults of its runs struck."""
        self._runs: Numbered = {}
        self._parent = -1
        """A pipe to the parent, for the outcomes."""

    def before_call(self, lab: Lab, call: Call) -> None:
        for fault, runs in self._struck(call, len(lab.faults)).items():
            if self.forked(runs):
                lab.faults += (fault,)
                return
            for number in runs:
                del self._runs[number]
        if not self._runs:
            self._report()

    def at_rest(self, lab: Lab) -> None:
        if any(len(run.faults) > len(lab.faults) for run in self._runs.values()):
            return
        world = worlds.fingerprint(lab)
        if world is None:
            return
        outcome = self._known.outcome(world)
        if outcome:
            self.end(replace(outcome, reached=tuple(lab.reached), merged=True))
        self._worlds.append(world)

    def _struck(self, call: Call, faults: int) -> dict[Fault, Numbered]:
        """Runs by their next fault, if the fault strikes this call; `faults` have struck already."""
        found: dict[Fault, Numbered] = defaultdict(dict)
        for number, run in self._runs.items():
            if len(run.faults) > faults and run.faults[faults].call == call.number:
                found[run.faults[faults]][number] = run
        return found

    def forked(self, runs: Numbered) -> bool:
        """True in the child, which has the runs; False in the parent, which has their outcomes."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            # It ends within seconds, and collecting takes a tenth of that.
            gc.disable()
            os.close(reading)
            self._parent, self._runs, self.outcomes = writing, dict(runs), {}
            return True
        os.close(writing)
        with open(reading) as answers:  # noqa: PTH123
            answer = answers.read()
        _, status = os.waitpid(child, 0)
        if status == 0:
            self.outcomes |= {number: worlds.outcome(outcome) for number, outcome in json.loads(answer)}
        else:
            code = os.waitstatus_to_exitcode(status)
            self.outcomes |= dict.fromkeys(runs, Outcome((f"the process of the run ended with exit code {code}",)))
        return False

    def end(self, outcome: Outcome) -> NoReturn:
        """The runs that are left had no further fault, or none that struck: this outcome is theirs."""
        beginnings = [str(run) for run in self._runs.values() if not run.faults]
        self._known.add([*self._worlds, *beginnings], outcome)
        self.outcomes |= dict.fromkeys(self._runs, outcome)
        self._report()

    def _report(self) -> NoReturn:
        with open(self._parent, "w") as parent:  # noqa: PTH123
            json.dump([(number, asdict(outcome)) for number, outcome in self.outcomes.items()], parent)
        os._exit(0)  # the child must not go on with the work of the process that it was forked from
