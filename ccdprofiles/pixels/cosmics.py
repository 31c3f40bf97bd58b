"""Cosmic rays by L.A.Cosmic (van Dokkum 2001, PASP 113, 1420), where there is something to find.

The paper filters the whole frame several times over, although one pixel in a
thousand is hit. Here one cheap pass over the frame leaves the pixels that can be a hit
at all, and the Laplacian, the noise and the fine structure are made only around
those; later iterations look only where something was repaired. The rules and their
names are those of astroscrappy, and so is the answer, to the last bit: arithmetic is
done in float32 in the order that astroscrappy does it. Frames with so many stars or
lines that this would not pay go to astroscrappy itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData
from numpy.lib.stride_tricks import as_strided

__all__ = ["Found", "detect_cosmics", "saturated_stars"]

F4 = np.float32

_FARTHEST = 12
"""The widest reach, in pixels, that a filter may have."""

_SCREENED, _PEAKED, _HIT = 0.05, 0.03, 0.01
"""Shares of the pixels beyond which a frame goes to astroscrappy: that may be hits at all,
that stand out against their noise, and that are hits at first sight. At the limits the
sparse way still takes less than half as long as astroscrappy does on two processors."""

_SAMPLE = 16
"""One in so many pixels tells whether a frame is within these limits."""

_CHUNK = 512
_BLOCK = 16
_BAND = 2**17

_one_at_a_time = threading.Lock()


class Found(NamedTuple):
    """What L.A.Cosmic found.

    Parameters
    ----------
    mask : ndarray of bool
        The pixels that were hit.
    data : ndarray of float32
        The frame with these replaced, in its own unit.
    way : {"sparse", "astroscrappy"}
        How it was found; the two agree.
    """

    mask: np.ndarray
    data: np.ndarray
    way: str


def detect_cosmics(
    ccd: CCDData | np.ndarray,
    inmask: np.ndarray | None = None,
    inbkg: np.ndarray | None = None,
    invar: np.ndarray | None = None,
    *,
    sigclip: float = 4.5,
    sigfrac: float = 0.3,
    objlim: float = 5.0,
    gain: float = 1.0,
    readnoise: float | np.ndarray = 6.5,
    satlevel: float = 65536.0,
    niter: int = 4,
    sepmed: bool = True,
    cleantype: str = "meanmask",
    fsmode: str = "median",
    psfmodel: str = "gauss",
    psffwhm: float = 2.5,
    psfsize: int = 7,
    psfk: np.ndarray | None = None,
    psfbeta: float = 4.765,
) -> Found:
    """Find cosmic rays, and repair them in a copy, as `astroscrappy.detect_cosmics` does.

    Parameters
    ----------
    ccd : CCDData or ndarray, shape (rows, columns)
        With its sky. The mask of a CCDData is added to ``inmask``, and one in electron
        takes no gain. Pixels that are not finite count as masked, and stay as they are.
    inmask : ndarray of bool or None
        Pixels that are known to be bad.
    inbkg : ndarray or None
        A background to be taken off first, in the unit of ``ccd``.
    invar : ndarray or None
        The variance, in that unit squared, in place of signal plus read noise.
    sigclip, sigfrac, objlim, niter
        As in the paper: how far a hit stands above its noise, what part of that is
        asked of its neighbours, its contrast to the fine structure, and how often.
    gain : float
        Electrons per count.
    readnoise : float or ndarray
        In electron; of each pixel where amplifiers differ.
    satlevel : float
        In electron, from which a pixel may be a saturated star.
    sepmed : bool
        Whether medians are taken along rows and then along columns, of larger windows.
    cleantype : {"meanmask", "medmask", "idw", "median"}
        ``"median"`` is the plain median of 5x5 pixels, of which astroscrappy 1.3.0
        reads but two; it always goes the sparse way, however slow.
    fsmode : {"median", "convolve"}
        How the fine structure is found.
    psfmodel, psffwhm, psfsize, psfk, psfbeta
        The star that ``fsmode="convolve"`` looks for, or its kernel.

    Returns
    -------
    Found

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.cosmics import detect_cosmics
    >>> image = np.random.default_rng(1).normal(200, 14, (64, 64))
    >>> image[40, 20] += 1000
    >>> found = detect_cosmics(image, readnoise=5)
    >>> np.argwhere(found.mask)
    array([[40, 20]])
    >>> found.way
    'sparse'
    """
    data, inmask = _taken_apart(ccd, inmask, gain)
    if np.ndim(readnoise):
        invar = _variance(data, gain, readnoise) if invar is None else invar
        readnoise = 0.0
    inbkg, invar = (
        None if image is None else np.ascontiguousarray(image, F4) for image in (inbkg, invar)
    )
    lost = _without_number(data, inbkg, invar)
    if lost is not None:
        data, inbkg, invar = (_filled(image, lost) for image in (data, inbkg, invar))
        inmask = lost if inmask is None else inmask | lost
    options = {
        "sigclip": sigclip,
        "sigfrac": sigfrac,
        "objlim": objlim,
        "gain": gain,
        "readnoise": readnoise,
        "satlevel": satlevel,
        "niter": niter,
        "sepmed": sepmed,
        "cleantype": cleantype,
    }
    psf = {
        "psfmodel": psfmodel,
        "psffwhm": psffwhm,
        "psfsize": psfsize,
        "psfk": psfk,
    }
    found = None
    kernel = _kernel(**psf) if fsmode == "convolve" else None
    if fsmode == "median" or kernel is not None:
        found = _sparse(data, inmask, inbkg, invar, _How(**options, kernel=kernel))
    if found is None:
        options |= psf | {"fsmode": fsmode, "psfbeta": psfbeta}
        found = _by_astroscrappy(data, inmask, inbkg, invar, options)
    if lost is not None:
        found.data[lost] = _pixels_of(ccd)[lost]
    return found


def saturated_stars(
    image: np.ndarray, saturated: np.ndarray, satlevel: float, sepmed: bool = True
) -> np.ndarray:
    """Tell saturated stars from cosmic rays that saturate.

    About a star the median of the pixels is bright too. L.A.Cosmic knows saturated
    pixels by their level, which is gone from a calibrated frame; here they are given.

    Parameters
    ----------
    image : ndarray of float32, shape (rows, columns)
        In electron; finite.
    saturated : ndarray of bool
    satlevel : float
        In electron.
    sepmed : bool
        As in `detect_cosmics`.

    Returns
    -------
    ndarray of bool
        The saturated stars and what lies within four pixels of them.
    """
    frame = _Frame(np.ascontiguousarray(image, F4), _How(satlevel=satlevel, sepmed=sepmed))
    stars = np.zeros(image.shape, bool)
    stars.reshape(-1)[frame.about_stars(np.flatnonzero(saturated))] = True
    return stars


# What is asked for.


@dataclass(frozen=True)
class _How:
    """The options as the search needs them: float32, as astroscrappy compares."""

    sigclip: np.float32 = 4.5
    sigfrac: np.float32 = 0.3
    objlim: np.float32 = 5.0
    gain: np.float32 = 1.0
    readnoise: np.float32 = 6.5
    satlevel: np.float32 = 65536.0
    niter: int = 4
    sepmed: bool = True
    cleantype: str = "meanmask"
    kernel: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("sigclip", "sigfrac", "objlim", "gain", "readnoise", "satlevel"):
            object.__setattr__(self, name, F4(getattr(self, name)))

    @property
    def covered(self) -> bool:
        """Whether the sparse way knows these options."""
        sane = self.sigclip > 0 and 0 < self.sigfrac <= 1 and self.gain > 0
        return sane and self.cleantype in ("median", *_CLEAN) and self.reach <= _FARTHEST

    @property
    def median(self) -> Callable[[np.ndarray, int], np.ndarray]:
        """The median filter: along rows and then columns, or of the whole box."""
        return _rows_then_columns if self.sepmed else _box

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The windows of the noise and of S, of the fine structure, and of what is under it.

        The separable median has wider windows than the paper's 5, 3 and 7.
        """
        return (7, 5, 9) if self.sepmed else (5, 3, 7)

    @property
    def edge(self) -> int:
        """How many pixels along the edges cannot be hits.

        There a median is the pixel itself, so that nothing of it is left above it.
        """
        return self.sizes[0] // 2

    @property
    def half_of_fine(self) -> int:
        """Half of the window that the fine structure is seen in."""
        return (self.sizes[1] if self.kernel is None else max(self.kernel.shape)) // 2

    @property
    def reach(self) -> int:
        """How far away, in rows or columns, a pixel may still change what is said of another."""
        noise = 0 if self.kernel is None else self.edge
        return max(2 * self.edge, noise + self.half_of_fine + self.sizes[2] // 2)

    def fine(self, image: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
        """Return what fine structure is seen in: a narrow median, or a matched filter."""
        if noise is None:
            return self.median(image, self.sizes[1])
        inverse = 1 / noise / noise
        return _convolved(image / noise / noise, self.kernel) / _convolved(inverse, self.kernel)

    def fine_with_edges(self, image: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Return the same for a whole image, about which there is nothing."""
        if self.kernel is None:
            return _same_edges(image, self, self.sizes[1])
        high, wide = (n // 2 for n in self.kernel.shape)
        sides = ((high, high), (wide, wide), (0, 0))
        light, weight = (
            _convolved(np.pad(values / noise / noise, sides), self.kernel)
            for values in (image, np.ones_like(image))
        )
        return light / weight


def _kernel(
    psfmodel: str, psffwhm: float, psfsize: int, psfk: np.ndarray | None
) -> np.ndarray | None:
    """Return the kernel as it lies over the pixels that it weighs; None where it is not covered."""
    import astroscrappy

    makers = {
        "gauss": astroscrappy.gausskernel,
        "gaussx": astroscrappy.gaussxkernel,
        "gaussy": astroscrappy.gaussykernel,
    }
    if psfk is not None:
        kernel = np.asarray(psfk, F4)
    elif psfmodel in makers:
        # What is generated is turned about before it is convolved, which turns it again.
        kernel = np.asarray(makers[psfmodel](psffwhm, psfsize))[::-1, ::-1]
    else:
        return None
    if kernel.ndim != 2 or not all(n % 2 for n in kernel.shape):
        return None
    more = [(max(kernel.shape) - n) // 2 for n in kernel.shape]
    return np.pad(kernel[::-1, ::-1], [(n, n) for n in more])


def _pixels_of(ccd: CCDData | np.ndarray) -> np.ndarray:
    """Return the pixels."""
    return ccd.data if isinstance(ccd, CCDData) else np.asarray(ccd)


def _taken_apart(
    ccd: CCDData | np.ndarray, inmask: np.ndarray | None, gain: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return pixels and mask."""
    data = _pixels_of(ccd)
    inmask = None if inmask is None else np.asarray(inmask, bool)
    if data.ndim != 2:
        raise ValueError(f"cosmic rays are looked for in one image, not in {data.ndim} dimensions")
    if isinstance(ccd, CCDData):
        if ccd.unit == u.electron and gain != 1:
            raise ValueError(f"the frame is in electron already; gain={gain} would count twice")
        if ccd.mask is not None and ccd.mask is not np.ma.nomask:
            inmask = ccd.mask if inmask is None else inmask | ccd.mask
    return data, inmask


def _without_number(*images: np.ndarray | None) -> np.ndarray | None:
    """Return where one of the images is not finite; None where all are."""
    lost = None
    for image in images:
        if image is not None and not (finite := np.isfinite(image)).all():
            lost = ~finite if lost is None else lost | ~finite
    return lost


def _filled(image: np.ndarray | None, lost: np.ndarray) -> np.ndarray | None:
    """Put an image's median where there is no number; the mask keeps it from being a hit."""
    if image is None:
        return None
    good = image[~lost]
    image = image.copy()
    image[lost] = np.median(good[:: 1 + good.size // 100_000]) if good.size else 0
    return image


def _variance(data: np.ndarray, gain: float, readnoise: np.ndarray) -> np.ndarray:
    """Return signal and read noise of each pixel as a variance, in counts squared."""
    return (data * F4(gain) + np.square(readnoise, dtype=F4)).astype(F4) / F4(gain) ** 2


def _by_astroscrappy(
    data: np.ndarray,
    inmask: np.ndarray | None,
    inbkg: np.ndarray | None,
    invar: np.ndarray | None,
    options: dict,
) -> Found:
    """Let astroscrappy do it."""
    import astroscrappy

    if options["cleantype"] == "median":
        raise ValueError(
            "cleantype='median' is not to be had with these options, or of so small an image: "
            "astroscrappy 1.3.0 takes the median of memory it never wrote to"
        )
    # It takes all processors for one frame; from several threads they would be taken twice.
    with _one_at_a_time:
        mask, cleaned = astroscrappy.detect_cosmics(data, inmask, inbkg, invar, **options)
    return Found(np.asarray(mask, bool), cleaned, "astroscrappy")


# The search.


def _sparse(
    data: np.ndarray,
    inmask: np.ndarray | None,
    inbkg: np.ndarray | None,
    invar: np.ndarray | None,
    how: _How,
) -> Found | None:
    """Look only where there is something to see; None where that would be too much."""
    if not how.covered or min(data.shape) <= 2 * how.reach:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        frame = _Frame.of(data, how)
        # A star is saturated with its background, so that is taken off afterwards.
        if not frame.close(inmask):
            return None
        frame.weigh(inbkg, invar)
        if not frame.search():
            return None
    if frame.background is not None:
        frame.image += frame.background
    frame.image /= how.gain
    return Found(frame.flagged.reshape(data.shape), frame.image, "sparse")


class _Frame:
    """A frame in electrons, which is repaired as hits are found in it.

    Pixels are named by their place in the flattened frame, in order. Closed pixels are
    neither hits nor sources for repair, but count in every filter, as they do in
    astroscrappy. A background that was taken off still adds to the noise.

    Parameters
    ----------
    image : ndarray of float32, shape (rows, columns)
    how : _How
    """

    def __init__(self, image: np.ndarray, how: _How):
        self.image = image
        self.how = how
        self.variance: np.ndarray | None = None
        self.background: np.ndarray | None = None
        self.closed: np.ndarray | None = None
        self.rows, self.columns = image.shape
        self.flagged = np.zeros(image.size, bool)
        self.hits = np.empty(0, np.intp)
        self.before: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.levels: dict[int, np.float32] = {}

    @classmethod
    def of(cls, data: np.ndarray, how: _How) -> _Frame:
        """Turn counts into electrons, rounding where astroscrappy rounds."""
        image = np.empty(data.shape, F4)
        np.multiply(data, float(how.gain), out=image, casting="unsafe")
        return cls(image, how)

    def weigh(self, inbkg: np.ndarray | None, invar: np.ndarray | None) -> None:
        """Take the background off, and make the variance of what is left."""
        how = self.how
        if inbkg is not None:
            self.background = inbkg * how.gain
            self.image -= self.background
        if invar is None:
            self.variance = self.image + how.readnoise * how.readnoise
            return
        self.variance = invar * (how.gain * how.gain)
        if inbkg is not None:
            self.variance -= self.background

    def close(self, inmask: np.ndarray | None) -> bool:
        """Close bad pixels and saturated stars; False where too many are saturated."""
        closed = None
        if inmask is not None and inmask.any():
            closed = _grown_by_one(inmask).reshape(-1)
        bright = np.flatnonzero(self.image >= self.how.satlevel)
        if bright.size > _SCREENED * self.image.size and not self.dense_too:
            return False
        if bright.size:
            closed = np.zeros(self.image.size, bool) if closed is None else closed
            closed[self.about_stars(bright)] = True
        self.closed = closed
        return True

    def about_stars(self, bright: np.ndarray) -> np.ndarray:
        """Find the pixels about bright ones whose neighbours are bright too."""
        row, column = np.divmod(bright, self.columns)
        edge = self.how.edge
        within = (np.minimum(row, self.rows - 1 - row) >= edge) & (
            np.minimum(column, self.columns - 1 - column) >= edge
        )
        level = self.image.reshape(-1)[bright]
        level[within] = _in_chunks(self._smooth, bright[within])
        stars = bright[level > self.how.satlevel / F4(10)]
        for _ in range(2):
            stars = self._spread(stars, _ROUND, 2)
        return stars

    def _smooth(self, pixels: np.ndarray) -> np.ndarray:
        window = self._window(self.image, pixels, self.how.edge)
        return self.how.median(window, self.how.sizes[0])[0, 0]

    @property
    def dense_too(self) -> bool:
        """Whether the search must end, as nobody else does it right."""
        return self.how.cleantype == "median"

    def _pays(self, pixels: np.ndarray) -> bool:
        """Say from a sample of the pixels that may be hits whether the search will pay."""
        if pixels.size < 100 * _SAMPLE or self.dense_too:
            return True
        peaks = self._peaks(pixels[::_SAMPLE])
        if peaks.size * _SAMPLE > _PEAKED * self.image.size:
            return False
        return self._first_hits(peaks).size * _SAMPLE <= _HIT * self.image.size

    def search(self) -> bool:
        """Find and repair the hits; False where there are too many to begin."""
        pixels = self.screen()
        if pixels is None or not self._pays(pixels):
            return False
        peaks = self._peaks(pixels)
        near = first = self._first_hits(peaks)
        changed = first
        for turn in range(self.how.niter):
            if turn:
                # What is said of a pixel hangs on its surroundings, so far from what was
                # repaired nothing changes: neither peaks nor hits, nor what grows from them.
                touched = self._spread(changed, _square(self.how.edge), self.how.edge)
                peaks = _joined(
                    np.setdiff1d(peaks, touched, assume_unique=True), self._peaks(touched)
                )
                about = self._surroundings(changed)
                first = np.concatenate(
                    [first[~about(first)], self._first_hits(peaks[about(peaks)])]
                )
                near = first[about(first)]
            if not first.size:
                break
            hits = self._grow(near)
            new = hits[~self.flagged[hits]]
            changed = self._repair(new)
            # The same frame gives the same hits, and these the same repair.
            if not changed.size:
                break
        return True

    def screen(self) -> np.ndarray | None:
        """Return the pixels that can be hits, by an upper bound of S; None where too many can.

        The Laplacian of a pixel c is at most 2c less its lower neighbours in the row and
        in the column. The median of a window is at least the least of any few of its
        values that are more than half, so a few minima bound the noise from below.
        """
        how, width = self.how, self.columns
        image, variance = self.image.reshape(-1), self.variance.reshape(-1)
        steps = max(1, _BAND // width)
        first, last = how.edge * width, (self.rows - how.edge) * width
        found, number = [], 0
        for start in range(first, last, steps * width):
            stop = min(start + steps * width, last)
            lower = _lower_bound(variance, start, stop, width, how.sepmed)
            if self.background is not None:
                lower += self.background.reshape(-1)[start + how.edge : stop - how.edge]
            a, b = start + how.edge, stop - how.edge
            some = a + _screened(image, a, b, width, lower, how.sigclip)
            column = some % width
            some = some[(column >= how.edge) & (column < width - how.edge)]
            if self.closed is not None:
                some = some[~self.closed[some]]
            found.append(some)
            number += some.size
            if number > _SCREENED * self.image.size and not self.dense_too:
                return None
        return np.concatenate(found)

    def _peaks(self, pixels: np.ndarray) -> np.ndarray:
        """Return the pixels that stand out against their noise before S is made smooth.

        What is taken off S for its surroundings is never negative, so no other can be a hit.
        """
        if self.closed is not None:
            pixels = pixels[~self.closed[pixels]]
        pixels = pixels[self._bright(pixels)]
        return pixels[self.significance(pixels) > self.how.sigclip]

    def _bright(self, pixels: np.ndarray) -> np.ndarray:
        """Say where the Laplacian is beyond sigclip times the least noise of a neighbourhood.

        A repair takes values from two pixels away, so it makes none that is less, unless
        it takes the frame's level, or reads other hits as the plain median does.
        """
        row, column = np.divmod(pixels, self.columns)
        least = self.quietest[row // _BLOCK, column // _BLOCK]
        if 1 in self.levels:
            least = np.minimum(least, self.levels[1])
        noise = np.sqrt(np.maximum(least, _LEAST))
        return self._at(pixels, self._light, "light") > 1.9999 * self.how.sigclip * noise

    @cached_property
    def quietest(self) -> np.ndarray:
        """The least variance of the block that a pixel is in and of those beside it."""
        rows = range(0, self.rows, _BLOCK)
        least = np.array([self.variance[row : row + _BLOCK].min(axis=0) for row in rows])
        least = np.minimum.reduceat(least, np.arange(0, self.columns, _BLOCK), axis=1)
        if self.background is not None or self.how.cleantype == "median":
            least[:] = 0
        least = np.pad(least, 1, mode="edge")
        least = np.minimum(np.minimum(least[:-2], least[1:-1]), least[2:])
        return np.minimum(np.minimum(least[:, :-2], least[:, 1:-1]), least[:, 2:])

    def _first_hits(self, peaks: np.ndarray) -> np.ndarray:
        """Return the hits: S' beyond sigclip, and beyond objlim times the fine structure."""
        sharp = self.sharpness(peaks)
        peaks, sharp = peaks[sharp > self.how.sigclip], sharp[sharp > self.how.sigclip]
        return peaks[sharp / self.fine(peaks) > self.how.objlim]

    def _grow(self, first: np.ndarray) -> np.ndarray:
        """Add neighbours beyond sigclip, and to all of these neighbours beyond sigfrac of it."""
        low = self.how.sigfrac * self.how.sigclip
        ring = self._spread(first, _square(1), self.how.edge)
        hits, sharp = self._sharp(ring, low)
        # Those beyond sigclip hold the first hits, so all of this ring lies beside them.
        wider = self._spread(hits[sharp > self.how.sigclip], _square(1), self.how.edge)
        more, _ = self._sharp(np.setdiff1d(wider, ring, assume_unique=True), low)
        return _joined(hits, more)

    def _sharp(self, pixels: np.ndarray, low: np.float32) -> tuple[np.ndarray, np.ndarray]:
        """Return the open pixels whose S' is beyond a limit, and S'."""
        if self.closed is not None:
            pixels = pixels[~self.closed[pixels]]
        pixels = pixels[self.significance(pixels) > low]
        sharp = self.sharpness(pixels)
        return pixels[sharp > low], sharp[sharp > low]

    def _surroundings(self, changed: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function that says of pixels whether they may lie near changed ones."""
        coarse = np.zeros((self.rows // _BLOCK + 3, self.columns // _BLOCK + 3), bool)
        row, column = np.divmod(changed, self.columns)
        coarse[row // _BLOCK + 1, column // _BLOCK + 1] = True
        coarse = _grown_by_one(coarse)

        def about(pixels: np.ndarray) -> np.ndarray:
            row, column = np.divmod(pixels, self.columns)
            return coarse[row // _BLOCK + 1, column // _BLOCK + 1]

        return about

    def _spread(
        self, pixels: np.ndarray, offsets: tuple[tuple[int, int], ...], edge: int
    ) -> np.ndarray:
        """Return pixels and what lies at some offsets from them, but no nearer to the edges."""
        steps = np.array([row * self.columns + column for row, column in offsets])
        about = (pixels + steps[:, np.newaxis]).reshape(-1)
        about = about[(about >= edge * self.columns) & (about < (self.rows - edge) * self.columns)]
        column = about % self.columns
        about = about[(column >= edge) & (column < self.columns - edge)]
        return _joined(about, pixels)

    # Filters about some pixels.

    def significance(self, pixels: np.ndarray) -> np.ndarray:
        """Return S, the Laplacian over twice the noise."""
        return self._at(pixels, self._significance_inside, "S")

    def sharpness(self, pixels: np.ndarray) -> np.ndarray:
        """Return S', which is S less its median."""
        return self._at(pixels, self._sharpness_inside, "S'")

    def fine(self, pixels: np.ndarray) -> np.ndarray:
        """Return the fine structure over the noise."""
        return self._at(pixels, self._fine_inside, "F")

    def _at(
        self, pixels: np.ndarray, inside: Callable[[np.ndarray], np.ndarray], what: str
    ) -> np.ndarray:
        """Apply a filter; near an edge, to a piece that has that edge."""
        row, column = np.divmod(pixels, self.columns)
        reach = self.how.reach
        within = (np.minimum(row, self.rows - 1 - row) >= reach) & (
            np.minimum(column, self.columns - 1 - column) >= reach
        )
        values = np.empty(pixels.size, F4)
        values[within] = _in_chunks(inside, pixels[within])
        near_edge = partial(self._near_edge, what=what)
        values[~within] = _in_chunks(near_edge, pixels[~within])
        return values

    def _noise(self, pixels: np.ndarray, half: int) -> np.ndarray:
        """Return the noise of the pixels up to ``half`` away: the root of the median variance."""
        window = self._window(self.variance, pixels, half + self.how.edge)
        variance = self.how.median(window, self.how.sizes[0])
        if self.background is not None:
            variance += self._window(self.background, pixels, half)
        return np.sqrt(np.maximum(variance, _LEAST))

    def _light(self, pixels: np.ndarray) -> np.ndarray:
        return _laplacian(self._window(self.image, pixels, 1))[0, 0]

    def _significance_inside(self, pixels: np.ndarray, half: int = 0) -> np.ndarray:
        light = _laplacian(self._window(self.image, pixels, half + 1))
        light /= 2 * self._noise(pixels, half)
        return light if half else light[0, 0]

    def _sharpness_inside(self, pixels: np.ndarray) -> np.ndarray:
        half, size = self.how.edge, self.how.sizes[0]
        s = self._significance_inside(pixels, half)
        return s[half, half] - self.how.median(s, size)[0, 0]

    def _fine_inside(self, pixels: np.ndarray) -> np.ndarray:
        size = self.how.sizes[2]
        half = size // 2
        wide = half + self.how.half_of_fine
        noise = None if self.how.kernel is None else self._noise(pixels, wide)
        fine = self.how.fine(self._window(self.image, pixels, wide), noise)
        above = fine[half, half] - self.how.median(fine, size)[0, 0]
        return np.maximum(above / self._noise(pixels, 0)[0, 0], _FLOOR)

    def _near_edge(self, pixels: np.ndarray, what: str) -> np.ndarray:
        """Work on pieces moved inwards as far as the frame goes, as if each were a frame.

        Its sides that are not the frame's are too far from the pixel to matter.
        """
        how, size = self.how, 2 * self.how.reach + 1
        row, column = np.divmod(pixels, self.columns)
        top = np.clip(row - how.reach, 0, self.rows - size)
        left = np.clip(column - how.reach, 0, self.columns - size)
        middle = (top + how.reach) * self.columns + left + how.reach
        image = self._window(self.image, middle, how.reach)
        variance = _same_edges(self._window(self.variance, middle, how.reach), how, how.sizes[0])
        if self.background is not None:
            variance += self._window(self.background, middle, how.reach)
        noise = np.sqrt(np.maximum(variance, _LEAST))
        answer = s = _laplacian_with_edges(image) / (2 * noise)
        if what == "light":
            answer = _laplacian_with_edges(image)
        elif what == "S'":
            answer = s - _same_edges(s, how, how.sizes[0])
        elif what == "F":
            fine = how.fine_with_edges(image, noise)
            above = fine - _same_edges(fine, how, how.sizes[2])
            answer = np.maximum(above / noise, _FLOOR)
        return answer[row - top, column - left, np.arange(pixels.size)]

    def _window(self, image: np.ndarray, pixels: np.ndarray, half: int) -> np.ndarray:
        """Return what lies about pixels, shape (2 half + 1, 2 half + 1, pixels)."""
        size, step = 2 * half + 1, image.itemsize
        windows = as_strided(
            image,
            (image.size - (size - 1) * (self.columns + 1), size, size),
            (step, step * self.columns, step),
            writeable=False,
        )
        corner = pixels - half * (self.columns + 1)
        # The pixels come last, so that a filter works on long rows of them.
        return np.ascontiguousarray(windows[corner].transpose(1, 2, 0))

    # Repair.

    def _repair(self, new: np.ndarray) -> np.ndarray:
        """Replace all hits so far, and return those whose value or variance changed."""
        images = (self.image.reshape(-1), self.variance.reshape(-1))
        self.before.append((new, *(image[new] for image in images)))
        self.flagged[new] = True
        self.hits = _joined(self.hits, new)
        changed = np.zeros(self.hits.size, bool)
        # All are read before any is written: the plain median reads other hits.
        values = [_in_chunks(partial(self._replacement, which), self.hits) for which in range(2)]
        for image, value in zip(images, values, strict=True):
            changed |= image[self.hits] != value
            image[self.hits] = value
        return self.hits[changed]

    def _replacement(self, which: int, hits: np.ndarray) -> np.ndarray:
        """Return what the 25 pixels about each hit say, without hits and closed pixels."""
        values = self._window((self.image, self.variance)[which], hits, 2).reshape(25, -1)
        if self.how.cleantype == "median":
            return np.median(values, axis=0)
        good = ~self._window(self.flagged.reshape(self.image.shape), hits, 2).reshape(25, -1)
        if self.closed is not None:
            good &= ~self._window(self.closed.reshape(self.image.shape), hits, 2).reshape(25, -1)
        value = _CLEAN[self.how.cleantype](values, good)
        none = ~good.any(axis=0)
        if none.any():
            value[none] = self._level(which)
        return value

    def _level(self, which: int) -> np.float32:
        """Return the (lower) median of the open pixels before anything was repaired."""
        if which not in self.levels:
            values = (self.image, self.variance)[which].reshape(-1).copy()
            for pixels, *before in self.before:
                values[pixels] = before[which]
            if self.closed is not None:
                values = values[~self.closed]
            half = (values.size - 1) // 2
            self.levels[which] = np.partition(values, half)[half] if values.size else F4(0)
        return self.levels[which]


# Filters. Images are (rows, columns, pieces); but where it says otherwise they get smaller.


def _laplacian(image: np.ndarray) -> np.ndarray:
    """Return the Laplacian of each pixel, from the four quarters that the paper cuts it into.

    A quarter has its own pixel on two sides. Negative quarters count as nothing.
    """
    here, left, right = image[1:-1, 1:-1], image[1:-1, :-2], image[1:-1, 2:]
    above, below = image[:-2, 1:-1], image[2:, 1:-1]
    four = 4 * here
    to_left, to_right = (four - here) - left, (four - right) - here
    upper, lower = here + above, below + here
    return _quarters(to_left - upper, to_right - upper, to_left - lower, to_right - lower)


def _quarters(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return the mean of four quarters, upper left and right, lower left and right."""
    a, b, c, d = (np.maximum(quarter, 0) for quarter in (a, b, c, d))
    return ((a + d) + (b + c)) * F4(0.25)


def _laplacian_with_edges(image: np.ndarray) -> np.ndarray:
    """Return the Laplacian of a whole image, in which outer neighbours are left out.

    The order of the terms differs from edge to edge; it is that of astroscrappy's
    compiled code, and shows in the last bit only.
    """
    fine = image.repeat(2, 0).repeat(2, 1)
    four = 4 * fine
    laplacian = np.empty_like(fine)
    up, down = fine[:-2], fine[2:]
    left, right = fine[:, :-2], fine[:, 2:]
    laplacian[1:-1, 1:-1] = ((four[1:-1, 1:-1] - right[1:-1]) - left[1:-1]) - (
        down[:, 1:-1] + up[:, 1:-1]
    )
    laplacian[-1, 1:-1] = (four[-1, 1:-1] - fine[-2, 1:-1]) - (right[-1] + left[-1])
    laplacian[1:-1, 0] = (four[1:-1, 0] - fine[1:-1, 1]) - (down[:, 0] + up[:, 0])
    laplacian[1:-1, -1] = (four[1:-1, -1] - down[:, -1]) - (fine[1:-1, -2] + up[:, -1])
    top = fine[:2].astype("f8")
    laplacian[0, 1:-1] = 4 * top[0, 1:-1] - top[0, 2:] - top[0, :-2] - top[1, 1:-1]
    laplacian[0, 0] = four[0, 0] - (fine[0, 1] + fine[1, 0])
    laplacian[0, -1] = four[0, -1] - (fine[0, -2] + fine[1, -1])
    laplacian[-1, 0] = four[-1, 0] - (fine[-1, 1] + fine[-2, 0])
    laplacian[-1, -1] = (four[-1, -1] - fine[-1, -2]) - fine[-2, -1]
    return _quarters(
        laplacian[::2, ::2], laplacian[::2, 1::2], laplacian[1::2, ::2], laplacian[1::2, 1::2]
    )


def _convolved(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the weighted sums of neighbours, added in the order of the kernel."""
    rows, columns = (n - k + 1 for n, k in zip(image.shape, kernel.shape, strict=False))
    total = np.zeros((rows, columns, *image.shape[2:]), F4)
    for (row, column), weight in np.ndenumerate(kernel):
        total += image[row : row + rows, column : column + columns] * weight
    return total


def _same_edges(image: np.ndarray, how: _How, size: int) -> np.ndarray:
    """Return an image whose inner pixels are medians and whose edges are as they were."""
    smooth, half = image.copy(), size // 2
    smooth[half:-half, half:-half] = how.median(image, size)
    return smooth


def _rows_then_columns(image: np.ndarray, size: int) -> np.ndarray:
    """Return the separable median."""
    columns = image.shape[1] - size + 1
    along = _median([image[:, n : n + columns] for n in range(size)])
    rows = image.shape[0] - size + 1
    return _median([along[n : n + rows] for n in range(size)])


def _box(image: np.ndarray, size: int) -> np.ndarray:
    """Return the median of all pixels of a window."""
    rows, columns = image.shape[0] - size + 1, image.shape[1] - size + 1
    return _median(
        [
            image[row : row + rows, column : column + columns]
            for row in range(size)
            for column in range(size)
        ]
    )


def _median(values: Sequence[np.ndarray]) -> np.ndarray:
    """Return the median of an odd number of images."""
    values = list(values)
    for i, j, low, high in _network(len(values)):
        a, b = values[i], values[j]
        if low:
            values[i] = np.minimum(a, b)
        if high:
            values[j] = np.maximum(a, b)
    return values[len(values) // 2]


@lru_cache
def _network(number: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """Return pairs to be put in order, and whether their lesser and greater are needed.

    Batcher's merge exchange (Knuth 5.2.2, algorithm M), or a shorter known network, of
    which only what leads to the middle is kept.
    """
    wanted, steps = {number // 2}, []
    for i, j in reversed(_SHORT.get(number) or _batcher(number)):
        if i in wanted or j in wanted:
            steps.append((i, j, i in wanted, j in wanted))
            wanted |= {i, j}
    return tuple(reversed(steps))


def _batcher(number: int) -> list[tuple[int, int]]:
    pairs = []
    top = step = 1 << ((number - 1).bit_length() - 1)
    while step:
        stride, offset, distance = top, 0, step
        while True:
            pairs += [(i, i + distance) for i in range(number - distance) if i & step == offset]
            if stride == step:
                break
            distance, stride, offset = stride - step, stride // 2, step
        step //= 2
    return pairs


def _pairs(text: str) -> list[tuple[int, int]]:
    return [(int(pair[0]), int(pair[1])) for pair in text.split()]


_SHORT = {
    5: _pairs("01 34 03 14 12 23 12"),
    7: _pairs("05 03 16 24 01 35 26 23 36 45 14 13 34"),
    9: _pairs("12 45 78 01 34 67 12 45 78 03 58 47 36 14 25 47 42 64 42"),
}
"""Median networks of 5, 7 and 9 values (Devillard 1998, after Smith 1996)."""


# Repair of hits: 25 values each, in the order of the rows, and which of them are good.


def _mean(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    total = np.zeros(values.shape[1], F4)
    for value, use in zip(values, good, strict=True):
        total += np.where(use, value, 0)
    return total / np.maximum(good.sum(axis=0), 1).astype(F4)


def _lower_median(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    ordered = np.sort(np.where(good, values, F4(np.inf)), axis=0)
    half = np.maximum(good.sum(axis=0) - 1, 0) // 2
    return ordered[half, np.arange(half.size)]


def _inverse_distance(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    total, weights = np.zeros((2, values.shape[1]), F4)
    for value, use, weight in zip(values, good, _WEIGHTS, strict=True):
        total += np.where(use, value * weight, 0)
        weights += np.where(use, weight, 0)
    return total / np.maximum(weights, _FLOOR)


_WEIGHTS = [
    F4(1 / np.hypot(row, column)) if row or column else F4(0)
    for row in range(-2, 3)
    for column in range(-2, 3)
]

_CLEAN = {"meanmask": _mean, "medmask": _lower_median, "idw": _inverse_distance}


# Parts of the search.


def _in_chunks(function: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """Apply a function to as many pixels at a time as keep its windows in the cache."""
    done = [function(pixels[first : first + _CHUNK]) for first in range(0, pixels.size, _CHUNK)]
    return np.concatenate(done) if done else np.empty(0, F4)


def _joined(*pixels: np.ndarray) -> np.ndarray:
    """Return pixels in order, each once; `numpy.unique` hashes them, which takes far longer."""
    ordered = np.sort(np.concatenate(pixels))
    first = np.ones(ordered.size, bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def _lower_bound(
    variance: np.ndarray, start: int, stop: int, width: int, sepmed: bool
) -> np.ndarray:
    """Return a lower bound of the median variance, of pixels ``start + edge`` to ``stop - edge``.

    The middle of seven is no less than the least of the first four, nor of the last
    four; the middle of 25 no less than the least of the upper 15, nor of the lower 15.
    """
    edge = 3 if sepmed else 2
    values = variance[start - edge * width : stop + edge * width]
    if sepmed:
        values = _least(_least(values, 2, 1), 2, 2)
        values = np.maximum(values[:-3], values[3:])
        values = _least(_least(values, 2, width), 2, 2 * width)
        return np.maximum(values[: -3 * width], values[3 * width :])
    values = _least(_least(values, 5, 1), 3, width)
    return np.maximum(values[: -2 * width], values[2 * width :])


def _least(values: np.ndarray, number: int, step: int) -> np.ndarray:
    """Return the least of each value and those that follow it at some step."""
    size = values.size - (number - 1) * step
    least = np.minimum(values[:size], values[step : step + size])
    for n in range(2, number):
        np.minimum(least, values[n * step : n * step + size], out=least)
    return least


def _screened(
    image: np.ndarray, start: int, stop: int, width: int, lower: np.ndarray, sigclip: np.float32
) -> np.ndarray:
    """Return where S may be beyond sigclip, as `_Frame.screen` says."""
    about = image[start - width : stop + width]
    top = np.minimum(image[start - width : stop - width], image[start + width : stop + width])
    top += np.minimum(image[start - 1 : stop - 1], image[start + 1 : stop + 1])
    top *= F4(-0.5)
    top += image[start:stop]
    # The Laplacian itself is rounded a few times, in steps of the brightest values near it.
    top += 4e-6 * max(about.max(), -about.min())
    np.maximum(top, 0, out=top)
    top *= top
    np.maximum(lower, _LEAST, out=lower)
    lower *= sigclip * sigclip * F4(0.9999)
    return np.flatnonzero(top > lower)


def _grown_by_one(mask: np.ndarray) -> np.ndarray:
    """Grow a mask by a pixel on all sides, but not into the outermost rows and columns."""
    grown = mask.copy()
    wide = mask[:, :-2] | mask[:, 1:-1] | mask[:, 2:]
    grown[1:-1, 1:-1] = wide[:-2] | wide[1:-1] | wide[2:]
    return grown


@lru_cache
def _square(half: int) -> tuple[tuple[int, int], ...]:
    return tuple((r, c) for r in range(-half, half + 1) for c in range(-half, half + 1))


_ROUND = tuple((r, c) for r, c in _square(2) if abs(r * c) < 4)
"""A square of five pixels without its corners."""

_LEAST = F4(1e-5)
"""The smallest variance that L.A.Cosmic works with."""

_FLOOR = F4(0.01)
"""The smallest fine structure that it works with."""
