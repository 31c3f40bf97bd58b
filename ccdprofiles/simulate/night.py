"""Make up a night: raw frames as an instrument writes them, and the truth behind them.

A simulated night takes the place of data that nobody has yet: a profile can be
tried before the first clear night, and a reduction can be held against what the
chip really held. Everything follows from ``seed``: the same seed gives the same
bytes, in whatever order the frames are listed, and a frame does not change when
others are added to the night.

>>> import tempfile
>>> from ccdprofiles.simulate import simulate_night, windowed
>>> with tempfile.TemporaryDirectory() as folder:
...     truth = simulate_night(windowed("lfc", 60, 80), folder)
>>> truth.bias.shape, sorted(truth.flats)
((60, 80), ["g'", "i'"])
"""

from __future__ import annotations

import fnmatch
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from ..camera.amplifier import Amplifier, Readout
from ..camera.frame_size import declared_size, sections_reach
from ..camera.frame_types import FRAME_TYPES
from ..camera.profile import Profile
from ..camera.recipe import Recipe, SpectralFlat
from ..camera.registry import load_profile
from ..camera.section import Section, binned
from ..camera.values import GAIN, quantity
from ..errors import FrameRejected, OutputError, ProfileError
from .cameras import CAMERAS, Camera, Exposure, Exposures
from .chip import _dust, _emission, _hit, _Layout, _star
from .truth import Truth

__all__ = ["simulate_night"]

READOUT = 40.0
"""Seconds between the end of an exposure and the next."""

COSMIC_RAY_RATE = 1.5e-7
"""Hits a pixel and second."""

_HOURS = {"bias": 3.0, "dark": 3.5, "flat": 6.0, "arc": 7.5, "science": 9.0}


def simulate_night(
    profile: Profile | str,
    folder: str | Path,
    *,
    seed: int = 0,
    frames: Sequence[Exposures] | None = None,
    header: Callable[[str, float, str | None, int], Mapping] | None = None,
    gain: u.Quantity = 1.5 * GAIN,
    read_noise: u.Quantity = 8 * u.electron,
    drift: u.Quantity | None = None,
    cosmic_rays: float = True,
    binning: tuple[int, int] | None = None,
    shape: tuple[int, int] | None = None,
    statistic: Callable[[np.ndarray], float] | None = None,
) -> Truth:
    """Write the raw frames of a made-up night, and return the truth behind them.

    Parameters
    ----------
    profile : Profile or str
        A camera, or the name of one.
    folder : path
        Made if it is not there.
    seed : int
        From which all follows.
    frames : sequence of Exposures, optional
        What is taken; left out, a usual night of the instrument.
    header : callable, optional
        Gives further cards for the type, exposure, filter and number of a frame;
        needed where the profile reads a header by functions of its own.
    gain, read_noise : Quantity
        Taken where the profile does not know them.
    drift : Quantity, optional
        Standard deviation, in adu, of the pedestal from frame to frame. Left out,
        2 adu in amplifiers whose overscan follows it and none in the others,
        where nothing could take it out.
    cosmic_rays : bool or float
        Whether darks and science frames are hit, or how many times the usual rate.
    binning : tuple of int, optional
        Columns and rows; left out, as the instrument is mostly used.
    shape : tuple of int, optional
        Rows and columns of the raw frame, where the profile's sections reach to
        an edge that it does not name.
    statistic : callable, optional
        Normalises the true flats in place of the recipe's own.

    Returns
    -------
    Truth

    Raises
    ------
    ProfileError
        If the profile does not recognise the frames that were made for it.
    OutputError
        If the folder holds a file of that name already.
    """
    profile = load_profile(profile) if isinstance(profile, str | Path) else profile
    if callable(profile.recipe):
        raise ProfileError(
            f"{profile.name}: its recipe= is a function, and a night is made up after one recipe; "
            "give dataclasses.replace(profile, recipe=Recipe(...))."
        )
    camera = _camera_of(profile)
    binning = binning or (camera.binning if profile.binning is not None else (1, 1))
    if frames is None:
        frames = camera.night or _usual_night(profile)
    if not frames:
        raise ProfileError("frames=[] is empty; a night has at least one Exposures(...).")
    shots = _schedule(frames, camera, binning)
    night = _Night(
        profile=profile,
        camera=camera,
        seed=seed,
        binning=binning,
        shape=shape,
        header=header,
        gain=quantity(gain, GAIN, "gain"),
        read_noise=quantity(read_noise, u.electron, "read_noise"),
        drift=None if drift is None else u.Quantity(drift, u.adu).value,
        cosmic_rays=float(cosmic_rays),
        statistic=statistic or _STATISTICS[getattr(profile.recipe.flat, "scale", "median")],
        reference={s.type: max(o.exposure for o in shots if o.type == s.type) for s in shots},
    )
    folder = Path(folder)
    _refuse_to_replace(folder, shots)
    return _written(night, shots, folder)


