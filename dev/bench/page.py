"""docs/performance.md: prose by hand, and blocks between markers that are made from the record."""

import re
from collections.abc import Iterable, Sequence
from math import ceil

from dev.bench import bars, costs, deployment
from dev.bench.bars import DAYS, TYPICAL
from dev.bench.costs import Line, System, data
from dev.bench.counts import Counts, Record
from dev.bench.days import TYPICAL_BYTES
from dev.bench.deployment import Settings
from dev.paths import DOCS

PAGE = DOCS / "performance.md"
BLOCK = re.compile(r"(<!-- figures: ([a-z ]+) -->\n).*?(<!-- /figures -->)", re.DOTALL)
MONOLITH_DAYS = {
    1_000: "monolith, 1,000 files",
    3_000: "monolith, 3,000 files, sampled",
    10_000: "monolith, 10,000 files, sampled",
}
MONOLITH_SAMPLED = "monolith, 1,000 files, sampled"
ONE_BY_ONE = "420 files in batches of 1"
SMALL = "small files, sampled"
BACKLOG = "backlog of 20,000"
SWEEP = "a sweep"
BATCH_SIZES_GB = (0.05, 0.1, 0.35, 0.7, 1.4, 3.5, 10)
Row = Sequence[str]


def with_figures(page: str, record: Record) -> str:
    """The page with new figures. Raises KeyError for an unknown block."""
    return BLOCK.sub(lambda block: block[1] + BLOCKS[block[2]](record) + block[3], page)


def plots_named_in(page: str) -> list[str]:
    return re.findall(r"!\[[^]]*\]\(([a-z-]+\.svg)\)", page)


