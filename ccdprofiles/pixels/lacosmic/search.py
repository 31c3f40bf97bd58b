"""The sparse search for cosmic rays: filters only where a hit is possible.

One cheap pass over the frame selects the pixels that can be hits at all. S, S' and F are then
evaluated about these alone, and later iterations look only near pixels that were replaced.
Rules and results are those of astroscrappy, to the last bit.
"""

from __future__ import annotations

import numpy as np

from .cleaning import Cleaner
from .contrast import Frame, fine_structure, sharpness, significance
from .options import F4, Options
from .places import dilated, grown_by_one, near, square, union
from .screening import bright_enough, quietest_blocks, screen
from .stars import about_stars

__all__ = ["search"]

SCREENED, PEAKED, HIT = 0.05, 0.03, 0.01
"""Fractions of the pixels beyond which a frame is left to astroscrappy: that can be hits at
all, that exceed their noise, and that are hits in the first iteration. At these limits the
sparse search takes less than half as long as astroscrappy on two processors."""

_SAMPLE = 16
"""One pixel in so many is enough to estimate these fractions."""


def search(
    data: np.ndarray,
    inmask: np.ndarray | None,
    inbkg: np.ndarray | None,
    invar: np.ndarray | None,
    options: Options,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Find cosmic rays and replace them in a copy.

    Parameters
    ----------
    data, inmask, inbkg, invar : ndarray, shape (rows, columns)
        As for `ccdprofiles.pixels.cosmics.detect_cosmics`; finite.
    options : Options

    Returns
    -------
    mask, cleaned : ndarray, or None
        None if the options are not supported, or the frame is so small or so crowded that
        astroscrappy is the better choice.
    """
    if not options.supported or min(data.shape) <= 2 * options.reach:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        frame = _in_electrons(data, inmask, inbkg, invar, options)
        mask = None if frame is None else _iterate(frame)
    if frame is None or mask is None:
        return None
    image = frame.image
    if frame.background is not None:
        image += frame.background
    image /= options.gain
    return mask.reshape(data.shape), image


def _in_electrons(
    data: np.ndarray,
    inmask: np.ndarray | None,
    inbkg: np.ndarray | None,
    invar: np.ndarray | None,
    options: Options,
) -> Frame | None:
    """Make the working copy of a frame, rounded where astroscrappy rounds."""
    image = np.empty(data.shape, F4)
    np.multiply(data, float(options.gain), out=image, casting="unsafe")
    masked = None if inmask is None or not inmask.any() else grown_by_one(inmask).reshape(-1)
    # A star saturates with its background, which is therefore subtracted afterwards.
    bright = np.flatnonzero(image >= options.satlevel)
    if bright.size > _limit(SCREENED, image, options):
        return None
    if bright.size:
        masked = np.zeros(image.size, bool) if masked is None else masked
        masked[about_stars(image, bright, options)] = True
    background = None
    if inbkg is not None:
        background = inbkg * options.gain
        image -= background
    if invar is None:
        variance = image + options.readnoise * options.readnoise
    else:
        variance = invar * (options.gain * options.gain)
        if background is not None:
            variance -= background
    return Frame(image, variance, options, background, masked)


def _limit(fraction: float, image: np.ndarray, options: Options) -> float:
    """Return how many pixels the sparse search accepts."""
    return np.inf if options.plain_median else fraction * image.size


def _iterate(frame: Frame) -> np.ndarray | None:
    """Find and replace hits in the working copy until none is new; None if they are too many."""
    how, shape = frame.options, frame.image.shape
    pixels = screen(frame, _limit(SCREENED, frame.image, how))
    if pixels is None:
        return None
    quietest = quietest_blocks(frame)
    if _crowded(frame, pixels, quietest):
        return None
    cleaner = Cleaner(frame.image, frame.variance, frame.masked, how.cleantype)
    peaks = _peaks(frame, pixels, quietest, None)
    hits, first = np.empty(0, np.intp), _first_hits(frame, peaks)
    close = changed = first
    for iteration in range(how.niter):
        if iteration:
            # A pixel depends on its surroundings only, so far from what was replaced
            # peaks and hits, and what grows from them, stay as they are.
            touched = dilated(changed, square(how.edge), shape, how.edge)
            more = _peaks(frame, touched, quietest, cleaner.levels.get(1))
            peaks = union(np.setdiff1d(peaks, touched, assume_unique=True), more)
            is_near = near(changed, shape)
            renewed = _first_hits(frame, peaks[is_near(peaks)])
            first = np.concatenate([first[~is_near(first)], renewed])
            close = first[is_near(first)]
        if not first.size:
            break
        grown = _grown(frame, close)
        hits, changed = cleaner.clean(hits, grown[~cleaner.flagged[grown]])
        # The same frame gives the same hits, and these the same replacements.
        if not changed.size:
            break
    return cleaner.flagged


def _crowded(frame: Frame, pixels: np.ndarray, quietest: np.ndarray) -> bool:
    """Return True if a sample of the candidates shows that astroscrappy would be faster."""
    if pixels.size < 100 * _SAMPLE or frame.options.plain_median:
        return False
    peaks = _peaks(frame, pixels[::_SAMPLE], quietest, None)
    if peaks.size * _SAMPLE > PEAKED * frame.image.size:
        return True
    return _first_hits(frame, peaks).size * _SAMPLE > HIT * frame.image.size


def _peaks(
    frame: Frame, pixels: np.ndarray, quietest: np.ndarray, level: np.floating | None
) -> np.ndarray:
    """Return the unmasked pixels with S beyond ``sigclip``.

    The median of S is never negative, so S' is at most S and no other pixel can be a hit.
    """
    pixels = frame.unmasked(pixels)
    pixels = pixels[bright_enough(frame, pixels, quietest, level)]
    return pixels[significance(frame, pixels) > frame.options.sigclip]


def _first_hits(frame: Frame, peaks: np.ndarray) -> np.ndarray:
    """Return the pixels with S' beyond ``sigclip`` and S' / F beyond ``objlim``."""
    sharp = sharpness(frame, peaks)
    beyond = sharp > frame.options.sigclip
    peaks, sharp = peaks[beyond], sharp[beyond]
    return peaks[sharp / fine_structure(frame, peaks) > frame.options.objlim]


def _grown(frame: Frame, first: np.ndarray) -> np.ndarray:
    """Add neighbours beyond ``sigclip``, and neighbours of all these beyond ``sigfrac`` of it."""
    how, shape = frame.options, frame.image.shape
    low = how.sigfrac * how.sigclip
    ring = dilated(first, square(1), shape, how.edge)
    hits, sharp = _beyond(frame, ring, low)
    # Those beyond sigclip include the first hits, so all of this ring is next to them.
    wider = dilated(hits[sharp > how.sigclip], square(1), shape, how.edge)
    more, _ = _beyond(frame, np.setdiff1d(wider, ring, assume_unique=True), low)
    return union(hits, more)


def _beyond(frame: Frame, pixels: np.ndarray, low: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the unmasked pixels whose S' exceeds a limit, and S'."""
    pixels = frame.unmasked(pixels)
    pixels = pixels[significance(frame, pixels) > low]
    sharp = sharpness(frame, pixels)
    return pixels[sharp > low], sharp[sharp > low]