# The order of a night.


def _camera_of(profile: Profile) -> Camera:
    """Find the instrument whose headers a profile knows; a camera like any other if there is none."""
    if profile.instruments:
        shot = _schedule([Exposures("science", 1, 1.0)], Camera(), (1, 1))[0]
        for camera in CAMERAS:
            if profile.fits(_filled(camera.cards(shot))):
                return camera
    return Camera()


def _schedule(
    exposures: Sequence[Exposures], camera: Camera, binning: tuple[int, int]
) -> list[Exposure]:
    """Put the frames of a night in order, whatever the order they are listed in."""
    wanted = []
    for run in exposures:
        times = run.exposure if isinstance(run.exposure, Sequence) else (run.exposure,)
        for k in range(run.number):
            seconds = 0.0 if run.type == "bias" else float(times[k % len(times)])
            start = _HOURS[run.type] if run.start is None else run.start
            order = (start, FRAME_TYPES.index(run.type), run.filter or "", seconds, run.folder)
            wanted.append((order, run, seconds))
    wanted.sort(key=lambda w: w[0])
    counters: dict[tuple, count] = {}

    def next_of(*key: object) -> int:
        return next(counters.setdefault(key, count(1)))

    clock = 0.0
    shots = []
    for (start, *_), run, seconds in wanted:
        clock = max(clock, start * 3600)
        title = camera.objects.get(run.type, run.type) if run.object is None else run.object
        title = title.format(filter=(run.filter or "").strip("'"))
        shot = Exposure(
            type=run.type,
            exposure=seconds,
            filter=run.filter,
            object=title,
            when=datetime.fromisoformat(camera.date) + timedelta(seconds=round(clock)),
            number=next_of(run.folder, run.type, run.filter, title),
            running=next_of(run.folder),
            rank=next_of(run.folder, run.type, run.filter, title, seconds, run.binning),
            binning=run.binning or binning,
            exposures=run,
        )
        shots.append(replace(shot, file=str(Path(run.folder, camera.file(shot)).as_posix())))
        clock += seconds + READOUT
    return shots


def _usual_night(profile: Profile) -> tuple[Exposures, ...]:
    """Take what the recipe needs."""
    recipe = profile.recipe
    spectra = isinstance(recipe.flat, SpectralFlat)
    flat, science = (20.0, 300.0) if spectra else (3.0, 60.0)
    named = None if profile.filter is None or spectra else "V"
    night = [Exposures("science", 3, science, named)]
    if recipe.bias:
        night.append(Exposures("bias", 9))
    if recipe.dark is not None:
        night.append(Exposures("dark", 7, science))
    if recipe.flat is not None:
        night.append(Exposures("flat", 6, flat, named))
        if recipe.dark == "match":
            night.append(Exposures("dark", 8, flat))
    if spectra:
        night.append(Exposures("arc", 2, 10.0, named))
    return tuple(night)


def _refuse_to_replace(folder: Path, shots: Sequence[Exposure]) -> None:
    names = [shot.file for shot in shots]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise OutputError(f"two frames of the night would be named {min(twice)}.")
    for name in names:
        if (folder / name).exists():
            raise OutputError(f"{folder / name} is there already; give an empty folder.")


# Cards.


def _header(night: _Night, shot: Exposure) -> fits.Header:
    """Write a header as the instrument does, and see that the profile understands it."""
    profile = night.profile
    header = _filled(night.camera.cards(shot))
    _complete(header, profile, shot)
    if night.header is not None:
        header.update(night.header(shot.type, shot.exposure, shot.filter, shot.number))
    _check_recognised(header, profile, shot)
    return header


def _filled(cards: Mapping) -> fits.Header:
    header = fits.Header()
    for card, value in cards.items():
        header[card] = value
    return header


