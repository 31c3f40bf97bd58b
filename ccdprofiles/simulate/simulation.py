"""A simulated night of a camera: its settings, random numbers, and pixel layout."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from astropy.io import fits

from ..camera.amplifier import Amplifier, AmplifierSet, Readout, check_amplifiers, rows_bin
from ..camera.frame_size import declared_size, sections_reach
from ..camera.profile import Profile
from ..camera.recipe import Recipe
from ..camera.section import Section, binned
from ..camera.watch import call
from ..errors import FrameRejected, ProfileError
from .cameras import Camera
from .exposures import Exposure
from .headers import HINT, frame_header, readable, set_card
from .sections import (
    STRIP,
    are_in_cards,
    columns_across,
    each_extension,
    has_text,
    number_cards,
    reach_of_cards,
    section_cards,
)

__all__ = ["Layout", "Simulation"]

_FULL = 65535.0
"""The saturation level, in adu, that is written into a card."""


@dataclass(frozen=True)
class Layout:
    """The raw frames of one binning: which pixel belongs to which amplifier.

    Parameters
    ----------
    amplifiers : AmplifierSet
        With gain and read noise.
    shapes : dict
        Rows and columns of the raw image of each extension.
    owners : dict
        For each pixel of it the index of its readout.
    spills : dict
        For each readout the columns into which light leaks, and the fraction of it.
    cards : dict
        For each extension the cards of sections and numbers that the profile reads.
    """

    amplifiers: AmplifierSet
    shapes: Mapping[int | str | None, tuple[int, int]]
    owners: Mapping[int | str | None, np.ndarray]
    spills: Mapping[int, tuple[np.ndarray, np.ndarray]]
    cards: Mapping[int | str | None, Mapping[str, object]]

    @property
    def size(self) -> tuple[int, int, int, int]:
        """Rows and columns of the raw frame, then of its data."""
        return (*next(iter(self.shapes.values())), *self.amplifiers.shape)

    def spread(self, values: Sequence[float]) -> np.ndarray:
        """Return for each pixel of the trimmed frame the value of its amplifier, or NaN."""
        image = np.full(self.amplifiers.shape, np.nan, np.float32)
        for readout, value in zip(self.amplifiers.readouts, values, strict=True):
            image[readout.place.slices()] = value
        return image

    @property
    def gains(self) -> list[float]:
        """The gain of each amplifier in electron / adu."""
        return [r.gain for r in self.amplifiers.readouts if r.gain is not None]

    @property
    def numbers(self) -> tuple[tuple[float | None, float | None], ...]:
        """Gain and saturation level of each amplifier; light is chosen to fit them."""
        return tuple((r.gain, r.saturation) for r in self.amplifiers.readouts)

    @property
    def gain(self) -> np.ndarray:
        """The gain of each pixel of the trimmed frame."""
        return self.spread(self.gains)


@dataclass(frozen=True, eq=False)
class Simulation:
    """A camera on one night, and the images of its chip and light.

    Images are made unbinned, so that frames of any binning show the same chip, and each
    only once; ``results`` contains them.

    Parameters
    ----------
    profile, seed, binning, shape, header, gain, read_noise, drift, cosmic_rays, statistic
        As in `ccdprofiles.simulate_night`, as plain numbers in electron and adu.
    camera : Camera
        How the instrument writes its files.
    reference : mapping
        The longest exposure of each type, in seconds.
    """

    profile: Profile
    camera: Camera
    seed: int
    binning: tuple[int, int]
    shape: tuple[int, int] | None
    header: Callable | None
    gain: float
    read_noise: float
    drift: float | None
    cosmic_rays: float
    statistic: Callable[[np.ndarray], float]
    reference: Mapping[str, float]
    results: dict = field(default_factory=dict, init=False, repr=False)

    @property
    def recipe(self) -> Recipe:
        """The recipe of the profile, which is not a function here."""
        return self.profile.recipe  # type: ignore[return-value]

    @property
    def dispersion(self) -> str | None:
        """The axis of the wavelength, ``x`` or ``y``; None for an imaging camera."""
        return getattr(self.recipe.flat, "dispersion", None)

    def once(self, key: tuple, make: Callable):
        """Return the stored result for this key, or compute it."""
        if key not in self.results:
            self.results[key] = make()
        return self.results[key]

    def random(self, *key: object) -> np.random.Generator:
        """Return a generator for one purpose, independent of all others."""
        return np.random.default_rng([self.seed, zlib.crc32(repr(key).encode())])

    def image(
        self, key: tuple, make: Callable[[Simulation, int, int], np.ndarray], shot: Exposure
    ) -> np.ndarray:
        """Return an image in the binning of a frame; it is made unbinned from rows and columns."""
        full = self.once(key, lambda: make(self, *self.size(shot)))
        return self.once((*key, shot.binning), lambda: self.rebinned(full, shot))

    def rebinned(self, full: np.ndarray, shot: Exposure) -> np.ndarray:
        """Return the means of blocks of unbinned pixels."""
        shape, (x, y) = self.layout(shot).amplifiers.shape, shot.binning
        if (x, y) == (1, 1) and full.shape == shape:
            return full
        rows, columns = shape[0] * y, shape[1] * x
        more = [(0, max(0, rows - full.shape[0])), (0, max(0, columns - full.shape[1]))]
        full = np.pad(full, more, mode="edge")[:rows, :columns]
        return full.reshape(shape[0], y, shape[1], x).mean(axis=(1, 3), dtype=np.float32)

    def area(self, shot: Exposure) -> np.float32:
        """Return the area of a pixel of this frame, relative to the binning of the night."""
        return np.float32(np.prod(shot.binning) / np.prod(self.binning))

    def size(self, shot: Exposure) -> tuple[int, int]:
        """Return the unbinned rows and columns of the trimmed frame."""

        def unbinned() -> tuple[int, int]:
            rows, columns = self.layout(shot).amplifiers.shape
            return rows * shot.binning[1], columns * shot.binning[0]

        return self.once(("size",), unbinned)

    def header_of(self, shot: Exposure):
        """Return the header of a frame."""
        return frame_header(self.profile, self.camera, shot, self.header)

    def layout(self, shot: Exposure) -> Layout:
        """Return the positions and the numbers of the amplifiers in a raw frame."""
        cards = tuple(str(shot.exposures.cards.get(card)) for card in self._number_cards)
        key = ("layout", shot.binning, cards)
        with readable(self.profile):
            return self.once(key, lambda: _layout(self, shot))

    @property
    def _number_cards(self) -> tuple[str, ...]:
        """The cards of the numbers of amplifiers, of which a series of frames may have its own."""
        amplifiers = self.profile.amplifiers
        return () if callable(amplifiers) else tuple(c for a in amplifiers for c in a.cards)


def _layout(simulation: Simulation, shot: Exposure) -> Layout:
    profile = simulation.profile
    header = simulation.header_of(shot)
    for card in simulation._number_cards:
        if shot.exposures.cards.get(card) is not None:
            set_card(header, card, shot.exposures.cards[card])
    amplifiers, shapes = _raw_images(simulation, header, shot)
    cards = _cards(simulation, amplifiers, shapes, header, shot.binning)
    headers = {}
    for extension in shapes:
        headers[extension] = header.copy()
        for card, value in cards.get(extension, {}).items():
            set_card(headers[extension], card, value)
    try:
        placed = profile.amplifiers_of(header, shapes, headers)
    except FrameRejected as error:
        raise ProfileError(f"{profile.name}: {error} {HINT}") from error
    gain, noise = simulation.gain, simulation.read_noise
    readouts = tuple(
        replace(r, gain=r.gain or gain, read_noise=r.read_noise or noise) for r in placed.readouts
    )
    owners = {}
    for extension, shape in shapes.items():
        here = [k for k, r in enumerate(readouts) if r.extension == extension]
        owners[extension] = np.array(here, np.int8)[_owners([readouts[k] for k in here], shape)]
    spills = {
        k: _spill(k, readouts, owners[r.extension], simulation.camera.reach)
        for k, r in enumerate(readouts)
    }
    return Layout(replace(placed, readouts=readouts), shapes, owners, spills, cards)


def _raw_images(
    simulation: Simulation, header: fits.Header, shot: Exposure
) -> tuple[tuple[Amplifier, ...], dict[int | str | None, tuple[int, int]]]:
    """Return the amplifiers of a frame, and the rows and columns of each raw image.

    Functions of the profile may read the size of the image, on which it may depend in turn;
    ``header`` then has the size that both agree on.
    """
    rows, columns = simulation.shape or simulation.camera.shape
    header.setdefault("NAXIS1", columns)
    header.setdefault("NAXIS2", rows)
    for _ in range(3):
        amplifiers = _amplifiers(simulation.profile, header)
        shapes = {
            extension: _shape(simulation, header, amplifiers, extension, shot.binning)
            for extension in dict.fromkeys(a.extension for a in amplifiers)
        }
        rows, columns = next(iter(shapes.values()))
        if (header["NAXIS2"], header["NAXIS1"]) == (rows, columns):
            break
        header["NAXIS1"], header["NAXIS2"] = columns, rows
    return amplifiers, shapes


def _amplifiers(profile: Profile, header: Mapping) -> tuple[Amplifier, ...]:
    """Return the amplifiers for a header, one for each extension."""
    amplifiers = profile.amplifiers
    if callable(amplifiers):
        amplifiers = tuple(call(amplifiers, header))
        check_amplifiers(amplifiers)
    return each_extension(amplifiers)


def _cards(
    simulation: Simulation,
    amplifiers: Sequence[Amplifier],
    shapes: Mapping[int | str | None, tuple[int, int]],
    header: Mapping,
    binning: tuple[int, int],
) -> dict[int | str | None, dict[str, object]]:
    """Return the cards that the profile reads, and that the header lacks."""
    usual = {
        "gain": simulation.gain,
        "read_noise": simulation.read_noise,
        "saturation": _FULL,
        "linear": _FULL,
    }
    cards = number_cards(amplifiers, header, usual)
    if not _lacks_sections(amplifiers, header):
        return cards
    bins = simulation.profile.overscan_bins
    for extension, own in section_cards(amplifiers, shapes, binning, bins).items():
        cards.setdefault(extension, {}).update(own)
    return cards


def _lacks_sections(amplifiers: Sequence[Amplifier], header: Mapping) -> bool:
    """Return True if sections are read from cards that the header lacks."""
    missing = [c for a in amplifiers for c in a.section_cards if not has_text(header, c)]
    return bool(missing) and are_in_cards(amplifiers)


def _shape(
    simulation: Simulation,
    header: Mapping,
    amplifiers: Sequence[Amplifier],
    extension: int | str | None,
    binning: tuple[int, int],
) -> tuple[int, int]:
    """Return the rows and columns of the raw image of an extension."""
    if simulation.shape is not None and binning == simulation.binning:
        return simulation.shape
    profile = simulation.profile
    size = profile.frame_size
    size = call(size, header) if callable(size) else size
    here = [a for a in amplifiers if a.extension == extension]
    open_rows, open_columns = simulation.camera.shape
    columns, rows = declared_size(size, extension) or sections_reach(here)
    width, height = columns or open_columns, rows or open_rows
    if any(a.section_cards for a in here):
        return _shape_of_cards(here, header, (width, height), size is None, binning, profile)
    literal = [Section.parse(a.data) for a in here]
    whole = [section.within((height, width)) for section in literal]
    bins = profile.overscan_bins
    frame = Section(1, width, 1, height)
    (image,) = binned([frame], whole, *binning, bins, rows_bin(here, bins))
    return image.height, image.width


def _shape_of_cards(
    amplifiers: Sequence[Amplifier],
    header: Mapping,
    size: tuple[int, int],
    is_open: bool,
    binning: tuple[int, int],
    profile: Profile,
) -> tuple[int, int]:
    """Return the rows and columns of a raw image whose sections are in cards."""
    if is_open and not _lacks_sections(amplifiers, header):
        columns, rows = reach_of_cards(amplifiers, header)
        return rows or size[1] // binning[1], columns or size[0] // binning[0]
    across = columns_across(len(amplifiers))
    fixed = 0 if profile.overscan_bins else across * STRIP * any(a.strips for a in amplifiers)
    return size[1] // binning[1], (size[0] - fixed) // binning[0] + fixed


def _owners(readouts: Sequence[Readout], shape: tuple[int, int]) -> np.ndarray:
    """Return the readout of each pixel: for data by section, otherwise by the nearest strip."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    anchors = [r.overscan or r.data for r in readouts]
    gaps = [
        np.maximum(np.maximum(s.first_row - 1 - rows, rows - s.last_row + 1), 0)
        + np.maximum(np.maximum(s.first_column - 1 - columns, columns - s.last_column + 1), 0)
        for s in anchors
    ]
    owners = np.argmin(gaps, axis=0).astype(np.int8)
    for k, readout in enumerate(readouts):
        owners[readout.data.slices()] = k
    return owners


def _spill(
    k: int, readouts: Sequence[Readout], owners: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns beside the data of an amplifier that light leaks into, and how much.

    Useful overscan receives none; the leak falls off with the distance from the data.
    """
    own = readouts[k]
    beside = [r for r in readouts if r.extension == own.extension]
    columns = np.flatnonzero(owners[0] == k)
    for section in (r.data for r in beside):
        columns = np.setdiff1d(columns, np.arange(section.first_column - 1, section.last_column))
    first, last = own.data.first_column - 1, own.data.last_column
    after = columns[columns >= last]
    distance = np.where(columns < first, first - columns, columns - after[:1].sum() + 1)
    useful = np.zeros(owners.shape[1], bool)
    for section in (strip for r in beside for strip in r.strips):
        useful[section.slices()[1]] = True
    lit = ~useful[columns]
    return columns[lit], np.exp(-(distance[lit] - 1) / reach).astype(np.float32)
