"""The plots of docs/performance.md, as SVG whose text is text."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dev.bench import costs, deployment
from dev.bench.bars import DAYS, TYPICAL
from dev.bench.costs import System
from dev.bench.counts import Counts, Record
from dev.bench.page import MONOLITH_DAYS, ONE_BY_ONE
from dev.paths import DOCS

STYLE = {
    "font.family": "sans-serif",
    "font.size": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e2e8f0",
    "axes.axisbelow": True,
    "svg.fonttype": "none",
    # The same figures make the same files.
    "svg.hashsalt": "manifest-builder",
}
OURS, THEIRS = "#2563eb", "#d97706"
GROUPS = {
    "DynamoDB": "#2563eb",
    "Lambda": "#d97706",
    "Step Functions": "#db2777",
    "SQS": "#65a30d",
    "S3": "#0d9488",
    "X-Ray": "#7c3aed",
    "Logs": "#64748b",
}


def draw(record: Record, folder: Path = DOCS) -> list[Path]:
    """Writes all plots. Returns their paths."""
    drawn = {"cost-by-day": _cost_by_day(record), "reads-by-day": _reads_by_day(record), "bill": _bill(record)}
    paths = []
    for name, figure in drawn.items():
        path = folder / f"performance-{name}.svg"
        with mpl.rc_context(STYLE):
            figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
        paths.append(path)
    return paths


def _cost_by_day(record: Record) -> Figure:
    prod = deployment.settings("prod")

    def dollars(counts: Counts, system: System) -> float:
        return costs.dollars(costs.usage(counts, prod, system))

    figure, axes = _axes()
    _by_day(
        axes,
        record,
        [dollars(record.counts[run], System.EXPRESS) for run in DAYS],
        [dollars(record.counts[run], System.MONOLITH) for run in MONOLITH_DAYS.values()],
        "${:.2f}",
    )
    axes.set_title("Dollars per million files of 3.5 MB (prod, less fixed costs)", loc="left")
    return figure


def _reads_by_day(record: Record) -> Figure:
    figure, axes = _axes()
    _by_day(
        axes,
        record,
        [record.counts[run].per_file().items_read for run in DAYS],
        [record.counts[run].per_file().items_read for run in MONOLITH_DAYS.values()],
        "{:,.0f}",
    )
    axes.set_yscale("log")
    axes.set_title("Items of DynamoDB read per file (logarithmic)", loc="left")
    return figure


def _by_day(axes: Axes, record: Record, ours: list[float], theirs: list[float], label: str) -> None:
    sizes = list(MONOLITH_DAYS)
    for name, values, colour in (("monolith", theirs, THEIRS), ("this workflow", ours, OURS)):
        axes.plot(sizes, values, marker="o", color=colour, label=name)
        for size, value in zip(sizes, values, strict=True):
            axes.annotate(
                label.format(value), (size, value), textcoords="offset points", xytext=(0, 9), ha="center", color=colour
            )
    axes.set_xlabel("files a day")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.set_ylim(bottom=0, top=max(*ours, *theirs) * 1.15)
    axes.margins(x=0.08)
    axes.legend(frameon=False, loc="upper left")


def _bill(record: Record) -> Figure:
    prod, dev = deployment.settings("prod"), deployment.settings("dev")
    bills = {
        "prod, batches of 10": costs.usage(record.counts[TYPICAL], prod),
        "prod, batches of 1": costs.usage(record.counts[ONE_BY_ONE], prod),
        "dev, batches of 10": costs.usage(record.counts[TYPICAL], dev),
        "monolith, 10,000 files a day": costs.usage(record.counts[MONOLITH_DAYS[10_000]], prod, System.MONOLITH),
    }
    figure, axes = _axes()
    left = dict.fromkeys(bills, 0.0)
    for group, colour in GROUPS.items():
        widths = [costs.dollars([line for line in lines if line.group == group]) for lines in bills.values()]
        axes.barh(list(bills), widths, left=list(left.values()), color=colour, label=group, height=0.6)
        for name, width in zip(bills, widths, strict=True):
            left[name] += width
    for position, total in enumerate(left.values()):
        axes.annotate(f"${total:.2f}", (total, position), textcoords="offset points", xytext=(6, 0), va="center")
    axes.invert_yaxis()
    axes.set_xlabel("dollars per million files, less fixed costs")
    axes.margins(x=0.12)
    axes.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.4, 1.0))
    return figure


def _axes() -> tuple[Figure, Axes]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 4.2))
        return figure, figure.add_subplot()