def _complete(header: fits.Header, profile: Profile, shot: Exposure) -> None:
    """Write what the profile reads into the cards that it reads, where they say otherwise."""
    if profile.instruments and not profile.knows(header):
        header["INSTRUME"] = profile.instruments[0]
    for _ in profile.where:
        told = profile.disagreement(header)
        if told is None:
            break
        card = told.split(" = ")[0]
        wanted = profile.where[card]
        several = isinstance(wanted, tuple | list | set | frozenset)
        value = next(iter(wanted)) if several else wanted
        header[card] = _plainly(value) if isinstance(value, str) else value
    if _said(profile.frame_type_of, header) != shot.type:
        words = [w for w, kind in profile.frame_types.items() if kind == shot.type]
        word = shot.type if shot.type in words or not words else words[0]
        header[_first(profile.frame_type, "IMAGETYP")] = word.upper()
    if _said(profile.exposure_of, header) != shot.exposure and profile.exposure is not None:
        header[_first(profile.exposure, "EXPTIME")] = shot.exposure
    for name, value, card in (
        ("filter", shot.filter, "FILTER"),
        ("object", shot.object, "OBJECT"),
        ("date", f"{shot.day}T{shot.time}", "DATE-OBS"),
    ):
        cards = getattr(profile, name)
        silent = cards is not None and profile.text_of(name, header) is None
        if value and silent and not (name == "object" and not shot.lit):
            header[_first(cards, card)] = value
    if profile.binning is not None and not callable(profile.binning):
        for card, number in zip(profile.binning, shot.binning, strict=True):
            header[card] = number


def _check_recognised(header: fits.Header, profile: Profile, shot: Exposure) -> None:
    """Refuse to go on with frames that the profile would set aside."""
    hint = "give simulate_night a header= that writes the cards the profile reads."
    if not profile.fits(header):
        raise ProfileError(f"{shot.file}: the profile does not know its own camera; {hint}")
    checks = [("type", profile.frame_type_of, shot.type)]
    if profile.exposure is not None and shot.type != "bias":
        checks.append(("exposure", profile.exposure_of, shot.exposure))
    if profile.binning is not None:
        checks.append(("binning", profile.binning_of, shot.binning))
    if profile.filter is not None and shot.filter:
        checks.append(
            ("filter", lambda h: profile.text_of("filter", h) or shot.filter, shot.filter)
        )
    for what, read, wanted in checks:
        said = _said(read, header)
        if said != wanted:
            raise ProfileError(
                f"{shot.file}: the profile reads {what} {said!r} where {wanted!r} was meant; {hint}"
            )


def _said(read: Callable, header: Mapping) -> object:
    try:
        return read(header)
    except FrameRejected:
        return None


def _first(cards: object, otherwise: str) -> str:
    if isinstance(cards, str):
        return cards
    return otherwise if callable(cards) or not cards else cards[0]


def _plainly(pattern: str) -> str:
    """Return a text that a shell pattern fits."""
    text = pattern.replace("*", "").replace("?", "x")
    return text if fnmatch.fnmatchcase(text, pattern) else pattern


def _owners(readouts: Sequence[Readout], shape: tuple[int, int]) -> np.ndarray:
    """Say which readout each pixel comes through: data by its section, all else by the nearest strip."""
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
    """Let light trail into the columns that an amplifier reads before and after its data.

    Useful overscan is spared; what comes nearest to the data holds most.
    """
    mine = readouts[k]
    beside = [r for r in readouts if r.extension == mine.extension]
    columns = np.flatnonzero(owners[0] == k)
    for section in (r.data for r in beside):
        columns = np.setdiff1d(columns, np.arange(section.first_column - 1, section.last_column))
    first, last = mine.data.first_column - 1, mine.data.last_column
    after = columns[columns >= last]
    distance = np.where(columns < first, first - columns, columns - after[:1].sum() + 1)
    useful = np.zeros(owners.shape[1], bool)
    for section in (r.overscan for r in beside if r.overscan is not None):
        useful[section.slices()[1]] = True
    spared = ~useful[columns]
    return columns[spared], np.exp(-(distance[spared] - 1) / reach).astype(np.float32)


