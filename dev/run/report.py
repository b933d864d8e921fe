"""The end of a run on the screen: its tables and the verdict."""

from collections import Counter
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from toolkit.facts import Facts, FileRow, Manifest, Version, short_manifest_names
from toolkit.texts import duration, plural, printable, short_path, size
from toolkit.verdict import Check

MAX_ROWS = 200
WIDTH_WITH_PATHS = 128
"""Columns that the table of manifests needs to show their paths too."""

STATUS_STYLE = {"manifested": "green", "pending": "yellow", "quarantined": "red", "deleted": "dim"}


def print_tables(
    console: Console, facts: Facts, notes: dict[str, str], *, max_batch_bytes: int, flush_after_minutes: int
) -> None:
    """`notes`: by key, the case that the sample shows with a file."""
    console.print()
    console.print(files_table(facts, notes))
    console.print()
    has_room = console.width >= WIDTH_WITH_PATHS
    console.print(manifests_table(facts, max_batch_bytes, with_paths=has_room))
    if not has_room:
        for path, name in short_manifest_names(facts.manifests).items():
            console.print(f" {name}   {_key(path)}", soft_wrap=True)
    console.print()
    console.print(pending_table(facts, max_batch_bytes, flush_after_minutes))
    for body in facts.dead_letters:
        console.print(f"\n[bold]Dead-letter queue[/]  {escape(printable(body[:100]))}")


def files_table(facts: Facts, notes: dict[str, str]) -> Table:
    table = _table("Files")
    table.add_column("Date", no_wrap=True)
    table.add_column("Key", overflow="fold")
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("What became of it", overflow="fold")
    names_of = manifests_by_version(facts.manifests)
    newest = {row.uri: row for row in sorted(facts.files, key=lambda row: row.sequencer or "")}
    # If not all files are shown, those with problems come first.
    everything = sorted(facts.files, key=lambda row: (row.date, _key(row.uri), row.sequencer or ""))
    shown = everything
    if len(everything) > MAX_ROWS:
        shown = sorted(everything, key=lambda row: row.status == "manifested")[:MAX_ROWS]
        table.caption = f"{len(everything) - MAX_ROWS} more files are not shown: the tracking table has them (KEEP=1)"
    for date, rows in groupby(sorted(shown, key=lambda row: row.date), key=lambda row: row.date):
        for number, row in enumerate(rows):
            key = Text(printable(_key(row.uri)))
            if note := notes.get(_key(row.uri)):
                key.append(f"\n  {note}", style="dim italic")
            fate = _fate(row, names_of)
            if newest[row.uri] is not row:
                fate.append(", an older version", style="dim italic")
            table.add_row(date if number == 0 else "", key, size(row.size_bytes), fate)
        table.add_section()
    known = {row.uri for row in facts.files}
    for upload in {upload.uri: upload for upload in facts.uploads if upload.uri not in known}.values():
        table.add_row(
            "?",
            Text(printable(_key(upload.uri))),
            size(upload.size_bytes),
            Text("unknown to the workflow", style="bold red"),
        )
    counts = Counter(row.status for row in facts.files)
    files, versions = len({row.uri for row in facts.files}), len(facts.files)
    title = f"Files: {files}" + (f" in {versions} versions" if versions > files else "")
    table.title = f"{title}  ({', '.join(f'{count} {status}' for status, count in counts.most_common())})"
    return table


def _fate(row: FileRow, names_of: dict[Version, dict[str, str]]) -> Text:
    others = dict(names_of.get(row.version, {}))
    fate = row.status
    if row.status == "manifested":
        fate = f"in {others.pop(row.manifest_path or '', row.manifest_path)}"
    elif row.status == "quarantined":
        fate = f"quarantined: {row.reason}"
    text = Text(fate, style=STATUS_STYLE.get(row.status, "bold red"))
    if row.deleted_at and row.status != "deleted":
        text.append(", deleted since", style="dim")
    if others:
        # A run that was cut short may have named a file that is not marked yet.
        text.append(f"\n  named in {', '.join(others.values())}", style="dim italic")
    return text


