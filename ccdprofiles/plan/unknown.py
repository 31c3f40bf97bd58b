"""Frames of a camera without a profile: the values of the usual cards in their headers.

They are only shown, as a starting point for a profile; no decision depends on them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from .frames import Frame

__all__ = ["header_words", "is_unknown", "overview", "shown_words"]

_USUAL = {
    "camera": ("INSTRUME", "CAMERA", "CAMNAME", "DETNAM", "DETECTOR", "CCDTYPE", "TELESCOP"),
    "type": (
        *("IMAGETYP", "OBSTYPE", "FRAMETYP", "FRAME", "EXPTYPE", "IMGTYPE", "PICTTYPE"),
        *("DATA-TYP", "NOCTYP", "TYPE", "ESO DPR TYPE"),
    ),
    "exposure": ("EXPTIME", "EXPOSURE", "EXP_TIME", "EXPOSED", "ITIME", "ELAPTIME", "DARKTIME"),
    "filter": (
        *("FILTER", "FILTERS", "FILTER1", "FILTER01", "INSFILTE", "FILTNAM", "FILTNAME"),
        *("FILTERID", "FILTID", "ACAMFILT", "ESO INS FILT1 NAME"),
    ),
    "object": ("OBJECT", "OBJNAME", "TARGNAME", "TARGET", "ESO OBS TARG NAME"),
    "date": ("DATE-OBS", "DATE_OBS", "DATEOBS", "DATE-BEG", "DATE", "MJD-OBS", "JD"),
}
_BINNING = (
    *(("XBINNING", "YBINNING"), ("CCDBIN1", "CCDBIN2"), ("CCDXBIN", "CCDYBIN")),
    *(("XBIN", "YBIN"), ("BINX", "BINY"), ("BINNING1", "BINNING2")),
    *(("ESO DET WIN1 BINX", "ESO DET WIN1 BINY"), ("CCDSUM",), ("BINNING",)),
)
_LISTED = 8
_LONGEST = 40


def is_unknown(frame: Frame) -> bool:
    """Return True for a frame that is set aside because there is no profile for its camera."""
    return frame.code == "no-profile" and frame.raw is not None


def header_words(header: Mapping) -> dict[str, dict[str, object]]:
    """Return the values of the usual cards of a header.

    Parameters
    ----------
    header : mapping

    Returns
    -------
    dict of dict
        For ``camera``, ``type``, ``exposure``, ``filter``, ``binning``, ``object`` and
        ``date`` the cards and their values, as in the header. Values without a usual card are
        omitted; for ``camera`` all cards are returned, for the others the first.

    Examples
    --------
    >>> from ccdprofiles.plan.unknown import header_words
    >>> header_words({"OBSTYPE": "Bias", "CCDSUM": "2 2", "ITIME": 0})
    {'type': {'OBSTYPE': 'Bias'}, 'exposure': {'ITIME': 0}, 'binning': {'CCDSUM': '2 2'}}
    """
    words = {}
    for field, cards in _USUAL.items():
        values = {card: header.get(card) for card in cards}
        # LFC and others number their frames in FRAME.
        values = {c: v for c, v in values.items() if _says_something(v, text=field == "type")}
        words[field] = values if field == "camera" else dict(list(values.items())[:1])
        if field == "filter":
            pairs = ({card: header.get(card) for card in cards} for cards in _BINNING)
            words["binning"] = next((p for p in pairs if all(map(_says_something, p.values()))), {})
    return {field: values for field, values in words.items() if values}


def shown_words(frame: Frame) -> dict[str, str]:
    """Return the values of the usual cards as texts, each followed by a question mark."""
    words = header_words(frame.header)
    return {field: f"{_text(values)}?" for field, values in words.items() if field != "camera"}


def overview(frames: Iterable[Frame]) -> list[str]:
    """List the values of the usual cards, camera by camera, as lines of text."""
    cameras: dict[str, list[Frame]] = {}
    for frame in frames:
        name = frame.header.get("INSTRUME")
        camera = f"INSTRUME = {name!r}" if _says_something(name) else "no INSTRUME"
        cameras.setdefault(camera, []).append(frame)
    lines = []
    for camera, members in cameras.items():
        lines.append(f"  {camera}: {len(members)} file{'s' if len(members) > 1 else ''}")
        lines += [f"    {field:9} {text}" for field, text in _tally(members).items()]
    return lines


def _tally(frames: Sequence[Frame]) -> dict[str, str]:
    """Count the values of each field, with the cards that contain them."""
    words = [header_words(frame.header) for frame in frames]
    rows = {}
    for field in ("type", "exposure", "filter", "binning"):
        by_card: dict[str, Counter] = {}
        for values in (w[field] for w in words if field in w):
            by_card.setdefault(", ".join(values), Counter())[_text(values)] += 1
        rows[field] = _listed(by_card) or "no usual card"
    shapes = Counter(f"{f.shape[1]}x{f.shape[0]}" for f in frames if f.shape is not None)
    rows["shape"] = f"columns x rows: {_counted(shapes)}"
    others: dict[str, Counter] = {}
    for w in words:
        for card, value in w.get("camera", {}).items():
            if card != "INSTRUME":
                others.setdefault(card, Counter())[repr(value)] += 1
    return rows | ({"also": _listed(others)} if others else {})


def _listed(by_card: Mapping[str, Counter]) -> str:
    return "; ".join(f"{cards}: {_counted(values)}" for cards, values in by_card.items())


def _counted(values: Counter) -> str:
    listed = [f"{value} ({number})" for value, number in values.most_common(_LISTED)]
    return ", ".join(listed + ["…"] * (len(values) > _LISTED))


def _says_something(value: object, text: bool = False) -> bool:
    return (isinstance(value, str) or not text) and value is not None and str(value).strip() != ""


def _text(values: Mapping[str, object]) -> str:
    """Write the values of a field in one word; a binning of two cards as 2x2."""
    texts = (f"{v:.10g}" if isinstance(v, float) else str(v).strip() for v in values.values())
    text = "x".join(texts)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
