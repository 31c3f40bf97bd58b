"""Simulate a night: raw frames as an instrument writes them, and the true images.

With a simulated night a profile can be tried before the first clear night, and a
reduction can be compared with the truth. The same ``seed`` gives the same bytes, regardless of the
order of the frames, and a frame does not change when others are added to the night.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits

from ..camera.frame_types import FRAME_TYPES
from ..camera.profile import Profile
from ..camera.recipe import Recipe, SpectralFlat
from ..camera.registry import load_profile
from ..camera.values import GAIN, quantity
from ..errors import OutputError, ProfileError
from .cameras import Camera
from .exposures import Exposure, Exposures
from .headers import SCIENCE, camera_of, frame_header, readable, set_card
from .readout import read_out
from .sections import has_text
from .simulation import Simulation
from .truth import Truth, truth_of

__all__ = ["simulate_night"]

READOUT = 40.0
"""Seconds between the end of an exposure and the next."""

_HOURS = {"bias": 3.0, "dark": 3.5, "flat": 6.0, "arc": 7.5, "science": 9.0}
"""When frames of a type begin, in hours after noon."""


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
    """Write the raw frames of a simulated night, and return the true images.

    Parameters
    ----------
    profile : Profile or str
        A camera, or the name of one.
    folder : path
        Created if it does not exist.
    seed : int
        Of all random numbers.
    frames : sequence of Exposures, optional
        The frames of the night; None: a usual night of the instrument.
    header : callable, optional
        Returns further cards for the type, exposure, filter and number of a frame;
        needed if functions of the profile read the header.
    gain, read_noise : Quantity
        Used if the profile does not have them.
    drift : Quantity, optional
        Standard deviation, in adu, of the pedestal from frame to frame. None: 2 adu in
        amplifiers with a useful overscan, and 0 adu in the others.
    cosmic_rays : bool or float
        The rate of cosmic rays in darks and science frames, relative to the usual.
    binning : tuple of int, optional
        Columns and rows; None: the usual binning of the instrument.
    shape : tuple of int, optional
        Rows and columns of the raw frame, if the sections of the profile have open ends.
    statistic : callable, optional
        Normalises the true flats instead of the recipe's own.

    Returns
    -------
    Truth
        The true masters and science frames.

    Raises
    ------
    ProfileError
        If the profile does not recognise the simulated frames.
    OutputError
        If the folder already contains a file of the same name.

    Examples
    --------
    >>> import tempfile
    >>> from ccdprofiles import simulate_night
    >>> from ccdprofiles.simulate import windowed
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     truth = simulate_night(windowed("lfc", 60, 80), folder)
    >>> truth.bias.shape, sorted(truth.flats)
    ((60, 80), ["g'", "i'"])
    """
    profile = load_profile(profile) if isinstance(profile, str | Path) else profile
    camera = camera_of(profile)
    binning = binning or (camera.binning if profile.binning is not None else (1, 1))
    with readable(profile):
        science = _science_header(profile, camera, binning, header)
        recipe = profile.recipe_of(science)
    profile = replace(profile, recipe=recipe)
    if frames is None:
        band = "V" if profile.text_of("filter", science) == "V" else None
        frames = camera.night or _usual_night(recipe, band)
    if not frames:
        raise ProfileError("frames=[] is empty; a night has at least one Exposures(...).")
    shots = _schedule(frames, camera, binning)
    simulation = Simulation(
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
        statistic=statistic or STATISTICS[getattr(recipe.flat, "scale", "median")],
        reference={s.type: max(o.exposure for o in shots if o.type == s.type) for s in shots},
    )
    folder = Path(folder)
    _refuse_to_replace(folder, shots)
    return _written(simulation, shots, folder)


def _science_header(
    profile: Profile, camera: Camera, binning: tuple[int, int], more: Callable[..., Mapping] | None
) -> Mapping:
    """Return the header of a science frame, in the filter V if the profile reads one."""
    when = datetime.fromisoformat(camera.date) + timedelta(hours=_HOURS["science"])
    shot = replace(SCIENCE, file="a science frame", binning=binning, when=when)
    if profile.filter is None:
        return frame_header(profile, camera, shot, more)
    try:
        return frame_header(profile, camera, replace(shot, filter="V"), more)
    except ProfileError:
        return frame_header(profile, camera, shot, more)


def _schedule(
    exposures: Sequence[Exposures], camera: Camera, binning: tuple[int, int]
) -> list[Exposure]:
    """Return the frames of a night in order, regardless of the order in which they are listed."""
    counters: dict[tuple, count] = {}

    def next_of(*key: object) -> int:
        return next(counters.setdefault(key, count(1)))

    clock = 0.0
    shots = []
    for start, run, seconds in _in_order(exposures):
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


def _in_order(exposures: Sequence[Exposures]) -> Iterator[tuple[float, Exposures, float]]:
    """Iterate over the frames: hours after noon, series, and exposure in seconds."""
    frames = []
    for run in exposures:
        times = run.exposure if isinstance(run.exposure, Sequence) else (run.exposure,)
        for k in range(run.number):
            seconds = 0.0 if run.type == "bias" else float(times[k % len(times)])
            start = _HOURS[run.type] if run.start is None else run.start
            order = (start, FRAME_TYPES.index(run.type), run.filter or "", seconds, run.folder)
            frames.append((order, run, seconds))
    for (start, *_), run, seconds in sorted(frames, key=lambda frame: frame[0]):
        yield start, run, seconds


def _usual_night(recipe: Recipe, band: str | None) -> tuple[Exposures, ...]:
    """Return the frames that a recipe needs."""
    spectra = isinstance(recipe.flat, SpectralFlat)
    flat, science = (20.0, 300.0) if spectra else (3.0, 60.0)
    band = None if spectra else band
    night = [Exposures("science", 3, science, band)]
    if recipe.needs_master("bias"):
        night.append(Exposures("bias", 9))
    if recipe.dark is not None:
        night.append(Exposures("dark", 7, science))
    if recipe.flat is not None:
        night.append(Exposures("flat", 6, flat, band))
        if recipe.dark == "match":
            night.append(Exposures("dark", 8, flat))
    if spectra:
        night.append(Exposures("arc", 2, 10.0, band))
    return tuple(night)


def _refuse_to_replace(folder: Path, shots: Sequence[Exposure]) -> None:
    names = [shot.file for shot in shots]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise OutputError(
            f"two frames of the night would be named {min(twice)}; use another folder= for one of them."
        )
    for name in names:
        if (folder / name).exists():
            raise OutputError(f"{folder / name} already exists; use an empty folder.")


def _written(simulation: Simulation, shots: Sequence[Exposure], folder: Path) -> Truth:
    """Write every frame, and return the true images."""
    filters, hits = {}, {}
    for shot in shots:
        shot = replace(shot, size=simulation.layout(shot).size)
        header = simulation.header_of(shot)
        filters[shot.file] = simulation.profile.text_of("filter", header) or ""
        images, hit = read_out(simulation, shot, filters[shot.file])
        if shot.type in ("dark", "science"):
            hits[shot.file] = hit
        for card, value in shot.exposures.cards.items():
            if value is None:
                header.remove(card, ignore_missing=True)
            else:
                set_card(header, card, value)
        _write(folder / shot.file, header, images, simulation.layout(shot).cards)
    return truth_of(simulation, shots, folder, filters, hits)


def _write(path: Path, header: fits.Header, images: Mapping, cards: Mapping) -> None:
    """Write one file: the image in the primary HDU, or each amplifier's in its extension.

    The extensions before one that is named by its number are empty images.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    first = next((e for e in (None, 0) if e in images), None)
    for card, value in cards.get(first, {}).items():
        if not has_text(header, card):
            set_card(header, card, value)
    hdus = fits.HDUList([fits.PrimaryHDU(images.get(first), header)])
    for extension, image in images.items():
        if extension in (None, 0):
            continue
        while isinstance(extension, int) and len(hdus) < extension:
            hdus.append(fits.ImageHDU(np.zeros_like(image)))
        name, _, version = str(extension).partition(",")
        hdu = fits.ImageHDU(image, name=None if isinstance(extension, int) else name)
        if version:
            hdu.ver = int(version)
        for card, value in cards.get(extension, {}).items():
            set_card(hdu.header, card, value)
        hdus.append(hdu)
    hdus.writeto(path)


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


STATISTICS: dict[str, Callable] = {"median": np.median, "mean": np.mean, "mode": _peak}
"""How flats are normalised, by ``scale`` of the recipe."""
