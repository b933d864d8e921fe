"""One self-contained HTML page of executions: it needs no network, and shows keys as text, never as markup."""

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any

from dev.trace.data import Execution, page_data

HERE = Path(__file__).parent
SCRIPTS = ("vendor/dagre.min.js", "elements.js", "layout.js", "graph.js", "page.js")


def write_page(path: Path, title: str, executions: Iterable[Execution], *, table_read: str) -> None:
    """Write the page, and the folder it is in. `table_read` says when the tracking table was read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(page_data(title, executions, table_read)), encoding="utf-8")


def render(data: Any) -> str:
    style = (HERE / "page.css").read_text(encoding="utf-8")
    script = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    # Nothing but these very texts may run or style, and nothing may be fetched.
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}"
    return Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        policy=policy, style=style, script=script, data=embed(data)
    )


def embed(data: Any) -> str:
    """JSON that cannot close the script element, for any keys of files."""
    text = json.dumps(data, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
