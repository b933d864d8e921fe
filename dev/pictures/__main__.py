"""`make pictures`: the documents' pictures from real runs: the trace page in a browser, `make run` in a terminal.

Exit codes: 0 the pictures are in docs/, 1 a run failed, 2 the browser is missing.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from dev.paths import DOCS, ROOT
from dev.pictures.browser import BrowserMissing, headless_chromium
from dev.trace.page import write_page
from dev.trace.tour import trace_tour

WINDOW = (1280, 1310)
"""As high as the whole machine needs."""
TERMINAL_WIDTH = 128
MAX_LINES = 10
"""Of a block of the terminal's output."""
FONT_FACES = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)


def main() -> int:
    DOCS.mkdir(exist_ok=True)
    try:
        photograph_trace()
    except BrowserMissing as missing:
        print(f"error: {missing}", file=sys.stderr)
        return 2
    run = subprocess.run(
        [sys.executable, "-m", "dev.run"],
        cwd=ROOT,
        env={**os.environ, "FORCE_COLOR": "1", "TTY_INTERACTIVE": "0", "COLUMNS": str(TERMINAL_WIDTH)},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        print(f"error: the run has failed\n{run.stdout}{run.stderr}", file=sys.stderr)
        return 1
    draw_terminal(run.stdout, DOCS / "run.svg")
    for path in sorted(DOCS.glob("*.[ps][nv]g")):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1024:.0f} KB")
    return 0


def photograph_trace() -> None:
    """Raises BrowserMissing."""
    title, executions = trace_tour()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "trace.html"
        write_page(page, title, executions, table_read="Afterwards")
        for name, dark in (("trace", False), ("trace-dark", True)):
            with headless_chromium(*WINDOW, dark=dark) as window:
                window.get(page.as_uri())
                window.save_screenshot(str(DOCS / f"{name}.png"))


def draw_terminal(output: str, path: Path) -> None:
    """The output as a terminal shows it, long tables shortened, without the fonts that rich would have fetched."""
    lines = list(shortened(output.strip("\n").splitlines()))
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        console = Console(record=True, width=TERMINAL_WIDTH, file=nowhere)
        for line in lines:
            console.print(Text.from_ansi(line), soft_wrap=True)
    code_format = FONT_FACES.sub("", CONSOLE_SVG_FORMAT).replace("Fira Code", "ui-monospace, Menlo, Consolas")
    svg = console.export_svg(title="make run", code_format=code_format)
    path.write_text(svg, encoding="utf-8")


def shortened(lines: list[str]) -> Iterator[str]:
    """Empty lines separate blocks."""
    for is_empty, block in groupby(lines, key=lambda line: not Text.from_ansi(line).plain.strip()):
        of_block = [""] if is_empty else list(block)
        yield from of_block[:MAX_LINES]
        if len(of_block) > MAX_LINES:
            yield f"  ⋮  {len(of_block) - MAX_LINES} more lines"


if __name__ == "__main__":
    sys.exit(main())
