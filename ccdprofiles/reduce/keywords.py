"""The cards of a product: the steps that were done, their masters, and what it still contains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Protocol

import numpy as np

from .. import __version__
from ..camera.amplifier import AmplifierSet
from ..camera.cards import Card
from ..camera.changes import concerning
from ..camera.colours import pattern_cards
from ..camera.header_values import plain_value, time_of
from ..camera.recipe import SpectralFlat
from ..files.header import ProductHeader
from ..pixels.combine import variance_factor
from ..pixels.measure import Measured
from ..plan.frames import Frame
from ..plan.match_cards import Match, cards_of
from ..plan.plan import Input
from ..plan.setup_cards import MASTER_TEMPERATURE, SETUP
from ..products.header import (
    add_mjd,
    ascii_text,
    combined_header,
    copied_header,
    flip_wcs,
    shift_wcs,
)
from .corrections import correction_cards
from .inputs import JobInputs, cut_of, flat_recipe, omitted_steps
from .request import MasterRequest

__all__ = [
    "CardInputs",
    "common_cards",
    "hand_cards",
    "level_cards",
    "master_header",
    "match_cards",
    "norm_cards",
    "prepared_header",
    "setting_card",
    "setup_cards",
]

SETUP_CARDS = frozenset(card for quantity in SETUP for card in quantity.cards)


class _UsedMaster(Protocol):
    @property
    def sha256(self) -> str: ...

    @property
    def header(self) -> Mapping: ...


class CardInputs(Protocol):
    """What the cards need of a job: its masters, and what was omitted or changed on purpose."""

    @property
    def masters(self) -> Mapping[str, _UsedMaster]:
        """The masters by their names in the plan."""

    @property
    def without(self) -> Sequence[str]:
        """The steps that are omitted on purpose."""

    @property
    def changes(self) -> Sequence[tuple[str, str]]:
        """The settings of the recipe that are changed."""


def prepared_header(frame: Frame) -> ProductHeader:
    """Return the cards of a raw frame as they hold for its trimmed image, with its MJD."""
    header = copied_header(frame.raw.header, own_sky=bool(frame.chip))
    _place_wcs(header, frame)
    add_mjd(header, frame.date)
    if frame.exposure_id:
        header["CPEXPID"] = (ascii_text(frame.exposure_id)[:60], "exposure")
    return header


def master_header(
    request: MasterRequest, norm: float | Mapping[str, float] | None
) -> ProductHeader:
    """Return the header of a master.

    Parameters
    ----------
    request : MasterRequest
        With only the frames that were used.
    norm : float, dict or None
        The number by which a flat was divided; of a mosaic that of each colour.
    """
    master, frame, how = request.master, request.frame, request.how
    number = len(request.chosen)
    header = combined_header([f.raw.header for f in request.frames])
    _time_cards(header, request)
    header["OBJECT"] = f"master {master.type}"
    unit = "1" if master.type == "flat" else str(request.unit)
    header["BUNIT"] = (unit, "unit of the pixels")
    header["CPTYPE"] = (master.type, "what this master is")
    header["NCOMBINE"] = (number, "frames combined")
    header["CPINEFF"] = (variance_factor(number, how), "variance of 1 / (1/NCOMBINE)")
    if master.filter:
        header["CPFILT"] = (ascii_text(master.filter), "filter, as the profile reads it")
    if master.temperature is not None:
        header["CPTEMP"] = (round(master.temperature, 3), "[Celsius] mean of the frames' chips")
    match_cards(header, cards_of(master.type, frame), master.match)
    setup_cards(header, master.settings)
    common_cards(header, request.inputs, frame, request.chosen[0], request.key, master.type)
    norm_cards(header, norm)
    level_cards(header, request.measured)
    hand_cards(header, request.inputs, request.files)
    clip = f", clipped at {how.clip:g} mad_std" if how.clip else ""
    header.add_history(f"{how.method} of {number} frames{clip}")
    if master.type == "flat":
        flat = flat_recipe(request.recipe)
        by_colour = " for each colour" if isinstance(norm, Mapping) else ""
        if request.shares_level:
            header.add_history(f"each scaled by 1 / (mean over all chips of the {flat.scale})")
        else:
            header.add_history(f"each scaled by 1 / {flat.scale}, then normalised{by_colour}")
        if isinstance(flat, SpectralFlat):
            header.add_history(f"lamp divided out: {flat.fit} of order {flat.order}")
    return header


def norm_cards(header: Any, norm: float | Mapping[str, float] | None) -> None:
    """Write the number by which a flat was divided; of a mosaic also that of each colour."""
    if isinstance(norm, Mapping):
        most = next(iter(norm))
        header["FLATNORM"] = (norm[most], f"the same as FLATN_{most}")
        for colour, of_colour in norm.items():
            header[f"FLATN_{colour}"] = (of_colour, f"pixels of {colour} were divided by this")
    elif norm is not None:
        header["FLATNORM"] = (norm, "the flat was divided by this")


def _time_cards(header: ProductHeader, request: MasterRequest) -> None:
    """Write the exposure of a master, and when its first and last frame were taken."""
    exposures = [f.exposure for f in request.frames if f.exposure is not None]
    if exposures:
        summed = request.how.method == "sum"
        total = sum(exposures) if summed else sum(exposures) / len(exposures)
        header["EXPTIME"] = (total, "[s] exposure: " + ("sum" if summed else "mean"))
    times = {t: f.date for f in request.frames if (t := time_of(f.date)) is not None}
    for card, when, which in (("DATE-OBS", min, "earliest"), ("DATE-END", max, "latest")):
        header.discard(card)
        if times:
            header[card] = (times[when(times)], f"of the {which} frame")
    for stale in ("MJD-OBS", "MJD-END"):
        header.discard(stale)
    add_mjd(header)


def common_cards(
    header: ProductHeader, inputs: CardInputs, frame: Frame, chosen: Input, key: str, kind: str
) -> None:
    """Write what was done to a frame, and what it still contains."""
    profile, amplifiers = frame.profile, frame.amplifiers
    columns, rows = frame.binning
    header["CPVERS"] = (__version__, "version of ccdprofiles")
    header["CPPROF"] = (ascii_text(profile.name), "profile")
    header["CPHASH"] = (profile.hash[:16], "hash of the profile")
    header["CPKEY"] = (key, "hash of all that went in")
    header["CPBIN"] = (f"{columns}x{rows}", "binning, columns x rows")
    header["CPAMPS"] = (frame.amplifier_key, "amplifier set")
    correction_cards(header, frame, kind)
    if frame.mosaic is not None:
        header["CPMOSAIC"] = (frame.mosaic.pattern, "colours of the first 2 rows")
        # A prepared frame, which has no raw image, has the offsets of its trimmed image already.
        shape = frame.raw.shapes.get(amplifiers.readouts[0].extension)
        moved = shape and pattern_cards(frame.header, frame.mosaic, shape[0], amplifiers)
        for card, offset in (moved or {}).items():
            header[card] = (offset, "of the trimmed image")
    for card, value, comment in () if frame.area is None else frame.area.cards:
        header[card] = (ascii_text(value) if isinstance(value, str) else value, comment)
    if frame.chip:
        header["CPCHIP"] = (frame.chip, "chip of the mosaic")
    letters = ""
    if amplifiers.has_overscan:
        how = frame.recipe.overscan
        text = how if isinstance(how, str) else type(how).__name__
        strips = " + ".join(r.overscan_text for r in amplifiers.readouts)
        header["OVERSCAN"] = _short(f"{text} of {strips}", "OSSECn", "overscan subtracted")
        for n, readout in enumerate(amplifiers.readouts, 1):
            header[f"OSSEC{n}"] = _short(
                readout.overscan_text, "the profile", "overscan of this amplifier"
            )
        header.add_history(f"overscan subtracted: {text}, per amplifier and {_lines(amplifiers)}")
        letters += "O"
    header["TRIM"] = _short(str(amplifiers), "TRIMn", "data sections kept")
    for n, readout in enumerate(amplifiers.readouts, 1):
        header[f"TRIM{n}"] = (str(readout.data), "data section of this amplifier")
    for card, letter, name, verb in (
        ("ZEROCOR", "B", chosen.bias, "bias subtracted"),
        ("DARKCOR", "D", chosen.dark, "dark subtracted"),
        ("FLATCOR", "F", chosen.flat, "divided by flat"),
    ):
        if isinstance(name, float):
            header[card] = ("constant", verb)
            header["BIASLEV"] = (name, "[adu] the same for every pixel")
            header.add_history(f"{verb}: a constant of {name:g} adu")
            letters += letter
        elif name:
            stem = PurePosixPath(name).name
            header[card] = (ascii_text(stem)[:64], verb)
            header[{"B": "BIASSHA", "D": "DARKSHA", "F": "FLATSHA"}[letter]] = inputs.masters[
                name
            ].sha256
            header.add_history(f"{verb}: {ascii_text(stem)}")
            if frame.area is not None and cut_of(frame, inputs.masters[name].header):
                header.add_history(f"{ascii_text(stem)} cut to {frame.area.section}")
            letters += letter
    if chosen.dark and kind == "science":
        header["DARKSCAL"] = (chosen.dark_scale, "the dark was multiplied by this")
    if chosen.flat:
        norm = inputs.masters[chosen.flat].header.get("FLATNORM")
        if isinstance(norm, int | float):
            header["FLATNORM"] = (norm, "the flat had been divided by this")
        for colour in () if frame.mosaic is None else frame.mosaic.colours:
            norm = inputs.masters[chosen.flat].header.get(f"FLATN_{colour}")
            if isinstance(norm, int | float):
                header[f"FLATN_{colour}"] = (norm, f"the flat of {colour} had been divided by it")
    header["CALSTAT"] = (letters, "O overscan, B bias, D dark, F flat")
    # A dark that still contains its bias also removes the pedestal.
    off = amplifiers.has_overscan or chosen.bias or chosen.dark
    header["HASPED"] = (not off, "whether the pedestal is still in it")
    dark = 0.0 if chosen.dark or kind == "bias" else frame.exposure or 0.0
    header["HASDARK"] = (dark, "[s] of dark current still in it")
    for step in omitted_steps(inputs.without, frame, kind):
        header[f"NO{step.upper()}"] = (True, f"{step} left out on purpose")
        header.add_history(f"{step} left out on purpose")
    if kind == "dark" and chosen.dark is None:
        header["DARKTIME"] = (frame.exposure, "[s] of dark current in it")
    for n, (name, text) in enumerate(concerning(inputs.changes, kind), 1):
        header[f"CPSET{n}"] = setting_card(name, text)
        header.add_history(f"setting changed for this run: {setting_card(name, text)}")
    for number in amplifiers.missing:
        header.add_history(f"{number.replace('_', ' ')} not known: {_lacking(number)}")


def _place_wcs(header: ProductHeader, frame: Frame) -> None:
    """Move world coordinates from the image that has them to the trimmed frame.

    It is the first image of the file, and its data move as those of its first amplifier do.
    """
    raw, readouts = frame.raw, frame.amplifiers.readouts
    beside = (r for r in readouts if raw.image(r.extension) is raw.images[0])
    readout = next(beside, readouts[0])
    data, place = readout.data, readout.place
    ends = (
        (data.first_column, data.last_column, place.first_column),
        (data.first_row, data.last_row, place.first_row),
    )
    shifts = []
    for axis, ((first, last, start), flipped) in enumerate(
        zip(ends, readout.flipped, strict=True), 1
    ):
        shifts.append(0 if flipped else first - start)
        if flipped:
            flip_wcs(header, axis, last + start)
    shift_wcs(header, *shifts)


def setting_card(name: str, text: str) -> str:
    """Return a setting as it is written in a card."""
    return ascii_text(f"{name}={text}")


def match_cards(header: ProductHeader, cards: Sequence[str | Card], match: Match) -> None:
    """Write the further cards of a master that its frames share within a tolerance.

    Frames that agree may write different values, of which a master keeps none; another night
    compares their mean with the values of its frames.
    """
    for card, (name, text) in zip(cards, match, strict=True):
        value = plain_value(text)
        if not isinstance(card, Card) or value is None or name in header:
            continue
        whole = isinstance(value, float) and value.is_integer()
        number = int(value) if whole else value
        header[name] = ascii_text(value) if isinstance(value, str) else number


def setup_cards(header: ProductHeader, settings: Iterable[tuple[str, float | str]]) -> None:
    """Write the settings of the frames of a master, unless they share a card with it.

    Frames of one setting may write it in two ways, as ``100`` and ``'100'``, and of temperatures
    the mean is used. Another night compares them with those of its frames.
    """
    aimed, chip = SETUP[-2:]
    of_chip = {*chip.cards, MASTER_TEMPERATURE}
    for cards, value in settings:
        card = cards.split("/")[0]
        if card in header:
            continue
        if card in of_chip or card not in SETUP_CARDS:
            if MASTER_TEMPERATURE not in header:
                header[MASTER_TEMPERATURE] = (
                    _rounded(value),
                    "[Celsius] mean of the frames' chips",
                )
        elif card in aimed.cards:
            header[card] = (_rounded(value), "[Celsius] mean of the frames")
        else:
            whole = isinstance(value, float) and value.is_integer()
            header[card] = (
                int(value) if whole else value if isinstance(value, float) else ascii_text(value)
            )


def _rounded(value: float | str) -> float | str:
    """Return a temperature to a thousandth of a degree."""
    return value if isinstance(value, str) else round(value, 3)


def _lines(amplifiers: AmplifierSet) -> str:
    """Return what has a level of its own: a row, a column, or a row and then a column."""
    if any(r.parallel_overscan is not None for r in amplifiers.readouts):
        return "row, then column"
    return "column" if any(r.by_column for r in amplifiers.readouts) else "row"


def _short(text: str, cards: str, comment: str) -> tuple[str, str]:
    """Return a text that fits into a card, or a reference, and a comment if there is room."""
    text = text if len(text) <= 60 else f"see {cards}"
    return text, comment if len(text) <= 44 else ""


def _lacking(number: str) -> str:
    """Return the consequence of a missing number for a product."""
    return "no saturated pixel is flagged" if number == "saturation" else "no uncertainty"


def hand_cards(header: ProductHeader, inputs: JobInputs, files: Iterable[str]) -> None:
    """Write which frames were used because the caller keeps them."""
    for file in sorted(inputs.kept_by_hand.intersection(files)):
        header.add_history(f"kept by hand: {ascii_text(file)}")


def level_cards(header: ProductHeader, frames: Sequence[Measured]) -> None:
    """Write the overscan level and the read noise measured in it, for each amplifier."""
    for n in range(len(frames[0].level)):
        levels = [np.median(rows) for m in frames if (rows := m.levels[n]) is not None]
        noises = [x for m in frames if (x := m.noise[n]) is not None and np.isfinite(x)]
        if levels:
            header[f"OSLEV{n + 1}"] = (round(float(np.median(levels)), 4), "[adu] overscan level")
        if noises:
            header[f"OSRN{n + 1}"] = (
                round(float(np.median(noises)), 4),
                "[adu] read noise it shows",
            )
        if any(m.level_from_night[n] for m in frames):
            header[f"OSNIGHT{n + 1}"] = (True, "the night's level taken for a frame")
        lifted = sum(m.n_lit_rows[n] for m in frames if m.n_lit_rows)
        if lifted:
            header[f"OSLIT{n + 1}"] = (lifted, "rows with light in their overscan, levelled")
