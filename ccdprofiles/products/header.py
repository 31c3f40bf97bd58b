"""The header of a product, from those of its frames."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from astropy.io import fits

from ..files.cards import Cards
from ..files.header import ProductHeader

__all__ = [
    "add_mjd",
    "ascii_text",
    "combined_header",
    "copied_header",
    "flip_wcs",
    "is_sky",
    "shift_wcs",
]

_STRUCTURE = re.compile(
    r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|XTENSION|PCOUNT|GCOUNT|TFIELDS|BZERO|BSCALE|BLANK|BUNIT|"
    r"CHECKSUM|DATASUM|EXTNAME|EXTVER|INHERIT|NEXTEND|ZIMAGE|ZTENSION|ZBITPIX|ZNAXIS\d*|ZCMPTYPE|"
    r"ZTILE\d+|ZNAME\d+|ZVAL\d+|ZQUANTIZ|ZDITHER0|ZSIMPLE|ZEXTEND|ZBLANK|ZHECKSUM|ZDATASUM|"
    r"T(TYPE|FORM|UNIT|DIM|NULL|SCAL|ZERO)\d+|THEAP|END|COMMENT|HISTORY|"
    r"LT[VM]\d(_\d)?|(DATA|BIAS|TRIM|CCD|AMP|DET)SEC\w*|[BCD]SEC\d+|CONTINUE|LONGSTRN|"
)
_SKY = re.compile(
    r"(WCSAXES|WCSNAME|CTYPE\d|CRVAL\d|CRPIX\d|CDELT\d|CROTA\d|CUNIT\d|CD\d_\d|PC\d+_\d+|PV\d_\d+|"
    r"(PC|CD)\d{6}|PS\d_\d+|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|EPOCH|[AB]P?_ORDER|[AB]P?_\d_\d|PLTSOLVD)[A-Z]?"
)
_FRAMES = {"RADESYS", "RADECSYS", "EQUINOX", "EPOCH"}
"""Of the world coordinates of a primary header, what holds for all chips."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d*)?)?")


def copied_header(cards: Cards, own_sky: bool = False) -> ProductHeader:
    """Copy the cards of a raw frame into a product, without those that are no longer valid.

    Cards of structure, checksums and sections are omitted, and so are cards that FITS does not
    allow, because a product must be valid.

    Parameters
    ----------
    cards : Cards
    own_sky : bool
        Whether the world coordinates of the primary header are omitted if the extension has its
        own; those of a chip must not be mixed with those of the whole camera.
    """
    header = ProductHeader()
    foreign = _foreign_sky(cards) if own_sky and cards.primary is not None else set()
    for text in _card_texts(cards):
        kept = _kept_card(text)
        if kept is not None and kept[0] not in foreign:
            header.hand_on(*kept)
    if "RADECSYS" in header and "RADESYS" not in header:
        # Old names make astropy and fitsverify warn at every reading.
        header.rename("RADECSYS", "RADESYS")
    if "EPOCH" in header:
        if "EQUINOX" in header:
            del header["EPOCH"]
        elif isinstance(header["EPOCH"], int | float):
            header.rename("EPOCH", "EQUINOX")
    _order_sky(header)
    return header


def _foreign_sky(cards: Cards) -> set[str]:
    """Return the world coordinates that only the primary header has, if the extension has others."""
    both = [
        {kept[0] for t in texts if (kept := _kept_card(t)) is not None and is_sky(kept[0])}
        for texts in (_card_texts(cards, primary=False), _card_texts(cards))
    ]
    own, everything = both
    if not any(keyword.startswith(("CRPIX", "CRVAL", "CTYPE")) for keyword in own):
        return set()
    return everything - own - _FRAMES


def combined_header(headers: Sequence[Cards]) -> ProductHeader:
    """Return the header of a master: the cards that all frames share, without sky coordinates."""
    header = copied_header(headers[0])
    for keyword in header:
        own = headers[0].get(keyword)
        if is_sky(keyword) or any(h.get(keyword) != own for h in headers[1:]):
            del header[keyword]
    return header