def manifests_by_version(manifests: list[Manifest]) -> dict[Version, dict[str, str]]:
    """Version -> the manifests that name it, path -> short name."""
    short_names = short_manifest_names(manifests)
    found: dict[Version, dict[str, str]] = {}
    for manifest in manifests:
        for version in manifest.versions or ():
            found.setdefault(version, {})[manifest.path] = short_names[manifest.path]
    return found


def manifests_table(facts: Facts, max_batch_bytes: int, *, with_paths: bool) -> Table:
    table = _table(f"Manifests: {len(facts.manifests)}  (at most {size(max_batch_bytes)} each)")
    table.add_column("", no_wrap=True)
    if with_paths:
        table.add_column("Path", no_wrap=True)
    for header in ("Files", "Size", "Full", "Rows"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("Glue run", no_wrap=True)
    runs = {run.run_id: run for run in facts.runs}
    short_names = short_manifest_names(facts.manifests)
    for _, manifests in groupby(facts.manifests, key=lambda manifest: manifest.date):
        for manifest in manifests:
            result = facts.results.get(manifest.path)
            run = runs.get(manifest.job_run_id or "")
            state = run.state if run else "not started"
            table.add_row(
                short_names[manifest.path],
                *([_key(manifest.path)] if with_paths else []),
                str(manifest.file_count),
                size(manifest.size_bytes),
                f"{manifest.size_bytes / max_batch_bytes:.0%}",
                f"{result.rows:,}" if result else "-",
                Text(
                    f"{(manifest.job_run_id or '')[:8]} {state}".strip(),
                    style="green" if state == "SUCCEEDED" else "red",
                ),
            )
        table.add_section()
    return table


def pending_table(facts: Facts, max_batch_bytes: int, flush_after_minutes: int) -> Table | str:
    pending = sorted((row for row in facts.files if row.status == "pending"), key=lambda row: row.date)
    if not pending:
        return "[bold]Pending[/]  nothing"
    table = _table(f"Pending: {plural(len(pending), 'file')}")
    table.add_column("Date", no_wrap=True)
    table.add_column("Files", justify="right")
    table.add_column("Size", justify="right", no_wrap=True)
    table.add_column("Why")
    now = datetime.now(UTC)
    for date, rows in groupby(pending, key=lambda row: row.date):
        files = list(rows)
        total = sum(row.size_bytes for row in files)
        oldest = datetime.fromisoformat(min(row.pending_since or "" for row in files))
        minutes_left = flush_after_minutes - (now - oldest).total_seconds() / 60
        table.add_row(
            date,
            str(len(files)),
            size(total),
            f"{total / max_batch_bytes:.0%} of a manifest: more files of this date fill it, "
            + (
                f"or the sweep takes them in {duration(minutes_left)}"
                if minutes_left > 0
                else "or the next sweep takes them"
            ),
        )
    return table


def print_verdict(console: Console, facts: Facts, checks: list[Check], seconds: float) -> None:
    console.print("\n[bold]The promise[/]")
    for check in checks:
        console.print(f"{'[green]✓[/]' if check.holds else '[red]✗[/]'} {check.clause}")
        for problem in check.problems:
            console.print(f"    [red]{escape(printable(problem))}[/]", soft_wrap=True)
    files, versions = len({upload.uri for upload in facts.uploads}), len(facts.uploads)
    summary = (
        f"{plural(files, 'file')} in {plural(versions, 'version')}, {plural(len(facts.manifests), 'manifest')}, "
        f"{plural(len(facts.runs), 'Glue run')}"
    )
    if all(check.holds for check in checks):
        console.print(f"\n[bold green]promise kept[/]: {summary}, {seconds:.0f} s")
    else:
        console.print(f"\n[bold red]promise NOT kept[/]: {summary}, {seconds:.0f} s")


def print_page(console: Console, page: Path) -> None:
    console.print(f"every execution, state by state: {short_path(page)}", markup=False, soft_wrap=True)


def _key(uri: str) -> str:
    return uri.removeprefix("s3://").partition("/")[2]


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim"
    )
