"""The console that commands print on."""

from rich.console import Console

WIDTH_OF_A_PIPE = 130


def make_console(kind: type[Console] = Console) -> Console:
    console = kind(highlight=False, emoji=False)
    return console if console.is_terminal else kind(highlight=False, emoji=False, width=WIDTH_OF_A_PIPE)