def shift_wcs(header: ProductHeader, columns: int, rows: int) -> None:
    """Shift the world coordinates by the columns and rows that were trimmed at the origin."""
    for keyword in header:
        axis = re.fullmatch(r"CRPIX([12])[A-Z]?", keyword) if keyword[:5] == "CRPIX" else None
        shift = (columns, rows)[int(axis[1]) - 1] if axis else 0
        value = header[keyword] if shift else None
        if isinstance(value, int | float):
            header[keyword] = value - shift


def flip_wcs(header: ProductHeader, axis: int, ends: int) -> None:
    """Reverse the world coordinates along an axis, as the pixels were flipped.

    Parameters
    ----------
    header : ProductHeader
    axis : {1, 2}
        Columns or rows.
    ends : int
        The first pixel plus the last: pixel p becomes pixel ``ends`` - p.
    """
    along = re.compile(rf"(?:CRPIX{axis}|(?:CD|PC)[12]_{axis})[A-Z]?|([AB])P?_(\d)_(\d)")
    for keyword in header:
        match, value = along.fullmatch(keyword), header[keyword]
        if match is None or not isinstance(value, int | float):
            continue
        if keyword.startswith("CRPIX"):
            header[keyword] = ends - value
        elif match[1] is None:
            header[keyword] = -value
        else:  # SIP: a term of power p along the axis changes its sign p times, its sum once more
            changes = int(match[axis + 1]) + (match[1] == "AB"[axis - 1])
            header[keyword] = (-1) ** changes * value
    for letter in {k[6:] for k in header if re.fullmatch(r"CRPIX[12][A-Z]?", k)}:
        if any(re.fullmatch(rf"PC[12]_[12]{letter}", k) for k in header):
            if f"PC{axis}_{axis}{letter}" not in header:
                header[f"PC{axis}_{axis}{letter}"] = -1.0
        elif not any(re.fullmatch(rf"CD[12]_[12]{letter}", k) for k in header):
            scale = header.get(f"CDELT{axis}{letter}", 1.0)
            if isinstance(scale, int | float):
                header[f"CDELT{axis}{letter}"] = -scale


def add_mjd(header: ProductHeader, date: str | None = None) -> None:
    """Add MJD-OBS and MJD-END for DATE-OBS and DATE-END if they are missing.

    Otherwise astropy computes them at every reading, with a warning. A DATE-OBS
    without a time gets it from ``date``, as the profile reads it.
    """
    if date is not None and "T" in date and "T" not in str(header.get("DATE-OBS", "T")):
        header["DATE-OBS"] = date
    for keyword, source in (("MJD-OBS", "DATE-OBS"), ("MJD-END", "DATE-END")):
        text = header.get(source)
        when = _time(text) if isinstance(text, str) and keyword not in header else None
        if when is not None:
            mjd = (when - datetime(1858, 11, 17)) / timedelta(days=1)
            header.set_after(source, keyword, round(mjd, 9), f"[d] {source}")


def ascii_text(text: object) -> str:
    """Return a text that is allowed in a FITS card: other characters are escaped."""
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return text.encode("ascii", "backslashreplace").decode().translate(_CONTROL)


_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


def _time(text: str) -> datetime | None:
    """Read a date as FITS writes it; None if it is not one."""
    try:
        return datetime.fromisoformat(text.strip()) if _DATE.fullmatch(text.strip()) else None
    except ValueError:
        return None


def _order_sky(header: ProductHeader) -> None:
    """Put the world coordinates into the order and the form that FITS allows."""
    sky = [k for k in header if is_sky(k)]
    for letter in {match[1] for k in sky if (match := re.fullmatch(r"PC\d+_\d+([A-Z]?)", k))}:
        # If both are present, readers use PC.
        for old in [k for k in sky if re.fullmatch(rf"(CD\d+_\d+|CROTA\d){letter}", k)]:
            del header[old]
            sky.remove(old)
    for axes in [k for k in sky[1:] if k.startswith("WCSAXES")]:
        header.put_before(axes, sky[0])


