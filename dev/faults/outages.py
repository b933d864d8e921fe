"""Outages: a service fails for minutes or hours, and nobody does anything. Within an hour of its end all is done."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from dev.faults.calls import Kind
from dev.faults.lab import Lab, Outage
from dev.faults.scenarios import Scenario, nothing
from dev.faults.sweep import Outcome, calls_of, outcome_of

MINUTES = (1, 15, 120, 720)
DONE_WITHIN = timedelta(hours=1)


@dataclass(frozen=True)
class Run:
    """A scenario during an outage."""

    scenario: Scenario
    outage: Outage

    def __str__(self) -> str:
        return f"{self.scenario}: {self.outage}"


def runs(scenarios: Sequence[Scenario]) -> Iterator[Run]:
    """Each service that a scenario calls: from its first call on, for each duration; and from its second call on,
    throttled for the longest."""
    for scenario in scenarios:
        for service in sorted({call.service for call in calls_of(scenario)}):
            for minutes in MINUTES:
                yield Run(scenario, Outage(service, Kind.FAILS, minutes))
            yield Run(scenario, Outage(service, Kind.THROTTLED, MINUTES[-1], after=1))


def execute(run: Run) -> Outcome:
    """The violations an hour after the outage has ended."""
    with Lab(environment=run.scenario.environment) as lab:
        run.scenario.prepare(lab)
        endure(lab, run.scenario, run.outage)
        return outcome_of(lab)


def endure(lab: Lab, scenario: Scenario, outage: Outage) -> None:
    """Acts while the outage lasts; then time goes by, with its redeliveries and sweeps, until an hour after its end."""
    lab.outage = outage = replace(outage)
    if outage.service == "glue":
        lab.start_job_run = None  # a Glue that is busy besides would still be so after the outage
    scenario.act(lab)
    end = outage.ended_at or lab.time()
    if scenario.again is not nothing:
        lab.live(end)
        scenario.again(lab)
    lab.live(max(end, lab.time()) + DONE_WITHIN)
    lab.outage = lab.start_job_run = None


@dataclass(frozen=True, eq=False)
class Outlasted(Scenario):
    """A scenario that is acted while a service is out."""

    outage: Outage = field(default_factory=lambda: Outage("dynamodb", Kind.FAILS, MINUTES[-1]))

    def play(self, lab: Lab) -> None:
        self.prepare(lab)
        endure(lab, self, self.outage)
