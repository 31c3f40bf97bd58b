"""The night as tables and a page: what was made, what was set aside, and why."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html import escape

from astropy.table import MaskedColumn, Table

from .. import __version__
from ..errors import OutputError
from ..files.places import Places
from ..plan.frames import ACCEPTED, SET_ASIDE, Frame, frames_table
from ..plan.plan import Missing, Plan
from ..plan.wording import grouped, time_of
from ..products.product import sync_folders, write_text
from ..reduce.made import Made

__all__ = ["complete", "night_table", "summary", "write_report"]

USED = "used"
INCOMPLETE = "not calibrated"
NOT_NEEDED = "not needed"

_OTHERS = ("no-master", "removed")
"""Codes of frames that have no fault themselves."""

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


def night_table(frames: Sequence[Frame], plan: Plan, made: Made | None = None) -> Table:
    """Lay the night out with its final verdicts, one row for every file that was found.

    Parameters
    ----------
    frames : sequence of Frame
    plan : Plan
    made : Made, optional
        What the run made; without it the verdicts are those of the plan.

    Returns
    -------
    Table
        Its ``verdict`` is used, not needed, not asked for, not calibrated, set aside or
        ignored;
        ``product`` is what a frame went into.
    """
    table = frames_table(frames)
    uses = _uses(plan)
    lacking = {m.file: m for m in plan.missing}
    verdicts = [_verdict(frame, uses, lacking, made) for frame in frames]
    table["verdict"] = [v[0] for v in verdicts] or table["verdict"]
    table["code"] = [v[1] for v in verdicts] or table["verdict"]
    table["reason"] = [v[2] for v in verdicts] or table["reason"]
    table["product"] = [v[3] for v in verdicts] or table["reason"]
    return table


def summary(table: Table, plan: Plan, made: Made) -> str:
    """Say in a few lines what was made, what was not, and why."""
    masters = len(made.masters)
    products = len(made.products)
    there = made.masters | made.products
    anew = [f"{name}: {why}." for name, why in sorted(made.anew.items()) if name in there]
    new = len(there) - len(anew) - len(made.kept)
    unneeded = sum(table["verdict"] == NOT_NEEDED)
    lines = [
        f"{len(table)} file{'' if len(table) == 1 else 's'} found, {sum(table['verdict'] == USED)} used"
        + (f", {unneeded} not needed" if unneeded else "")
        + (f", {len(plan.not_asked)} not asked for" if plan.only else "")
        + (f", {plan.ignored} ignored" if plan.ignored else ""),
        f"{masters} of {len(plan.masters)} masters and {products} of {len(plan.products)} planned "
        "science frames are there"
        + (f", {len(made.kept)} of them from before" if made.kept else "")
        + (f", {len(anew)} made anew" if anew else "")
        + (f", {new} made for the first time" if new and (made.kept or anew) else ""),
    ]
    if anew:
        lines += ["", "Made anew", *(f"  {text}" for text in grouped(anew))]
    for verdict in (INCOMPLETE, SET_ASIDE):
        rows = table[table["verdict"] == verdict]
        if len(rows):
            lines += ["", verdict.capitalize(), *(f"  {text}" for text in grouped(rows["reason"]))]
    if plan.remedies:
        lines += ["", "What helps", *(f"  {remedy}" for remedy in plan.remedies)]
    masters_lost = [made.failed[m.name][1] for m in plan.masters if m.name in made.failed]
    if masters_lost:
        lines += ["", "Masters that could not be made", *(f"  {text}" for text in masters_lost)]
    notes = [*plan.on_purpose, *plan.notes, *made.notes]
    if notes:
        lines += ["", "Notes", *(f"  {note}" for note in notes)]
    return "\n".join(lines)


def write_report(places: Places, folder: str, table: Table, plan: Plan, made: Made) -> None:
    """Write ``night.ecsv``, ``plan.json`` and ``report/index.html``."""
    stream = io.StringIO()
    _plain(table).write(stream, format="ascii.ecsv")
    night, page = places.path("night.ecsv"), places.path("report/index.html")
    write_text(night, stream.getvalue())
    write_text(places.path("plan.json"), plan.to_json() + "\n")
    try:
        # Only this folder: an output that was removed must not come back without its lock.
        page.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError.of(page.parent, error) from error
    write_text(page, _page(folder, table, plan, made))
    sync_folders([night, page])


def _plain(table: Table) -> Table:
    """Return a table whose columns have masks only where they need them.

    The text is the same, and masked values take ten times as long to write.
    """
    columns = [
        c.filled() if isinstance(c, MaskedColumn) and not c.mask.any() else c
        for c in table.columns.values()
    ]
    return Table(columns, meta=table.meta, copy=False)


def complete(table: Table, plan: Plan, made: Made) -> bool:
    """Say whether everything that the night holds was made."""
    bad = {INCOMPLETE, SET_ASIDE}
    on_purpose = set(plan.reject)
    told = zip(table["file"].tolist(), table["verdict"].tolist(), strict=True)
    verdicts = {verdict for file, verdict in told if file not in on_purpose}
    return not (bad & verdicts or any(m.name in made.failed for m in plan.masters))


def _verdict(
    frame: Frame, uses: Mapping[str, str], lacking: Mapping[str, Missing], made: Made | None
) -> tuple[str, str, str, str]:
    """Return the verdict on a frame, its code, the reason, and what it went into."""
    if frame.verdict != ACCEPTED:
        earlier = "" if made is None else made.earlier.get(frame.file, "")
        return frame.verdict, frame.code, frame.reason, earlier
    if made is not None and frame.file in made.failed:
        code, reason = made.failed[frame.file]
        return _short_of(code) if code in _OTHERS else SET_ASIDE, code, reason, ""
    if frame.file in lacking:
        missing = lacking[frame.file]
        return _short_of(missing.code), missing.code, missing.reason, ""
    into = uses.get(frame.file, "")
    if into:
        if made is not None and into in made.failed:
            return _short_of(made.failed[into][0]), *made.failed[into], ""
        if made is not None and frame.file in made.overruled:
            why = made.overruled[frame.file][1].removeprefix(f"{frame.file}: ")
            return USED, "kept", f"{frame.file}: kept by hand, although {why}", into
        return USED, "", "", into
    why = f"the recipe needs no {frame.type} of it."
    if frame.master:
        why = f"no frame of the night needs this master {frame.master}."
    return NOT_NEEDED, "not-needed", f"{frame.file}: {why}", ""


def _short_of(code: str) -> str:
    """Say what becomes of a frame for want of others: of its own kind, or of a master."""
    return SET_ASIDE if code in ("few-frames", "mixed-setup") else INCOMPLETE


def _uses(plan: Plan) -> dict[str, str]:
    """Return what each file goes into."""
    uses = {i.file: m.name for m in plan.masters for i in m.inputs}
    chosen = [*(i for m in plan.masters for i in m.inputs), *(p.input for p in plan.products)]
    needed = {name for i in chosen for name in (i.bias, i.dark, i.flat)}
    for master in plan.masters:
        if master.path and master.name in needed:
            uses[master.name.removeprefix("calibrations/")] = master.name
    return uses | {p.input.file: p.name for p in plan.products}


def _page(folder: str, table: Table, plan: Plan, made: Made) -> str:
    # A second run must write the same page, so what was there before is not told.
    counts = summary(table, plan, replace(made, kept=set(), anew={})).splitlines()[:2]
    good = complete(table, plan, made)
    verdict = (
        "Everything was made."
        if good
        else "Some of it could not be made, or was set aside; the first table says why."
    )
    told = _rows(table, ("file", "verdict", "reason"))
    wrong = [row for row in told if row[1] in (INCOMPLETE, SET_ASIDE)]
    parts = []
    if wrong:
        parts.append(_html("Set aside or not calibrated", ("file", "verdict", "reason"), wrong))
    notes = [
        (n,)
        for n in (
            *plan.on_purpose,
            *plan.notes,
            *made.notes,
        )
    ]
    if notes:
        parts.append(_html("Notes", ("note",), notes))
    parts.append(_html("Masters", ("master", "made of"), _master_rows(plan, made)))
    parts.append(
        _html(
            "Science frames",
            ("product", "frame", "bias", "dark", "flat"),
            [
                (p.name, p.input.file, _short(p.input.bias), _dark(p.input), _short(p.input.flat))
                for p in plan.products
                if p.name in made.products
            ],
        )
    )
    columns = (
        "file",
        "profile",
        "type",
        "exposure",
        "filter",
        "binning",
        "object",
        "verdict",
        "product",
    )
    parts.append(_every_file(columns, _rows(table, columns)))
    return _PAGE.format(
        title=escape(_title(folder, table)),
        mood="good" if good else "bad",
        verdict=escape(verdict),
        counts=escape(". ".join(counts) + "."),
        body="\n".join(parts),
        version=escape(__version__),
    )


def _master_rows(plan: Plan, made: Made) -> list[tuple[str, str]]:
    rows = []
    for master in plan.masters:
        text = str(master).split("  ", 1)[1]
        if master.name in made.failed:
            text = made.failed[master.name][1]
        rows.append((master.name, text))
    return rows


def _title(folder: str, table: Table) -> str:
    """Name the folder of the night, and the day or days of its science frames."""
    science = table[table["type"] == "science"]
    # Calibrations may come from other nights.
    dates = _texts(science if len(science) else table, "date")
    days = sorted({day for date in dates if (day := _day(date))})
    ends = [day for day in dict.fromkeys((*days[:1], *days[-1:])) if day not in folder]
    return f"Night {folder}" + (f", {' to '.join(ends)}" if ends else "")


def _day(date: str) -> str:
    """Return the day of a date in UT, or nothing where it is none."""
    try:
        time = time_of(date)
        return "" if time is None else datetime.fromtimestamp(time, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):  # such as a year before the first
        return ""


def _every_file(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table of the files for each verdict."""
    verdicts: dict[str, list[Sequence[str]]] = {}
    for row in rows:
        verdicts.setdefault(row[columns.index("verdict")], []).append(row)
    parts = [_folded(verdict, columns, verdicts[verdict]) for verdict in sorted(verdicts)]
    return "\n".join(["<h2>Every file</h2>", *parts])


def _html(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"<h2>{escape(title)}</h2>\n{_folded('', columns, rows)}"


def _folded(label: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table that folds if it is long, and that ends where browsers get slow."""
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
    # On a narrow screen the parts of a row stand below each other, so that the reason is seen.
    start = '<table class="stacked">' if "reason" in columns else "<table>"
    return f"{start}<tr>{head}</tr>\n{body}</table>"


def _rows(table: Table, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Return some columns as texts, row by row."""
    return list(zip(*(_texts(table, name) for name in columns), strict=True))


def _texts(table: Table, name: str) -> list[str]:
    return [_cell(value) for value in table[name].tolist()]


def _cell(value: object) -> str:
    text = str(value)
    return "" if text in ("--", "None") else text


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _short(name: str | None) -> str:
    return "" if name is None else name.rsplit("/", 1)[-1].removesuffix(".fits")


def _dark(chosen) -> str:
    scale = "" if chosen.dark_scale == 1 else f" x {chosen.dark_scale:.6g}"
    return _short(chosen.dark) + scale
