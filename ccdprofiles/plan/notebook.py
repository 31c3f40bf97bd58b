"""Show a long text in a notebook as a summary with collapsible lists."""

from __future__ import annotations

from html import escape

__all__ = ["folded"]

_OPEN = 10
"""Lists up to this long are open at first."""

_ROWS = 100
"""Lists show this many rows; a cell with 20,000 would be slow."""


def folded(title: str, text: str) -> str:
    """Return a printed night or plan as HTML; nothing in it is interpreted.

    Parameters
    ----------
    title : str
    text : str
        A paragraph, then one per list: its heading, and a line for each row.
    """
    first, *lists = text.split("\n\n")
    lines = "<br>".join(escape(line) for line in first.splitlines())
    parts = [f"<p><strong>{escape(title)}</strong><br>{lines}</p>"]
    for paragraph in lists:
        heading, *rows = paragraph.splitlines()
        parts.append(_list(heading, rows))
    return "<div>" + "\n".join(parts) + "</div>"


def _list(heading: str, rows: list[str]) -> str:
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row.strip().split("  ")) + "</tr>"
        for row in rows[:_ROWS]
    )
    if len(rows) > _ROWS:
        body += f"<tr><td>… {len(rows) - _ROWS} more; print it to see all.</td></tr>"
    start = "<details open>" if len(rows) <= _OPEN else "<details>"
    return (
        f"{start}<summary>{escape(heading)} ({len(rows)})</summary><table>{body}</table></details>"
    )