def table(header: Row, rows: Iterable[Row]) -> str:
    lines = [header, ["---"] + ["--:"] * (len(header) - 1), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def machine(record: Record) -> str:
    found = record.machine
    packages = ", ".join(f"{name} {found[name]}" for name in ("Python", "moto", "ministack", "boto3"))
    return (
        f"Measured on {found['date']}: {found['cores']} cores ({found['processor']}), {found['memory']}, "
        f"{found['system']}, load {found['load when it began']} when it began; {packages}.\n"
    )


def reached(record: Record) -> str:
    rows = [(bar.what, bar.bar, bar.measured, "yes" if bar.holds else "**no**") for bar in bars.bars(record)]
    return table(("What", "Bar", "Measured", "Holds"), rows)


def floor(record: Record) -> str:
    counts = record.counts[TYPICAL]
    calls, floor_calls = sum(_service_calls(counts).values()) / counts.files, bars.floor_calls(counts)
    writes = counts.write_units / counts.files
    return table(
        ("A file", "Floor", "Measured", "Measured / floor"),
        [
            ("AWS calls", f"{floor_calls:.2f}", f"{calls:.2f}", f"{calls / floor_calls:.2f}"),
            (
                "DynamoDB write units",
                f"{bars.FLOOR_WRITE_UNITS:.2f}",
                f"{writes:.2f}",
                f"{writes / bars.FLOOR_WRITE_UNITS:.2f}",
            ),
        ],
    )


def counted(record: Record) -> str:
    columns = {
        **{f"day of {run}": record.counts[run] for run in DAYS},
        "batches of 1": record.counts[ONE_BY_ONE],
        "0.15 MB files": record.counts[SMALL],
        **{f"monolith, {files:,}": record.counts[run] for files, run in MONOLITH_DAYS.items()},
    }
    each = [counts.per_file() for counts in columns.values()]
    operations = sorted({operation for counts in each for operation in _service_calls(counts)})
    rows = [
        ("**AWS calls**", *(_short(sum(_service_calls(counts).values())) for counts in each)),
        *((operation, *(_short(counts.calls[operation]) for counts in each)) for operation in operations),
        ("**DynamoDB write units**", *(_short(counts.write_units) for counts in each)),
        ("**DynamoDB read units**", *(_short(counts.read_units) for counts in each)),
        ("**Items read**", *(_short(counts.items_read) for counts in each)),
        ("**Lambda invocations**", *(_short(sum(counts.invocations.values())) for counts in each)),
        ("**Executions**", *(_short(counts.executions) for counts in each)),
        ("**State transitions**", *(_short(sum(counts.transitions.values())) for counts in each)),
        ("Largest state, KiB", *(_short(counts.largest_state_bytes / 1024) for counts in each)),
        ("Log bytes of functions, INFO", *(_short(_logged(counts, "prod")) for counts in each)),
        ("Log bytes of functions, DEBUG", *(_short(_logged(counts, "dev")) for counts in each)),
        ("Log bytes of executions, ALL", *(_short(counts.execution_log_bytes) for counts in each)),
        ("Files a manifest", *(_short(counts.files / counts.manifests) for counts in columns.values())),
    ]
    return table(("A file", *columns), rows)


def pending(record: Record) -> str:
    rows = [
        (run, _short(counts.items_read / counts.files), _short(counts.read_units / counts.files))
        for run, counts in record.counts.items()
        if run in (*DAYS, BACKLOG) or run.startswith("arrivals")
    ]
    return table(("A file", "Items read", "Read units"), rows)


def sampling(record: Record) -> str:
    full, sampled = record.counts[MONOLITH_DAYS[1_000]].per_file(), record.counts[MONOLITH_SAMPLED].per_file()
    measures = {
        "AWS calls": (sum(full.calls.values()), sum(sampled.calls.values())),
        "DynamoDB write units": (full.write_units, sampled.write_units),
        "DynamoDB read units": (full.read_units, sampled.read_units),
        "Items read": (full.items_read, sampled.items_read),
    }
    return table(
        ("A file of the monolith's day of 1,000", "Whole day", "Sampled", "Sampled / whole"),
        [(name, _short(whole), _short(part), f"{part / whole:.3f}") for name, (whole, part) in measures.items()],
    )


def wall_time(record: Record) -> str:
    ours, monolith = record.counts["1,000 files"].seconds, record.counts[MONOLITH_DAYS[1_000]].seconds
    return (
        f"A day of 1,000 files took the emulator {ours:.0f} s with the workflow and {monolith:.0f} s with the "
        f"monolith: {monolith / ours:.1f} times as long.\n"
    )


def totals(record: Record) -> str:
    """Dollars per million files: by system, in both environments."""

    def row(name: str, run: str, system: System) -> Row:
        cells = [name]
        for environment in ("prod", "dev"):
            settings = deployment.settings(environment)
            usage = costs.usage(record.counts[run], settings, system)
            cells += [
                f"{costs.dollars(usage):.2f}",
                f"{costs.total(usage, _fixed(record, settings) if system is not System.MONOLITH else []):.2f}",
            ]
        return cells

    rows = [
        row("Express, batches of 10", TYPICAL, System.EXPRESS),
        row("Express, batches of 1", ONE_BY_ONE, System.EXPRESS),
        row("Express, 0.15 MB files", SMALL, System.EXPRESS),
        row("the same on Standard, batches of 10", TYPICAL, System.STANDARD),
        *(row(f"monolith, day of {files:,} files", run, System.MONOLITH) for files, run in MONOLITH_DAYS.items()),
    ]
    header = (
        "Dollars per million files",
        "prod, usage",
        "prod, with fixed costs",
        "dev, usage",
        "dev, with fixed costs",
    )
    glue = costs.glue_per_million(record.counts[TYPICAL])
    return table(header, rows) + (
        f"\nThe smallest Glue job, {data().assumed('glue', 'dpu'):.0f} DPU for {data().assumed('glue', 'minutes'):.0f} "
        f"minute a manifest, adds ${glue:.0f} per million files to each of them.\n"
    )


def lines(record: Record) -> str:
    """Every line of the bill, the same lines in three settings."""
    columns = [
        costs.usage(record.counts[TYPICAL], deployment.settings("prod")),
        costs.usage(record.counts[ONE_BY_ONE], deployment.settings("prod")),
        costs.usage(record.counts[TYPICAL], deployment.settings("dev")),
        costs.usage(record.counts[TYPICAL], deployment.settings("prod"), System.STANDARD),
        costs.usage(record.counts[MONOLITH_DAYS[10_000]], deployment.settings("prod"), System.MONOLITH),
    ]
    by_name = [{(line.group, line.name): line for line in column} for column in columns]
    names = list(dict.fromkeys(name for column in by_name for name in column))
    rows = [
        (f"{group}: {name}", _price(by_name, (group, name)), *_cells(by_name, (group, name))) for group, name in names
    ]
    rows.append(("**all**", "", *(f"**{costs.dollars(column):.2f}**" for column in columns)))
    header = ("Per million files", "Price", "prod", "prod, batches of 1", "dev", "Standard", "monolith, 10,000")
    return table(header, rows)


def _price(by_name: list[dict[tuple[str, str], Line]], name: tuple[str, str]) -> str:
    price = next(column[name].price for column in by_name if name in column)
    per = f"{price.per:,.0f} " if price.per > 1 else ""
    return f"${price.dollars:g} / {per}{price.unit}"


def _cells(by_name: list[dict[tuple[str, str], Line]], name: tuple[str, str]) -> Iterable[str]:
    for column in by_name:
        line = column.get(name)
        yield f"{_short(line.quantity)} = **{line.dollars:.2f}**" if line else ""


def fixed(record: Record) -> str:
    settings = deployment.settings("prod")
    found = _fixed(record, settings)
    rows = [
        (
            f"{line.group}: {line.name}",
            f"{line.quantity:,.0f}",
            f"${line.price.dollars:.3g} / {line.price.per:,.0f} {line.price.unit}",
            f"{line.dollars:.2f}",
        )
        for line in found
    ]
    share = costs.dollars(found) * costs.MILLION / data().files_per_month
    rows.append(("**all**", "", "", f"**{costs.dollars(found):.2f}**"))
    return table(("A month, prod", "Quantity", "Price", "Dollars"), rows) + (
        f"\nShared out over {data().files_per_day:,.0f} files a day: ${share:.2f} per million files.\n"
    )


def durations(record: Record) -> str:
    counts = record.counts[TYPICAL]
    rows = []
    for function, invocations in counts.invocations.items():
        measured = counts.cpu_ns[function] / invocations / 1e6
        rows.append(
            (
                function,
                f"{deployment.memory_mb(function)}",
                f"{costs.cpu_ms(function, counts):.1f}",
                f"{measured:.1f}" if measured else "",
                f"{costs.function_ms(function, counts):,.0f}",
            )
        )
    return table(("Function", "Memory, MB", "CPU ms, assumed", "CPU ms, measured", "Billed ms, assumed"), rows) + (
        f"\nAn execution of ten files takes {costs.execution_ms(counts):.0f} ms by the same assumptions.\n"
    )


def cold_start(record: Record) -> str:
    timed = record.timings["cold start"]
    rows = [
        (
            function,
            *(f"{timed[measure][function]:.0f}" for measure in ("import ms", "clients ms", "memory MB")),
        )
        for function in sorted(timed["import ms"], key=lambda function: timed["import ms"][function])
    ]
    return table(("Function", "Import, CPU ms", "Clients, CPU ms", "Memory, MB"), rows)


def throughput(record: Record) -> str:
    timed = record.timings["make run"]
    used = timed["CPU seconds"]
    rows = [(role, f"{seconds:.1f}", f"{seconds / sum(used.values()):.0%}") for role, seconds in used.items()]
    return (
        f"2,000 files in {timed['seconds']['all']:.0f} s: **{timed['files a second']['all']:.0f} files/s**, with "
        f"{sum(used.values()):.0f} s of CPU time.\n\n" + table(("Process", "CPU seconds", "Share"), rows)
    )


def glue_job(record: Record) -> str:
    """What the default Glue job reads a second here, and its price per million files beside the workflow's."""
    timed = record.timings["Glue job"]
    rate, cores = timed["MB a second"], timed["machine"]["cores"]
    seconds = costs.job_seconds(data().assumed("glue", "manifest_mb"), rate["all"] / cores)
    minutes = ceil(seconds / 60)
    usage = costs.dollars(costs.usage(record.counts[TYPICAL], deployment.settings("prod")))
    return (
        f"{timed['MB']['all']:.0f} MB in {timed['lines']['all']:,.0f} lines on {cores:.0f} cores, at a load of "
        f"{timed['machine']['load']:.1f}: **{rate['all']:.1f} MB/s** (median of the runs; the best {rate['best']:.1f}; "
        f"the first {rate['first']:.1f}, with the imports of Spark's Python workers). `json.loads` alone, in one "
        f"process: {rate['json.loads']:.1f} MB/s.\n\n"
    ) + table(
        ("Dollars per million files", "Quantity", "Dollars"),
        [
            ("the workflow, prod, usage", "", f"{usage:.2f}"),
            (
                "the Glue job, two G.1X workers",
                f"{seconds:.0f} s a manifest, rounded up to {minutes} min",
                f"{costs.glue_per_million(record.counts[TYPICAL], minutes):.2f}",
            ),
        ],
    )


def audit(record: Record) -> str:
    """What an audit costs per million files, and what it takes of this machine."""
    timed = record.timings["audit"]
    rows = []
    for size in timed["lists"]:
        times = costs.MILLION / float(size)
        parts = (("lists", "s3_put"), ("read units", "dynamodb_read"), ("gets", "s3_get"))
        dollars = [data().price(price).of(timed[measure][size] * times) for measure, price in parts]
        rows.append(
            (
                f"{float(size):,.0f}",
                *(f"{timed[measure][size] * times:,.0f}" for measure, _ in parts),
                f"{sum(dollars):.4f}",
                f"{timed['CPU seconds'][size]:.0f} s",
                f"{timed['MB'][size]:.0f} MB",
            )
        )
    of_a_million = ("Lists", "Read units", "GETs", "Dollars")
    columns = ("Files", *(f"{name} per million" for name in of_a_million), "CPU time", "Memory beyond its start")
    return table(columns, rows)


def glue_by_batch_size(record: Record) -> str:
    """What the default Glue job costs per million files, by the size of a manifest."""
    timed = record.timings["Glue job"]
    rate = timed["MB a second"]["all"] / timed["machine"]["cores"]
    usage = costs.dollars(costs.usage(record.counts[TYPICAL], deployment.settings("prod")))
    rows = []
    for size in BATCH_SIZES_GB:
        standard, flex = (
            costs.job_per_million(size, TYPICAL_BYTES, rate, price) for price in ("glue_dpu_hour", "glue_flex_dpu_hour")
        )
        seconds = costs.job_seconds(size * costs.GB / 1e6, rate)
        share = standard / (standard + usage)
        rows.append((f"{size}", f"{seconds:.0f} s", f"{standard:.2f}", f"{flex:.2f}", f"{share:.0%}"))
    return table(("`MaxBatchSizeGb`", "A run", "STANDARD", "FLEX", "The job's share, STANDARD"), rows)


def limits(record: Record) -> str:
    """The rate of files at which each quota is reached, from the measured use per file."""
    counts = record.counts[TYPICAL].per_file()
    function_seconds = sum(
        number * costs.function_ms(function, record.counts[TYPICAL]) / 1000
        for function, number in counts.invocations.items()
    )
    execution_seconds = costs.execution_ms(record.counts[TYPICAL]) / 1000
    glue_seconds = data().assumed("glue", "minutes") * 60 * counts.manifests
    use = {
        "partition_write_units": counts.write_units,
        "partition_read_units": counts.read_units,
        "table_write_units": counts.write_units,
        "lambda_concurrency": function_seconds,
        "sync_express_executions": execution_seconds * counts.executions,
        "max_concurrency": execution_seconds * counts.executions,
        "glue_runs_per_job": glue_seconds,
    }
    rows = []
    for name, quota in data().document["quota"].items():
        if name == "collection_gb":
            bites = f"{quota['value'] * costs.GB / counts.stored_bytes / 1e6:.0f} million files"
            used = f"{counts.stored_bytes:.0f} bytes"
        else:
            bites, used = f"{quota['value'] / use[name]:,.0f} files/s", _short(use[name])
        rows.append((quota["scope"], f"{quota['value']:,} {quota['unit']}", used, bites, quota["source"]))
    return table(("Limit of", "Quota", "Used by a file", "Bites at", "Source"), rows)


BLOCKS = {
    "machine": machine,
    "bars": reached,
    "sampling": sampling,
    "wall time": wall_time,
    "counts": counted,
    "floor": floor,
    "pending": pending,
    "totals": totals,
    "lines": lines,
    "fixed": fixed,
    "durations": durations,
    "cold start": cold_start,
    "throughput": throughput,
    "glue job": glue_job,
    "glue by batch size": glue_by_batch_size,
    "audit": audit,
    "limits": limits,
}


def _service_calls(counts: Counts) -> dict[str, float]:
    """Calls by the work itself; starting the execution is the trigger's."""
    return {operation: number for operation, number in counts.calls.items() if not operation.startswith("sfn ")}


def _logged(counts: Counts, environment: str) -> float:
    return costs.function_log_bytes(counts, deployment.settings(environment))


def _fixed(record: Record, settings: Settings) -> list[Line]:
    return costs.fixed(record.counts[TYPICAL], record.counts[SWEEP], settings)


def _short(number: float) -> str:
    if number == 0:
        return "0"
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}" if number < 10 else f"{number:.1f}"
