"""Cosmic rays by L.A.Cosmic (van Dokkum 2001, PASP 113, 1420).

The paper filters the whole frame several times, although one pixel in a thousand is hit.
`ccdprofiles.pixels.lacosmic` evaluates the same filters only where a hit is possible. Options,
their names and the result are those of astroscrappy, to the last bit: float32 arithmetic is
done in the order of astroscrappy's compiled code. Frames so crowded with stars or lines that
this is not faster are passed to astroscrappy itself.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from .lacosmic.options import Options
from .lacosmic.search import search

__all__ = ["LEAST_SIDE", "CosmicRayHits", "detect_cosmics"]

F4 = np.float32

LEAST_SIDE = 9
"""The width of the widest median. Compiled code reads outside of images that are much smaller."""

_one_at_a_time = threading.Lock()


class CosmicRayHits(NamedTuple):
    """The cosmic rays of a frame.

    Parameters
    ----------
    mask : ndarray of bool
        The pixels that were hit.
    data : ndarray of float32
        The frame with these replaced, in its own unit.
    way : {"sparse", "astroscrappy"}
        Which search was used; the results of both agree.
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
) -> CosmicRayHits:
    """Detect cosmic rays, and replace them in a copy, as `astroscrappy.detect_cosmics` does.

    Parameters
    ----------
    ccd : CCDData or ndarray, shape (rows, columns)
        With its sky background. The mask of a CCDData is added to ``inmask``. Pixels that are
        not finite count as masked, and stay as they are.
    inmask : ndarray of bool or None
        Pixels known to be bad.
    inbkg : ndarray or None
        A background to be subtracted first, in the unit of ``ccd``.
    invar : ndarray or None
        The variance, in that unit squared, instead of signal plus read noise.
    sigclip : float
        Laplacian-to-noise ratio from which a pixel can be a hit.
    sigfrac : float
        Fraction of ``sigclip`` that is required of the neighbours of a hit.
    objlim : float
        Minimum contrast between the Laplacian and the fine structure.
    gain : float
        Electrons per count; 1 for a frame in electron.
    readnoise : float or ndarray, shape (rows, columns)
        In electron; of each pixel where amplifiers differ.
    satlevel : float
        Saturation level in electron, from which a pixel may belong to a saturated star.
    niter : int
        Maximum number of iterations.
    sepmed : bool
        Whether medians are taken along rows and then along columns, in wider windows.
    cleantype : {"meanmask", "medmask", "idw", "median"}
        How hits are replaced. ``"median"`` is the plain median of 5x5 pixels, of which astroscrappy
        1.3.0 reads only two; it always uses the sparse search, however slow.
    fsmode : {"median", "convolve"}
        How the fine structure is measured.
    psfmodel, psffwhm, psfsize, psfk, psfbeta
        The star that ``fsmode="convolve"`` looks for, or its kernel.

    Returns
    -------
    CosmicRayHits

    Raises
    ------
    ValueError
        If the frame is not two-dimensional or is too small for the filters, if a gain is given for a frame in electron, or if
        ``cleantype="median"`` is not supported with the other options.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.cosmics import detect_cosmics
    >>> image = np.random.default_rng(1).normal(200, 14, (64, 64))
    >>> image[40, 20] += 1000
    >>> hits = detect_cosmics(image, readnoise=5)
    >>> np.argwhere(hits.mask)
    array([[40, 20]])
    >>> hits.way
    'sparse'
    """
    original, inmask = _data_and_mask(ccd, inmask, gain)
    data = original
    if np.ndim(readnoise):
        invar = _variance(data, gain, readnoise) if invar is None else invar
        readnoise = 0.0
    inbkg, invar = (
        None if image is None else np.ascontiguousarray(image, F4) for image in (inbkg, invar)
    )
    missing = _not_finite(data, inbkg, invar)
    if missing is not None:
        data = _filled(data, missing)
        inbkg, invar = (None if i is None else _filled(i, missing) for i in (inbkg, invar))
        inmask = missing if inmask is None else inmask | missing
    options: dict[str, Any] = {
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
    psf: dict[str, Any] = {
        "psfmodel": psfmodel,
        "psffwhm": psffwhm,
        "psfsize": psfsize,
        "psfk": psfk,
    }
    kernel = _kernel(**psf) if fsmode == "convolve" else None
    sparse = None
    if fsmode == "median" or kernel is not None:
        sparse = search(data, inmask, inbkg, invar, Options(**options, kernel=kernel))
    if sparse is not None:
        hits = CosmicRayHits(*sparse, "sparse")
    else:
        options |= psf | {"fsmode": fsmode, "psfbeta": psfbeta}
        hits = _by_astroscrappy(data, inmask, inbkg, invar, options)
    if missing is not None:
        hits.data[missing] = original[missing]
    return hits


def _kernel(
    psfmodel: str, psffwhm: float, psfsize: int, psfk: np.ndarray | None
) -> np.ndarray | None:
    """Return the kernel as it is applied to the pixels; None if the search does not support it."""
    import astroscrappy

    makers = {
        "gauss": astroscrappy.gausskernel,
        "gaussx": astroscrappy.gaussxkernel,
        "gaussy": astroscrappy.gaussykernel,
    }
    if psfk is not None:
        kernel = np.asarray(psfk, F4)
    elif psfmodel in makers:
        # astroscrappy reverses a generated kernel once more before it convolves.
        kernel = np.asarray(makers[psfmodel](psffwhm, psfsize))[::-1, ::-1]
    else:
        return None
    if kernel.ndim != 2 or not all(n % 2 for n in kernel.shape):
        return None
    more = [(max(kernel.shape) - n) // 2 for n in kernel.shape]
    return np.pad(kernel[::-1, ::-1], [(n, n) for n in more])


def _data_and_mask(
    ccd: CCDData | np.ndarray, inmask: np.ndarray | None, gain: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the pixels and the mask of all that are known to be bad."""
    data = ccd.data if isinstance(ccd, CCDData) else np.asarray(ccd)
    inmask = None if inmask is None else np.asarray(inmask, bool)
    if data.ndim != 2:
        raise ValueError(
            f"cosmic rays are detected in an image of 2 dimensions, not in {data.ndim} dimensions; "
            "use one frame at a time"
        )
    if min(data.shape) < LEAST_SIDE:
        raise ValueError(
            f"the image has the shape {data.shape}, but the filters of the search need at least "
            f"{LEAST_SIDE} rows and columns; search the whole frame"
        )
    if isinstance(ccd, CCDData):
        if ccd.unit == u.electron and gain != 1:
            raise ValueError(
                f"the frame is already in electron, so gain={gain} would be applied twice; "
                "omit gain"
            )
        if ccd.mask is not None and ccd.mask is not np.ma.nomask:
            inmask = ccd.mask if inmask is None else inmask | ccd.mask
    return data, inmask


def _not_finite(*images: np.ndarray | None) -> np.ndarray | None:
    """Return where one of the images is not finite; None if all are."""
    missing = None
    for image in images:
        if image is not None and not (finite := np.isfinite(image)).all():
            missing = ~finite if missing is None else missing | ~finite
    return missing


def _filled(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return an image with its median where values are missing; the mask excludes these."""
    good = image[~missing]
    image = image.copy()
    image[missing] = np.median(good[:: 1 + good.size // 100_000]) if good.size else 0
    return image


def _variance(data: np.ndarray, gain: float, readnoise: float | np.ndarray) -> np.ndarray:
    """Return signal and read noise of each pixel as a variance, in counts squared."""
    return (data * F4(gain) + np.square(readnoise, dtype=F4)).astype(F4) / F4(gain) ** 2


def _by_astroscrappy(
    data: np.ndarray,
    inmask: np.ndarray | None,
    inbkg: np.ndarray | None,
    invar: np.ndarray | None,
    options: dict,
) -> CosmicRayHits:
    """Find cosmic rays with astroscrappy."""
    import astroscrappy

    if options["cleantype"] == "median":
        raise ValueError(
            "cleantype='median' is not supported with these options or for so small an image, because "
            "astroscrappy 1.3.0 takes this median of uninitialised memory; use 'meanmask'"
        )
    # It uses all processors for one frame; several threads would compete for them.
    with _one_at_a_time:
        mask, cleaned = astroscrappy.detect_cosmics(data, inmask, inbkg, invar, **options)
    return CosmicRayHits(np.asarray(mask, bool), cleaned, "astroscrappy")