@dataclass(eq=False)
class _Night:
    """A camera on one night: its chip, the light on it, and what they give.

    Images of the chip are worked out unbinned, so that frames of any binning show
    the same one, and are kept.
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
    kept: dict = field(default_factory=dict)

    def once(self, key: tuple, make: Callable[[], object]) -> object:
        """Return what was made before for this key, or make it."""
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]

    def random(self, *key: object) -> np.random.Generator:
        """Return the random numbers of one thing, whatever else was drawn."""
        return np.random.default_rng([self.seed, zlib.crc32(repr(key).encode())])

    @property
    def recipe(self) -> Recipe:
        return self.profile.recipe

    # Where things lie.

    def layout(self, shot: Exposure) -> _Layout:
        """Fit the amplifiers into the raw frames of this shot's binning."""
        return self.once(("layout", shot.binning), lambda: self._layout(shot))

    def _layout(self, shot: Exposure) -> _Layout:
        header = _header(self, shot)
        amplifiers = self.profile.amplifiers
        amplifiers = tuple(amplifiers(header)) if callable(amplifiers) else amplifiers
        shapes = self._shapes(header, amplifiers, shot.binning)
        found = self.profile.amplifiers_of(header, shapes)
        readouts = tuple(
            replace(r, gain=r.gain or self.gain, read_noise=r.read_noise or self.read_noise)
            for r in found.readouts
        )
        owners = {}
        for extension, shape in shapes.items():
            here = [k for k, r in enumerate(readouts) if r.extension == extension]
            owners[extension] = np.array(here, np.int8)[_owners([readouts[k] for k in here], shape)]
        spills = {
            k: _spill(k, readouts, owners[r.extension], self.camera.reach)
            for k, r in enumerate(readouts)
        }
        return _Layout(replace(found, readouts=readouts), shapes, owners, spills)

    def _shapes(
        self, header: Mapping, amplifiers: tuple[Amplifier, ...], binning: tuple[int, int]
    ) -> dict:
        """Find the rows and columns of the raw image of each extension."""
        given = self.profile.frame_size
        given = given(header) if callable(given) else given
        shapes = {}
        for extension in {a.extension: None for a in amplifiers}:
            if self.shape is not None and binning == self.binning:
                shapes[extension] = tuple(self.shape)
                continue
            here = [a for a in amplifiers if a.extension == extension]
            open_rows, open_columns = self.camera.shape
            columns, rows = declared_size(given, extension) or sections_reach(here)
            width, height = columns or open_columns, rows or open_rows
            whole = [Section.parse(a.data).within((height, width)) for a in here]
            (image,) = binned(
                [Section(1, width, 1, height)], whole, *binning, self.profile.overscan_bins
            )
            shapes[extension] = (image.height, image.width)
        return shapes

    # The chip.

    def chip(self, name: str, shot: Exposure) -> np.ndarray:
        """Return one image of the chip in this shot's binning, per pixel of the night's."""
        full = self.once((name,), lambda: getattr(self, f"_{name}")(*self._size(shot)))
        return self._rebinned((name,), full, shot)

    def _size(self, shot: Exposure) -> tuple[int, int]:
        """Return the rows and columns of the trimmed frame, unbinned."""
        if "size" not in self.kept:
            rows, columns = self.layout(shot).amplifiers.shape
            self.kept["size"] = (rows * shot.binning[1], columns * shot.binning[0])
        return self.kept["size"]

    def _rebinned(self, key: tuple, full: np.ndarray, shot: Exposure) -> np.ndarray:
        shape = self.layout(shot).amplifiers.shape
        return self.once((*key, shot.binning), lambda: _means(full, shape, *shot.binning))

    def area(self, shot: Exposure) -> np.float32:
        """Return how large a pixel of this shot is beside one of the night's binning."""
        return np.float32(np.prod(shot.binning) / np.prod(self.binning))

    def _structure(self, rows: int, columns: int) -> np.ndarray:
        """Return the fixed pattern of the bias, in adu: a glow at the edge, columns, a slow wave."""
        random = self.random("structure")
        pattern = 6 * np.exp(-np.arange(columns) / max(4, columns / 60))
        pattern += random.normal(0, 0.8, columns)
        wave = 1.5 * np.sin(2 * np.pi * np.arange(rows) / rows * 1.7 + 0.4)
        return (wave[:, None] + pattern).astype(np.float32)

    def _hot(self, rows: int, columns: int) -> np.ndarray:
        """Return the dark current that hot pixels have on top of the others, in electron / s."""
        x, y = self.binning
        random = self.random("hot")
        number = max(3, round(self.camera.hot * rows * columns / (x * y)))
        low, high = np.log(self.camera.hot_rates)
        hot = np.zeros((rows, columns), np.float32)
        places = random.choice(rows * columns, number, replace=False, shuffle=False)
        hot.flat[places] = np.exp(random.uniform(low, high, number)) * (x * y)
        return hot

    def _dark(self, rows: int, columns: int) -> np.ndarray:
        """Return the dark current in electron / s: even, a glow in a corner, and hot pixels."""
        up = (np.arange(rows) / rows - 1) ** 2
        across = (np.arange(columns) / columns - 1) ** 2
        glow = np.exp(-up / 0.02)[:, None] * np.exp(-across / 0.02)
        hot = self.once(("hot",), lambda: self._hot(rows, columns))
        return (self.camera.dark + self.camera.glow * glow).astype(np.float32) + hot

    def _response(self, rows: int, columns: int) -> np.ndarray:
        """Return the response of each pixel, of 1 % scatter in the night's binning."""
        scatter = np.float32(0.01 * np.sqrt(np.prod(self.binning)))
        return 1 + scatter * self.random("response").standard_normal(
            (rows, columns), dtype=np.float32
        )

    # The light.

    def optics(self, filter: str, shot: Exposure) -> np.ndarray:
        """Return what the telescope lets through: vignetting and dust, or the slit."""
        make = self._slit if self.spectral else self._vignetting
        key = ("optics", filter)
        full = self.once(key, lambda: make(filter, *self._size(shot)))
        return self._rebinned(key, full, shot)

    @property
    def spectral(self) -> bool:
        return isinstance(self.recipe.flat, SpectralFlat)

    def _vignetting(self, filter: str, rows: int, columns: int) -> np.ndarray:
        up, across = np.arange(rows) / rows - 0.5, np.arange(columns) / columns - 0.5
        tilt = 0.02 + 0.03 * _share_of(filter)
        image = (1 - 0.45 * up**2)[:, None] - 0.45 * across**2 - tilt * across
        image = image.astype(np.float32)
        for random in (self.random("dust"), self.random("dust", filter)):
            for _ in range(7):
                _dust(image, random)
        return image

    def _slit(self, filter: str, rows: int, columns: int) -> np.ndarray:
        """Illuminate the slit but for its ends, evenly along the dispersion."""
        s, edge = self._along_slit(rows, columns), 0.006
        lit = 0.25 * (1 + np.tanh((s - 0.1) / edge)) * (1 + np.tanh((0.91 - s) / edge))
        lit = lit * (1 - 0.3 * (s - 0.45) ** 2)
        return np.broadcast_to(lit, (rows, columns)).astype(np.float32)

    def _along_slit(self, rows: int, columns: int) -> np.ndarray:
        """Return 0 to 1 along the slit, in the shape of a row or a column."""
        if self.recipe.flat.dispersion == "x":
            return (np.arange(rows) / rows)[:, None]
        return (np.arange(columns) / columns)[None, :]

    def _along_spectrum(self, rows: int, columns: int) -> np.ndarray:
        """Return 0 to 1 from blue to red, in the shape of a row or a column."""
        if self.recipe.flat.dispersion == "x":
            wave = (np.arange(columns) / columns)[None, :]
        else:
            wave = (np.arange(rows) / rows)[:, None]
        return 1 - wave if self.camera.backwards else wave

    def light(self, shot: Exposure, filter: str) -> np.ndarray:
        """Return the light before the telescope: electrons for a flat, else electron / s."""
        rows, columns = self._size(shot)
        gains = [r.gain for r in self.layout(shot).amplifiers.readouts]
        electrons = float(np.mean(gains))
        if shot.type == "flat":
            light = self._lamp(rows, columns) * self.camera.flat * electrons
        else:
            make = self._field if not self.spectral else self._spectrum
            make = self._lines if shot.type == "arc" else make
            light = make(shot, filter, rows, columns)
            light = light * (electrons / (self.reference[shot.type] or 1.0))
        light = np.broadcast_to(light.astype(np.float32), (rows, columns))
        return _means(light, self.layout(shot).amplifiers.shape, *shot.binning)

    def _lamp(self, rows: int, columns: int) -> np.ndarray:
        """Return a lamp: even, or of a spectrum that is smooth along the dispersion."""
        if not self.spectral:
            return np.ones((1, 1))
        wave = self._along_spectrum(rows, columns)
        return 1.1 * np.exp(-0.5 * ((wave - 0.6) / 0.42) ** 2)

    def _full(self, shot: Exposure) -> float:
        """Return the level in adu that a pixel can hold."""
        levels = [r.saturation for r in self.layout(shot).amplifiers.readouts]
        return min((level for level in levels if level is not None), default=65535.0)

    def _field(self, shot: Exposure, filter: str, rows: int, columns: int) -> np.ndarray:
        """Return sky and stars in adu at the reference exposure; the brightest star saturates."""
        x, y = self.binning
        random = self.random("field", shot.exposures.object)
        number = int(np.clip(rows * columns / (x * y) / 2500, 8, 1500))
        colour = self.random("field", shot.exposures.object, filter).uniform(0.6, 1.0, number)
        full = self._full(shot)
        peaks = np.exp(random.uniform(np.log(40), np.log(0.3 * full), number)) * colour
        peaks[0] = 1.5 * full
        across, up = random.uniform(0, columns, number), random.uniform(0, rows, number)
        sky = self.camera.sky * (0.7 + 0.6 * _share_of(filter))
        image = np.full((rows, columns), sky, np.float32)
        for column, row, peak in zip(across, up, peaks, strict=True):
            _star(image, row, column, peak, 1.8 * y, 1.8 * x)
        return image

    def _spectrum(self, shot: Exposure, filter: str, rows: int, columns: int) -> np.ndarray:
        """Return a night sky with its lines and the trace of a star, in adu."""
        wave, s = self._along_spectrum(rows, columns), self._along_slit(rows, columns)
        sky = self.camera.sky * (0.4 + 0.6 * wave) + _emission(
            wave, self.random("sky"), 14, (0.5 * self.camera.sky, 8 * self.camera.sky)
        )
        star = 0.3 + 0.7 * np.sin(np.pi * (0.15 + 0.7 * wave))
        for centre in (0.22, 0.41, 0.73):
            star = star * (1 - 0.5 * np.exp(-0.5 * ((wave - centre) / 0.004) ** 2))
        width = max(2.5 / s.size, 0.004)
        trace = np.exp(-0.5 * ((s - 0.5 - 0.02 * (wave - 0.5)) / width) ** 2)
        return sky + 0.06 * self._full(shot) * star * trace

    def _lines(self, shot: Exposure, filter: str, rows: int, columns: int) -> np.ndarray:
        """Return the lines of an arc lamp, in adu."""
        full = self._full(shot)
        wave = self._along_spectrum(rows, columns)
        return 0.0003 * full + _emission(wave, self.random("arc"), 30, (0.003 * full, 0.3 * full))

    # What a frame holds.

    def efficiency(self, filter: str, shot: Exposure) -> np.ndarray:
        """Return what becomes of the light: optics times the response of the pixels."""
        return self.once(
            ("efficiency", filter, shot.binning),
            lambda: self.optics(filter, shot) * self.chip("response", shot),
        )

    def electrons(self, shot: Exposure, filter: str) -> np.ndarray:
        """Return the light that a frame is expected to collect, in electron."""
        if not shot.lit:
            return np.float32(0)
        seconds = 1.0 if shot.type == "flat" else shot.exposure
        key = ("electrons", shot.type, filter, shot.exposures.object, seconds, shot.binning)
        light = self.once(
            key,
            lambda: (
                self.light(shot, filter)
                * self.efficiency(filter, shot)
                * (self.area(shot) * np.float32(seconds))
            ),
        )
        return light * np.float32(shot.exposures.light)

    def pedestals(self, layout: _Layout) -> list[float]:
        """Return the level of each amplifier in adu."""
        levels = self.camera.pedestals
        return [levels[k % len(levels)] for k in range(len(layout.amplifiers.readouts))]

    def image(self, shot: Exposure, filter: str) -> tuple[dict, np.ndarray]:
        """Read a frame out: the raw image of each extension, and the pixels that were hit."""
        layout = self.layout(shot)
        random = self.random("frame", shot.key)
        light = self.electrons(shot, filter) * np.float32(
            random.uniform(0.85, 1.1) if shot.type == "flat" else 1
        )
        dark = self.chip("dark", shot) * (self.area(shot) * np.float32(shot.exposure))
        charge = random.poisson(light + dark).astype(np.float32) if shot.type != "bias" else dark
        hit = np.zeros(layout.amplifiers.shape, bool)
        if shot.type in ("dark", "science") and self.cosmic_rays:
            rate = COSMIC_RAY_RATE * self.cosmic_rays * np.prod(shot.binning)
            _hit(charge, hit, rate * charge.size * shot.exposure, random)
        spill = [float(np.mean(light)), float(np.median(dark))]
        return self._read(layout, shot, charge, spill, random), hit

    def _read(
        self,
        layout: _Layout,
        shot: Exposure,
        charge: np.ndarray,
        spill: Sequence[float],
        random: np.random.Generator,
    ) -> dict:
        """Turn charge into numbers, with the bias, its drift, and the noise of the amplifiers."""
        readouts = layout.amplifiers.readouts
        levels = self._levels(layout, random)
        structure = self.chip("structure", shot)
        images = {}
        for extension, shape in layout.shapes.items():
            owners = layout.owners[extension]
            noise = np.array([r.read_noise / r.gain for r in readouts], np.float32)
            image = random.standard_normal(shape, dtype=np.float32) * _taken(noise, owners)
            image += _taken(levels, owners)
            for k, r in enumerate(readouts):
                if r.extension != extension:
                    continue
                image[r.data.slices()] += charge[r.place.slices()] / np.float32(r.gain)
                image[r.data.slices()] += structure[r.place.slices()]
                columns, decay = layout.spills[k]
                stray = self.camera.leak * spill[0] / r.gain * decay + spill[1] / r.gain
                stray += self.camera.offsets[int(shot.lit)]
                image[:, columns] += stray.astype(np.float32)
                if r.overscan is not None:
                    image[r.overscan.slices()] += np.float32(shot.exposures.overscan_light)
                top = r.saturation or np.inf
                image[r.data.slices()] = np.minimum(image[r.data.slices()], np.float32(top))
            images[extension] = _whole(image, readouts)
        return images

    def _levels(self, layout: _Layout, random: np.random.Generator) -> np.ndarray:
        """Return the pedestal of each amplifier and row, which drifts from frame to frame."""
        rows = max(shape[0] for shape in layout.shapes.values())
        by_row = self.recipe.overscan in ("median", "mean")
        levels = []
        for pedestal, readout in zip(
            self.pedestals(layout), layout.amplifiers.readouts, strict=True
        ):
            drift = self.drift
            if drift is None:
                drift = 0.0 if readout.overscan is None else self._usual_drift()
            shift, turn, slope = random.normal(0, 1, 3)
            wave = np.sin(2 * np.pi * np.arange(rows) / rows + turn) * 0.3 * slope * by_row
            levels.append(pedestal + drift * (shift + wave))
        return np.array(levels, np.float32)

    def _usual_drift(self) -> float:
        """Return 2 adu, or less where the recipe would take so much for a fault."""
        limit = self.recipe.overscan_drift
        return 2.0 if limit is None else min(2.0, limit.to_value(u.adu) / 5)


