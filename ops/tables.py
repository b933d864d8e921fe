"""Tables of a command's answer."""

from collections.abc import Collection

from rich import box
from rich.table import Table

from ops.screen import Screen


def show(
    rows: list[dict[str, str]], screen: Screen, *, texts: Collection[str] = ("Date",), foldable: str | None = None
) -> None:
    """Prints rows, each a text by header, as a table; on a screen that is too narrow, a block of lines for each row.

    Columns that are no `texts` are aligned as numbers. Only the `foldable` column may take several lines.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="dim")
    for header in rows[0]:
        table.add_column(header, justify="left" if header in texts else "right", no_wrap=header != foldable)
    for row in rows:
        table.add_row(*row.values())
    unlimited = screen.console.options.update(width=1000)
    if screen.console.measure(table, options=unlimited).minimum <= screen.console.width:
        screen.say(table)
        return
    for row in rows:
        for header, text in row.items():
            screen.say(f"{header:<10} {text}")
        screen.say("")
