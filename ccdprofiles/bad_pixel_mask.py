"""Make a bad-pixel mask of a detector from the masters of a reduced night and from their frames."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from . import __version__
from .camera.amplifier import AmplifierSet
from .camera.chips import without_chip
from .camera.frame_types import STEPS
from .camera.profile import Profile
from .camera.registry import Registry, load_profile
from .camera.values import fraction, positive
from .errors import FrameRejected, InputError, OutputError
from .files.layout import MASTERS, NIGHT
from .files.pixels import Pixels
from .files.places import local_path, path_of_escaped
from .pixels.defects import (
    Defect,
    TimeScatter,
    bad_columns,
    dead_pixels,
    hot_pixels,
    local_response,
    noisy_pixels,
    squared_deviations,
)
from .pixels.measure import Measured, measure
from .pixels.prepare import prepare
from .plan.frames import ACCEPTED, Frame
from .plan.scan import Scanner
from .products.band import DQ, Band
from .products.header import ascii_text
from .products.saved import CheckedProduct, SavedProduct, check_product
from .reduce.inputs import bands_of

__all__ = ["BadPixelMask", "make_bad_pixel_mask"]

_FEWEST = 5
"""Frames of a bias or dark from which the scatter in time is measured."""

_DEAD_SIGMAS = 5
"""How far below 1 the response of a dead pixel is at least, in units of the scatter of all."""

_UNLIT = DQ.UNILLUMINATED.value
_LOST = DQ.NO_DATA.value
_NO_RESPONSE = (DQ.NO_FLAT | DQ.BAD_PIXEL).value
_MEANING = {
    Defect.HOT: "hot: dark current",
    Defect.DEAD: "dead: low response",
    Defect.NOISY: "noisy: scatter in time",
    Defect.COLUMN: "in a bad column",
}


@dataclass(frozen=True)
class BadPixelMask:
    """A bad-pixel mask that was written.

    Parameters
    ----------
    path : Path
    pixels : ndarray of uint8, shape (rows, columns)
        The bits of `ccdprofiles.pixels.defects.Defect`: 1 hot, 2 dead, 4 noisy, 8 column.
    notes : tuple of str
        What could not be examined, and why.
    """

    path: Path
    pixels: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """The number of pixels of each kind; a pixel may be of several."""
        return {
            str(kind.name).lower(): int(np.count_nonzero(self.pixels & kind.value))
            for kind in Defect
        }

    def __str__(self) -> str:
        rows, columns = self.pixels.shape
        bad = int(np.count_nonzero(self.pixels))
        width = len(str(bad))
        lines = [
            f"{self.path}: {columns} columns, {rows} rows, {bad} bad pixels "
            f"({100 * bad / self.pixels.size:.3g} %)"
        ]
        lines += [
            f"  {n:{width}} {_MEANING[kind]}"
            for kind, n in zip(Defect, self.counts.values(), strict=True)
        ]
        return "\n".join([*lines, *self.notes])


@dataclass(frozen=True)
class _Master:
    """A master of the night: its file, what it is, and where it comes from."""

    name: str
    path: Path
    saved: CheckedProduct

    @property
    def sha256(self) -> str:
        return self.saved.sha256

    @property
    def kind(self) -> str:
        return str(self.saved.header.get("CPTYPE"))

    @property
    def exposure(self) -> float:
        seconds = self.saved.header.get("EXPTIME", 0.0)
        return float(seconds) if isinstance(seconds, int | float) else 0.0

    @property
    def camera(self) -> tuple[str, str, str]:
        """Profile, binning and amplifiers."""
        profile, binning, amplifiers = (
            str(self.saved.header.get(card, "")) for card in ("CPPROF", "CPBIN", "CPAMPS")
        )
        return profile, binning, amplifiers

    @property
    def frames(self) -> dict[str, str]:
        """The raw frames that were combined, with their SHA-256."""
        return {file: sha for file, sha, role in self.saved.provenance if role == self.kind}

    def band(self) -> Band:
        """Return all its rows."""
        product = SavedProduct(self.path)
        return product.band(0, product.shape[0], variance=False)


def make_bad_pixel_mask(
    output: str | Path,
    path: str | Path,
    *,
    hot: float = 10.0,
    dead: float = 0.5,
    noisy: float = 6.0,
    columns: float = 5.0,
    profile: str | Path | Profile | None = None,
    binning: str | None = None,
    raw: str | Path | None = None,
    overwrite: bool = False,
) -> BadPixelMask:
    """Make a bad-pixel mask from the masters of a reduced night, and from their frames.

    Hot pixels are found in the dark of the longest exposure, pixels of low response in the flats,
    noisy pixels in the frames of biases and darks, and bad columns in all of them. A pixel is dead
    if it is so in every flat: dust in one filter makes none.

    Parameters
    ----------
    output : path
        The folder that `ccdprofiles.reduce_night` wrote.
    path : path
        The mask to be written: uint8, of the trimmed frame; 1 hot, 2 dead, 4 noisy and 8 column
        are added. Use it on other nights with ``Recipe(bad_pixels=...)``.
    hot : float
        How many standard deviations (``mad_std``) the dark current of a pixel is above the median
        of its amplifier.
    dead : float
        The response of a pixel relative to its surroundings, below which it is dead; it must be
        five standard deviations below 1, too.
    noisy : float
        The scatter of a pixel in time is larger than chance allows at this many standard
        deviations; the highest value of each stack does not count, as a cosmic ray may cause it.
    columns : float
        How many standard deviations of single pixels the median of a column is away from that of
        the columns around it. A column of which half of the pixels are bad is bad, too.
    profile : str, Path or Profile, optional
        By default the profile that the masters name.
    binning : str, optional
        Such as ``"2x2"``; needed if the night has masters of several binnings.
    raw : path, optional
        The folder that now contains the night.
    overwrite : bool
        Whether a file of this name is replaced.

    Returns
    -------
    BadPixelMask
        Printed, it gives the number of bad pixels of each kind.

    Raises
    ------
    InputError
        If the folder has no masters, or those of several cameras or binnings, or masters that were
        made with a bad-pixel mask, or a raw frame has changed.
    ProfileError
        If a limit is not valid, or the profile does not exist.
    OutputError
        If the mask cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from ccdprofiles import make_bad_pixel_mask, reduce_night, simulate_night
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     truth = simulate_night("sbo", f"{folder}/raw", shape=(64, 80))
    ...     night = reduce_night(f"{folder}/raw", f"{folder}/out", profile=truth.known)
    ...     mask = make_bad_pixel_mask(f"{folder}/out", f"{folder}/mask.fits", profile=truth.known)
    >>> mask.pixels.shape, sorted(mask.counts)
    ((64, 80), ['column', 'dead', 'hot', 'noisy'])
    """
    for name, value in (("hot", hot), ("noisy", noisy), ("columns", columns)):
        positive(value, name)
    fraction(dead, "dead")
    target = local_path(path, "the bad-pixel mask")
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists; use another name, or overwrite=True (--overwrite).")
    output = local_path(output, "the output")
    masters = _masters_of(output, binning)
    frames = _Frames(_profile(masters, profile), _folders(output, raw))
    found, used, notes = _defects(masters, frames, hot, dead, noisy, columns)
    limits = {"hot": hot, "dead": dead, "noisy": noisy, "columns": columns}
    _write(target, found, used, limits, overwrite)
    return BadPixelMask(target, found, notes)


def _defects(
    masters: Sequence[_Master],
    frames: _Frames,
    hot: float,
    dead: float,
    noisy: float,
    columns: float,
) -> tuple[np.ndarray, list[_Master], tuple[str, ...]]:
    """Return the mask, the masters that it was made from, and what could not be examined."""
    amplifiers = frames.first(masters).amplifiers
    darks = sorted((m for m in masters if m.kind == "dark"), key=lambda m: m.exposure)[-1:]
    flats = [m for m in masters if m.kind == "flat"]
    stacks = [m for m in masters if m.kind in ("bias", "dark") and len(m.frames) >= _FEWEST]
    mask = np.zeros(amplifiers.shape, "u1")
    images = [_known(m.band(), _LOST) for m in darks]
    for image in images:
        mask[hot_pixels(image, amplifiers, hot)] |= Defect.HOT.value
    if flats:
        responses, without = zip(*(_response(m.band()) for m in flats), strict=True)
        images += responses
        low = [
            dead_pixels(r, dead, _DEAD_SIGMAS) | w for r, w in zip(responses, without, strict=True)
        ]
        mask[np.logical_and.reduce(low)] |= Defect.DEAD.value
    if stacks:
        scatter = reduce(add, (frames.scatter(m) for m in stacks))
        mask[noisy_pixels(scatter, noisy)] |= Defect.NOISY.value
    mask[bad_columns(images, mask != 0, amplifiers, columns)] |= Defect.COLUMN.value
    lacking = (
        (darks, "no master dark: hot pixels were not searched for."),
        (flats, "no master flat: pixels of low response were not searched for."),
        (stacks, f"no bias or dark of {_FEWEST} frames: noisy pixels were not searched for."),
    )
    notes = tuple(note for found, note in lacking if not found)
    used = {m.name: m for m in (*darks, *flats, *stacks)}
    return mask, list(used.values()), notes


def _response(flat: Band) -> tuple[np.ndarray, np.ndarray]:
    """Return the local response of a flat, and the pixels within its light that have none."""
    flags = np.zeros(flat.data.shape, "u2") if flat.flags is None else flat.flags
    without = ((flags & _NO_RESPONSE) != 0) & ((flags & _UNLIT) == 0)
    return local_response(_known(flat, _NO_RESPONSE | _UNLIT | _LOST)), without


def _masters_of(output: Path, binning: str | None) -> list[_Master]:
    """Return the masters of one camera and binning; refuse those of several."""
    paths = sorted((output / MASTERS).glob("*.fits"))
    found = [_Master(f"{MASTERS}/{p.name}", p, check_product(p)) for p in paths]
    for master in found:
        if master.saved.faults:
            raise InputError(
                f"{master.path}: {'; '.join(master.saved.faults)}; reduce the night again."
            )
    wanted = [m for m in found if m.kind in STEPS]
    if binning is not None:
        wanted = [m for m in wanted if m.camera[1] == binning]
    if not wanted:
        of = "" if binning is None else f" of binning {binning}"
        raise InputError(
            f"{output} contains no master bias, dark or flat{of}; specify the output folder of a "
            "night that ccdprofiles reduced."
        )
    cameras = sorted({m.camera for m in wanted})
    if len(cameras) > 1:
        listed = ", ".join(f"{name} {bins} ({amps})" for name, bins, amps in cameras)
        raise InputError(
            f"{output} contains masters of {len(cameras)} cameras, binnings or amplifier sets "
            f"({listed}), but a mask is made for one; use binning= (--binning), or reduce their "
            "frames separately."
        )
    for master in wanted:
        if "BPMASK" in master.saved.header:
            raise InputError(
                f"{master.name} was made with the bad-pixel mask {master.saved.header['BPMASK']}, "
                "which hides bad pixels; reduce the night to another folder with "
                "--set bad_pixels=None."
            )
    return wanted


def _profile(masters: Sequence[_Master], given: str | Path | Profile | None) -> Profile:
    name = masters[0].camera[0]
    if isinstance(given, Profile):
        return given
    return Registry.gather()[name] if given is None else load_profile(given)


def _folders(output: Path, raw: str | Path | None) -> Mapping[str, Path]:
    """Return the folders of the raw frames by the first part of their names."""
    try:
        seen = Table.read(output / NIGHT, format="ascii.ecsv").meta.get("folders", {})
    except (OSError, ValueError) as error:
        raise InputError(
            f"{output / NIGHT} cannot be read ({error}); reduce the night again."
        ) from error
    folders = {label: path_of_escaped(place, output) for label, place in seen.items()}
    return folders if raw is None else folders | {"": local_path(raw, "the night")}


@dataclass(frozen=True)
class _Frames:
    """The raw frames of the masters.

    Parameters
    ----------
    profile : Profile
    folders : mapping
        Where they are, by the first part of their names.
    """

    profile: Profile
    folders: Mapping[str, Path]

    def first(self, masters: Sequence[_Master]) -> Frame:
        """Return the first frame, with its amplifiers."""
        return self._frame(masters[0], next(iter(masters[0].frames)))

    def _frame(self, master: _Master, file: str) -> Frame:
        label, _, inside = file.partition("/")
        folder, name = self.folders.get("", Path()), file
        if inside and label in self.folders:
            folder, name = self.folders[label], inside
        path, whole = folder / without_chip(name), without_chip(file)
        frames = [*Scanner(Registry(()), forced=self.profile).frames(path, whole)]
        frame = next((f for f in frames if f.file == file), frames[0])
        if frame.verdict != ACCEPTED:
            raise InputError(
                f"{frame.reason} It was expected in {folder}; if the night was moved, use raw= (--raw)."
            )
        if frame.amplifier_key != master.camera[2]:
            raise InputError(
                f"{file} has other amplifiers by the profile {self.profile.name} than "
                f"{master.name}; use the profile of that night (profile=, --profile)."
            )
        return frame

    def scatter(self, master: _Master) -> TimeScatter:
        """Return the scatter in time of the frames of a master."""
        measured = [self._measured(master, file, sha) for file, sha in master.frames.items()]
        amplifiers, number = measured[0].amplifiers, len(measured)
        squares = np.empty(amplifiers.shape)
        with ExitStack() as files:
            pixels = [files.enter_context(Pixels(m.raw)) for m in measured]
            for first, stop in bands_of(amplifiers.shape, 24 * number):
                ccd = prepare(measured, first, stop, unit=self.profile.unit, pixels=pixels)
                squares[first:stop] = squared_deviations(_levelled(ccd.data, amplifiers, first))
        if master.kind == "dark":
            squares /= _relative_variance(_known(master.band(), _LOST), amplifiers)
        return TimeScatter.of(squares, number, amplifiers)

    def _measured(self, master: _Master, file: str, sha256: str) -> Measured:
        frame = self._frame(master, file)
        try:
            measured = measure(frame.raw, frame.amplifiers, frame.recipe)
        except (FrameRejected, OSError) as error:
            raise InputError(f"{file}: {error}") from error
        if measured.sha256 != sha256:
            raise InputError(
                f"{file} is not the file that {master.name} was made from; reduce the night again."
            )
        return measured


def _levelled(stack: np.ndarray, amplifiers: AmplifierSet, first: int) -> np.ndarray:
    """Return rows of frames, each less the median of every amplifier, as levels drift."""
    done = stack.copy()
    for readout in amplifiers.readouts:
        rows, columns = readout.place.slices()
        part = (slice(max(rows.start - first, 0), max(rows.stop - first, 0)), columns)
        values = done[:, *part]
        if values.size:
            values -= np.nanmedian(values, axis=(1, 2), keepdims=True)
    return done


def _relative_variance(dark: np.ndarray, amplifiers: AmplifierSet) -> np.ndarray:
    """Return the variance of pixels with dark current in units of one without, where it is known."""
    relative = np.ones(dark.shape)
    for readout in amplifiers.readouts:
        if readout.read_variance and readout.gain is not None:
            part = dark[readout.place.slices()]
            current = np.maximum(np.nan_to_num(part - np.nanmedian(part)), 0)
            relative[readout.place.slices()] += current / readout.gain / readout.read_variance
    return relative


def _known(band: Band, unknown: int) -> np.ndarray:
    """Return the data of a master, NaN where a flag says that they are unknown."""
    data = band.data.astype("f8")
    if band.flags is not None:
        data[(band.flags & unknown) != 0] = np.nan
    return data


def _write(
    path: Path,
    mask: np.ndarray,
    masters: Sequence[_Master],
    limits: Mapping[str, float],
    overwrite: bool,
) -> None:
    """Write a mask with its limits, its counts and the masters that it was made from."""
    header = fits.Header()
    profile, binning, amplifiers = masters[0].camera
    header["CPVERS"] = (__version__, "version of ccdprofiles")
    header["CPTYPE"] = ("bad pixels", "what this image is")
    header["CPPROF"] = (profile, "profile")
    header["CPBIN"] = (binning, "binning, columns x rows")
    header["CPAMPS"] = (amplifiers, "amplifier set")
    for card, name, text in (
        ("BPHOT", "hot", "[sigma] limit of the dark current"),
        ("BPDEAD", "dead", "limit of the response, relative to neighbours"),
        ("BPNOISY", "noisy", "[sigma] limit of the scatter in time"),
        ("BPCOLUMN", "columns", "[sigma] limit of the median of a column"),
    ):
        header[card] = (limits[name], text)
    for n, kind in enumerate(Defect):
        number = int(np.count_nonzero(mask & kind.value))
        header[f"BPNUM{n + 1}"] = (number, f"pixels of bit {kind.value}, {_MEANING[kind]}"[:47])
    rows = [(ascii_text(m.name), m.sha256, f"master {m.kind}") for m in masters]
    table = Table(rows=rows, names=("file", "sha256", "role"), dtype=["S"] * 3)
    provenance = fits.table_to_hdu(table)
    provenance.name = "PROVENANCE"
    hdus = fits.HDUList([fits.PrimaryHDU(mask, header), provenance])
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        hdus.writeto(temporary, overwrite=True)
        if path.exists() and not overwrite:
            raise FileExistsError(17, "it exists already")
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError.of(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