def _taken(values: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Give each pixel of a raw image the value of its amplifier, or of its amplifier and row."""
    first = owners.flat[0]
    if (owners == first).all():
        return values[first] if values.ndim == 1 else values[first][: owners.shape[0], None]
    if values.ndim == 1:
        return values[owners]
    return values[owners, np.arange(owners.shape[0])[:, None]]


def _whole(image: np.ndarray, readouts: Sequence[Readout]) -> np.ndarray:
    """Round to the whole numbers that the camera writes: 16 bits, or 32 where it counts further."""
    far = any(r.saturation is not None and r.saturation > 65535 for r in readouts)
    image = np.rint(image, out=image)
    if far:
        return np.maximum(image, 0).astype(np.int32)
    return np.clip(image, 0, 65535).astype(np.uint16)


def _means(full: np.ndarray, shape: tuple[int, int], x: int, y: int) -> np.ndarray:
    """Average blocks of y rows and x columns."""
    if (x, y) == (1, 1) and full.shape == shape:
        return full
    rows, columns = shape[0] * y, shape[1] * x
    more = [(0, max(0, rows - full.shape[0])), (0, max(0, columns - full.shape[1]))]
    full = np.pad(full, more, mode="edge")[:rows, :columns]
    return full.reshape(shape[0], y, shape[1], x).mean(axis=(1, 3), dtype=np.float32)


def _share_of(word: str) -> float:
    """Return a number from 0 to 1 that belongs to a word."""
    return zlib.crc32(word.encode()) % 1000 / 1000


# Files, and the truth behind them.


def _written(night: _Night, shots: Sequence[Exposure], folder: Path) -> Truth:
    """Write every frame, and gather what they hold."""
    profile = night.profile
    filters, hits = {}, {}
    for shot in shots:
        shot = replace(shot, size=night.layout(shot).size)
        header = _header(night, shot)
        filters[shot.file] = profile.text_of("filter", header) or ""
        images, hit = night.image(shot, filters[shot.file])
        if shot.type in ("dark", "science"):
            hits[shot.file] = hit
        for card, value in shot.exposures.cards.items():
            if value is None:
                header.remove(card, ignore_missing=True)
            else:
                header[card] = value
        _write(folder / shot.file, header, images)
    return _truth(night, shots, folder, filters, hits)


def _write(path: Path, header: fits.Header, images: Mapping) -> None:
    """Write one file: the image in the primary HDU, or each amplifier's in its extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    primary = next((images[e] for e in (None, 0) if e in images), None)
    hdus = fits.HDUList([fits.PrimaryHDU(primary, header)])
    for extension, image in images.items():
        if extension not in (None, 0):
            name = extension if isinstance(extension, str) else None
            hdus.append(fits.ImageHDU(image, name=name))
    hdus.writeto(path)


def _truth(
    night: _Night,
    shots: Sequence[Exposure],
    folder: Path,
    filters: Mapping[str, str],
    hits: Mapping[str, np.ndarray],
) -> Truth:
    usual = next((s for s in shots if s.binning == night.binning), shots[0])
    layout = night.layout(usual)
    readouts = layout.amplifiers.readouts
    of = {
        kind: {filters[s.file]: s for s in shots if s.type == kind and s.binning == usual.binning}
        for kind in FRAME_TYPES
    }
    gain = layout.spread([r.gain for r in readouts])
    left = [
        0.0 if r.overscan is not None else level
        for r, level in zip(readouts, night.pedestals(layout), strict=True)
    ]
    lit = _illuminated(night, usual, {*of["flat"], *of["science"]})
    table = Table()
    table["file"] = [s.file for s in shots]
    table["type"] = [s.type for s in shots]
    table["exposure"] = [s.exposure for s in shots] * u.s
    table["filter"] = [filters[s.file] for s in shots]
    arcs = {}
    for name, shot in of["arc"].items():
        arcs[name] = night.electrons(shot, name) / gain / np.float32(shot.exposure)
    return Truth(
        folder=folder,
        profile=night.profile,
        known=_known(night.profile, layout),
        bias=night.chip("structure", usual) + layout.spread(left),
        dark=night.chip("dark", usual) * night.area(usual),
        gain=gain,
        flats={name: _flat(night, usual, name) for name in of["flat"]},
        arcs=arcs,
        science={
            s.file: _calibrated(night, s, filters[s.file]) for s in shots if s.type == "science"
        },
        cosmic_rays=dict(hits),
        hot=night.chip("hot", usual) > 0,
        illuminated=lit,
        frames=table,
    )


def _illuminated(night: _Night, shot: Exposure, filters: set[str]) -> np.ndarray:
    """Find the pixels that see the sky in all filters."""
    level = getattr(night.recipe.flat, "illuminated", 0.3)
    lit = np.ones(night.layout(shot).amplifiers.shape, bool)
    for name in filters:
        optics = night.optics(name, shot)
        # the threshold stands beside the middle of the slit, not of the whole frame
        lit &= optics >= level * np.median(optics[optics > 0.05])
    return lit


def _flat(night: _Night, shot: Exposure, filter: str) -> np.ndarray:
    """Return the true flat of a filter, normalised as the recipe does."""
    flat = night.efficiency(filter, shot)
    if not night.recipe.electrons:
        readouts = night.layout(shot).amplifiers.readouts
        flat = flat / night.layout(shot).spread([r.gain for r in readouts])
    good = _illuminated(night, shot, {filter})
    return flat / np.float32(night.statistic(flat[good]))


def _calibrated(night: _Night, shot: Exposure, filter: str) -> np.ndarray:
    """Return what a perfectly calibrated frame holds, in the product's unit."""
    key = (shot.exposures.object, shot.exposure, filter, shot.binning, shot.exposures.light)

    def make() -> np.ndarray:
        image = night.electrons(shot, filter)
        if not night.recipe.electrons:
            readouts = night.layout(shot).amplifiers.readouts
            image = image / night.layout(shot).spread([r.gain for r in readouts])
        if night.recipe.flat is None:
            return image
        flat = night.once(("flat", filter, shot.binning), lambda: _flat(night, shot, filter))
        return image / np.where(flat >= night.recipe.flat.minimum, flat, np.float32(1))

    return night.once(("calibrated", *key), make)


def _known(profile: Profile, layout: _Layout) -> Profile:
    """Give the amplifiers of a profile the gain, read noise and saturation that were simulated."""
    numbers = [
        {
            "gain": r.gain * GAIN,
            "read_noise": r.read_noise * u.electron,
            "saturation": (r.saturation or 65535.0) * u.adu,
        }
        for r in layout.amplifiers.readouts
    ]

    def filled(amplifiers: Sequence[Amplifier]) -> tuple[Amplifier, ...]:
        return tuple(replace(a, **n) for a, n in zip(amplifiers, numbers, strict=True))

    amplifiers = profile.amplifiers
    if not callable(amplifiers):
        return replace(profile, amplifiers=filled(amplifiers), file="")
    return replace(profile, amplifiers=lambda header: filled(amplifiers(header)), file="")


def _peak(values: np.ndarray) -> float:
    """Return where a smooth histogram of the values is highest."""
    low, high = np.percentile(values, (0.5, 99.5))
    if high <= low:
        return float(low)
    heights, edges = np.histogram(values, 400, (low, high))
    kernel = np.exp(-0.5 * (np.arange(-24, 25) / 8) ** 2)
    heights = np.convolve(heights, kernel, "same")
    k = int(np.clip(np.argmax(heights), 1, heights.size - 2))
    left, top, right = heights[k - 1 : k + 2]
    shift = 0.5 * (left - right) / (left - 2 * top + right or 1)
    return float(edges[k] + (0.5 + shift) * (edges[1] - edges[0]))


_STATISTICS = {"median": np.median, "mean": np.mean, "mode": _peak}
