"""The page of a night for a browser: what was made, what was set aside, and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from astropy.table import Table

from .. import __version__
from ..camera.header_values import time_of
from ..plan.frames import NOT_CALIBRATED, SET_ASIDE
from ..plan.plan import Input, Plan
from ..reduce.made import Made
from .table import texts_of

__all__ = ["page_of"]

_COLUMNS = (
    *("file", "profile", "type", "exposure", "filter", "binning", "object", "verdict", "product"),
)
"""The columns that the page shows for each file."""

_REASONS = ("file", "verdict", "reason")

_SCIENCE = ("product", "frame", "bias", "dark", "flat")

_PATHS = ("file", "product", "master", "frame", "bias", "dark", "flat", "verdict")
"""Columns whose words stay whole; a table that is too wide for them scrolls by itself."""

_OPEN = 50
"""Tables up to this many rows are open at first."""

_ROWS = 1000
"""The page shows this many rows of a table; browsers are slow with more."""

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 90em; padding: 0 1em;
       color: #1c2430; }}
h1 {{ font-size: 1.5em; margin-bottom: .4em; overflow-x: auto; }} h2 {{ font-size: 1.15em; margin-top: 2em; }}
table {{ border-collapse: collapse; min-width: 50%; font-size: 13px; }}
th, td {{ text-align: left; padding: .25em .7em; border-bottom: 1px solid #dde3ea;
          vertical-align: top; }}
th {{ background: #f3f6f9; }}
th, td.path {{ white-space: nowrap; }}
td.reason {{ min-width: 16em; }}
.wide {{ overflow-x: auto; }} .wide:focus {{ outline: 2px solid #5b6776; }}
details {{ margin: .6em 0; }} summary {{ cursor: pointer; padding: .2em 0; }}
@media (max-width: 40em) {{ body {{ margin: 1em auto; }} .stacked th {{ display: none; }}
  .stacked, .stacked tbody, .stacked tr, .stacked td {{ display: block; border: 0; min-width: 0; }}
  .stacked tr {{ border-bottom: 1px solid #dde3ea; padding: .3em 0; }} }}
tr:hover td {{ background: #f8fafc; }}
.verdict {{ border-left: .4em solid; padding: .3em .8em; background: #f3f6f9; }}
.good {{ color: #14713d; }} .bad {{ color: #a3341a; }} footer {{ margin: 2em 0; color: #5b6776; }}
</style></head><body>
<h1>{title}</h1>
<p class="verdict {mood}">{verdict}</p>
<p>{counts}</p>
{body}
<footer>ccdprofiles {version}</footer>
</body></html>
"""


def page_of(
    folder: str,
    table: Table,
    plan: Plan,
    made: Made,
    *,
    ok: bool,
    counts: Sequence[str],
    notes: Sequence[str],
) -> str:
    """Return the page of a night as HTML without scripts.

    ``counts`` and ``notes`` are sentences of the summary. A second run must write the same page, so
    they do not mention which products were up to date.
    """
    bad = [row for row in _rows(table, _REASONS) if row[1] in (NOT_CALIBRATED, SET_ASIDE)]
    parts = [
        *([_section("Set aside or not calibrated", _REASONS, bad)] if bad else []),
        *([_section("Notes", ("note",), [(note,) for note in notes])] if notes else []),
        _section("Masters", ("master", "made of"), _master_rows(plan, made)),
        _section("Science frames", _SCIENCE, _science_rows(plan, made)),
        _every_file(_rows(table, _COLUMNS)),
    ]
    verdict = (
        "Everything was made."
        if ok
        else "Not everything could be made, or a frame was set aside; see the first table for the reasons."
    )
    return _PAGE.format(
        title=escape(_title(folder, table)),
        mood="good" if ok else "bad",
        verdict=escape(verdict),
        counts=escape(". ".join(counts) + "."),
        body="\n".join(parts),
        version=escape(__version__),
    )


def _master_rows(plan: Plan, made: Made) -> list[tuple[str, str]]:
    return [
        (m.name, str(made.failed[m.name]) if m.name in made.failed else str(m).split("  ", 1)[1])
        for m in plan.masters
    ]


def _science_rows(plan: Plan, made: Made) -> list[tuple[str, ...]]:
    products = [
        (p.name, p.input.file, _bias(p.input), _dark(p.input), _stem(p.input.flat))
        for p in plan.products
        if p.name in made.products
    ]
    joined = [m for m in plan.joined if m.name in made.products]
    return [*products, *((m.name, m.file, "", "", "") for m in joined)]


def _title(folder: str, table: Table) -> str:
    """Name the folder of the night, and the day or days of its science frames."""
    science = table[table["type"] == "science"]
    # Calibrations may be from other nights.
    dates = texts_of(science if len(science) else table, "date")
    days = sorted({day for date in dates if (day := _day(date))})
    ends = [day for day in dict.fromkeys((*days[:1], *days[-1:])) if day not in folder]
    return f"Night {folder}" + (f", {' to '.join(ends)}" if ends else "")


def _day(date: str) -> str:
    """Return the day of a date in UT, or an empty text if the card contains no date."""
    try:
        time = time_of(date)
        return "" if time is None else datetime.fromtimestamp(time, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):  # such as a year before the first
        return ""


def _every_file(rows: Sequence[Sequence[str]]) -> str:
    """Return a table of the files for each verdict."""
    verdicts: dict[str, list[Sequence[str]]] = {}
    for row in rows:
        verdicts.setdefault(row[_COLUMNS.index("verdict")], []).append(row)
    parts = [_folded(verdict, _COLUMNS, verdicts[verdict]) for verdict in sorted(verdicts)]
    return "\n".join(["<h2>Every file</h2>", *parts])


def _section(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"<h2>{escape(title)}</h2>\n{_folded('', columns, rows)}"


def _folded(label: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that is collapsed if it is long, and cut before it makes browsers slow."""
    text = f"{label}: {_number(len(rows), 'row')}" if label else _number(len(rows), "row")
    more = len(rows) - _ROWS
    rest = f"<p>{_number(more, 'row')} more; night.ecsv has every file.</p>" if more > 0 else ""
    table = f'<div class="wide" tabindex="0">{_table(columns, rows[:_ROWS])}</div>{rest}'
    if not label and len(rows) <= _OPEN:
        return table
    start = "<details open>" if len(rows) <= _OPEN else "<details>"
    return f"{start}<summary>{escape(text)}</summary>\n{table}</details>"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(c)}</th>" for c in columns)
    classes = ["path" if c in _PATHS else c if c == "reason" else "" for c in columns]
    starts = [f'<td class="{name}">' if name else "<td>" for name in classes]
    body = "\n".join(
        "<tr>"
        + "".join(
            f"{start}{escape(_printable(cell))}</td>"
            for start, cell in zip(starts, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    # On a narrow screen the cells of a row are below each other, so that the reason is visible.
    start = '<table class="stacked">' if "reason" in columns else "<table>"
    return f"{start}<tr>{head}</tr>\n{body}</table>"


def _rows(table: Table, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Return columns as texts, row by row."""
    return list(zip(*(texts_of(table, name) for name in columns), strict=True))


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _stem(name: str | None) -> str:
    return "" if name is None else name.rsplit("/", 1)[-1].removesuffix(".fits")


def _bias(chosen: Input) -> str:
    constant = isinstance(chosen.bias, float)
    return f"{chosen.bias:g} adu" if constant else _stem(chosen.master_bias)


def _dark(chosen: Input) -> str:
    scale = "" if chosen.dark_scale == 1 else f" x {chosen.dark_scale:.6g}"
    return _stem(chosen.dark) + scale