@lru_cache(1024)
def is_sky(keyword: str) -> bool:
    """Return True if a card belongs to the world coordinates."""
    return _SKY.fullmatch(keyword) is not None


def _card_texts(cards: Cards, primary: bool = True) -> Iterable[str]:
    """Iterate over the cards of a header, then of its primary header, as text."""
    for source in (cards, cards.primary) if primary and cards.primary is not None else (cards,):
        text = source.block.decode("ascii", "replace")
        texts = [text[start : start + 80] for start in range(0, len(text), 80)]
        if "CONTINUE" in text:
            texts = _joined(texts)
        yield from texts


def _joined(texts: Iterable[str]) -> list[str]:
    """Join every card with those that continue it."""
    joined: list[str] = []
    for text in texts:
        if text.startswith("CONTINUE") and joined:
            joined[-1] += text
        else:
            joined.append(text)
    return joined


_CARD = re.compile(
    r"([A-Z0-9_-]{1,8} *= |HIERARCH [A-Z0-9_-]+( [A-Z0-9_-]+)* *= ) *"
    r"('(?P<text>([^']|\'\')*)'|[TF]|[+-]?(\d+\.?\d*|\.\d+)([ED][+-]?\d+)?) *(/.*)?"
)
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}|[A-Z0-9_-]+( [A-Z0-9_-]+)*")
_KEYWORD_FIRST = re.compile(r"(?=.{8}= )(?!HIERARCH)([A-Z0-9_-]+) *= ")
_NUMBER = re.compile(r" *([TF]|[+-]?[0-9]+(\.[0-9]*)?) *(/[ -~]*)?")


def _kept_card(text: str) -> tuple[str, str] | None:
    """Return a card that goes into a product, as keyword and text, or None if it does not."""
    keyword = _plain_keyword(text[:10])
    if keyword and len(text) == 80 and _NUMBER.fullmatch(text, 10):
        # These change most from one frame to the next, so they are not cached.
        return keyword, text
    return _kept_text(text)


@lru_cache(1024)
def _plain_keyword(start: str) -> str | None:
    """Return the keyword of a card if it is to be kept and is spelled as FITS requires."""
    match = _KEYWORD_FIRST.fullmatch(start)
    return None if match is None or _STRUCTURE.fullmatch(match[1]) else match[1]


@lru_cache(4096)
def _kept_text(text: str) -> tuple[str, str] | None:
    card = _whole_card(text)
    return None if card is None or _STRUCTURE.fullmatch(card[0]) else card


def _whole_card(text: str) -> tuple[str, str] | None:
    """Read a card; None if FITS does not allow it."""
    if not text.isascii() or not text.isprintable():
        return None
    text = text.ljust(80)
    match = _CARD.fullmatch(text)
    if len(text) == 80 and match and (text[8] == "=" or text.startswith("HIERARCH ")):
        dated = text.startswith("DATE") and (match["text"] or "").strip()
        if dated and _time(dated) is None:
            return None
        return text[: text.find("=")].strip().removeprefix("HIERARCH").strip(), text
    # Written again, so that odd spelling of the camera's software becomes standard.
    parsed = Cards(text.encode())
    for keyword, value in parsed.items():
        quoted = text[text.find("=") + 1 :].lstrip().startswith("'")
        if not _KEYWORD.fullmatch(keyword) or value is None or (isinstance(value, str) != quoted):
            return None
        if keyword.startswith("DATE") and quoted and value and _time(value) is None:
            return None
        try:
            name = f"HIERARCH {keyword}" if len(keyword) > 8 or " " in keyword else keyword
            image = fits.Card(name, value).image
            return (keyword, image) if len(image) == 80 else None
        except ValueError:
            return None
    return None
