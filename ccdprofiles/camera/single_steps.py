"""The steps of a reduction as methods of a profile: read, prepare and calibrate one frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from .settings import Number

__all__ = ["SingleSteps"]


class SingleSteps:
    """Hand one frame to the package ``steps``, which is above this one and imported when used."""

    def read(self, path: str | Path) -> CCDData:
        """Read a raw frame as a CCDData, its header as it is and no pixel changed.

        Parameters
        ----------
        path : str or Path
            A FITS file of one image, plain, gzipped or tile-compressed.

        Returns
        -------
        CCDData, shape (rows, columns)
            In the unit of the profile, mostly adu; float32, or float64 where the file has more
            than 16 bits. A BLANK pixel is NaN.

        Raises
        ------
        FrameRejected
            If its content cannot be read, or it holds several images.
        PlanError
            If there is no such file.

        Examples
        --------
        >>> import tempfile
        >>> from ccdprofiles.simulate import simulate_night, windowed
        >>> with tempfile.TemporaryDirectory() as night:
        ...     lfc = simulate_night(windowed("lfc", rows=40, columns=60), night).known
        ...     raw = lfc.read(f"{night}/ccd.025.0.fits")
        >>> raw.shape, str(raw.unit)
        ((40, 92), 'adu')
        """
        from ..steps.prepared import read_frame

        return read_frame(cast(Any, self), path)

    def prepare(
        self, frame: CCDData | str | Path, *, night_level: Sequence[float | None] | None = None
    ) -> CCDData:
        """Subtract the overscan, trim, and put the amplifiers side by side.

        Parameters
        ----------
        frame : CCDData, str or Path
            A raw frame in adu. One in memory is handed on in a temporary file.
        night_level : sequence of float, optional
            The median overscan level of the night in adu, for each amplifier. It is taken where
            the frame's own deviates by more than the recipe's ``overscan_drift``.

        Returns
        -------
        CCDData, shape (rows, columns)
            In adu; float32, or float64 for a calibration frame that float32 would round. The
            uncertainty is a standard deviation, sqrt(max(signal, 0) / gain + read noise^2), and
            None where gain or read noise is not known or the pedestal is still in it. ``flags``
            are bits as in a product, and ``mask`` follows from them. ``meta`` has the cards of a
            product, which say what the frame still holds.

        Raises
        ------
        FrameRejected
            If the header rules the frame out.
        PlanError
            If it was prepared before, is not in the unit of raw frames, is a slice, or is not an
            image.

        Examples
        --------
        >>> import tempfile
        >>> from ccdprofiles.simulate import simulate_night, windowed
        >>> with tempfile.TemporaryDirectory() as night:
        ...     lfc = simulate_night(windowed("lfc", rows=40, columns=60), night).known
        ...     frame = lfc.prepare(f"{night}/ccd.025.0.fits")
        >>> frame.shape, frame.meta["OVERSCAN"], frame.meta["TRIM"]
        ((40, 60), 'median of [68:92, 1:40]', '[1:60, 1:40]')
        """
        from ..steps.prepared import prepare_frame

        return prepare_frame(cast(Any, self), frame, night_level)

    def calibrate(
        self,
        frame: CCDData | str | Path,
        *,
        bias: CCDData | str | Path | Number = None,
        dark: CCDData | str | Path | None = None,
        flat: CCDData | str | Path | None = None,
        electrons: bool | None = None,
    ) -> CCDData:
        """Subtract bias and dark from a prepared frame, divide by the flat, and apply the gain.

        The dark is scaled and the gain applied where the recipe says so; the gain to science
        frames only. A master without the cards of this package is measured: a flat whose median
        is not 1 is divided by it, and whether a dark holds its pedestal is told from its level.
        This is logged as a warning and stands in HISTORY, as do settings that differ and need
        not be wrong, and a flat that is used without the bias or dark of the recipe.

        Parameters
        ----------
        frame : CCDData, str or Path
            As `prepare` gives it.
        bias, dark, flat : CCDData, str or Path, optional
            As `ccdprofiles.combine` gives them, a master of `ccdprofiles.reduce_night`, or that
            of another program, trimmed as the frame is. ``bias`` may also be a constant in adu, as
            in a recipe: ``bias=100 * u.adu``.
        electrons : bool, optional
            Whether the gain is applied; False where further masters are to follow. Omitted, as
            the recipe says.

        Returns
        -------
        CCDData, shape (rows, columns)
            A science frame in float32, in adu or electron; a calibration frame in float64 and adu.

        Raises
        ------
        PlanError
            If the numbers would be wrong: a bias subtracted twice, a dark scaled that holds its
            pedestal, a flat that divides a pedestal, adu and electron mixed, a slice, a master of
            another camera, amplifier set, binning, exposure or filter, or a bias or dark of other
            settings, as a night compares them. Also if an argument is not an image.

        Examples
        --------
        >>> import tempfile
        >>> from ccdprofiles.simulate import simulate_night, windowed
        >>> from ccdprofiles import combine
        >>> with tempfile.TemporaryDirectory() as night:
        ...     lfc = simulate_night(windowed("lfc", rows=40, columns=60), night).known
        ...     darks = [lfc.prepare(f"{night}/darks/ccd.0{n}.0.fits") for n in range(18, 24)]
        ...     frame = lfc.prepare(f"{night}/ccd.025.0.fits")
        >>> dark = combine(darks, clip=5)
        >>> lfc.calibrate(frame, dark=dark).meta["CALSTAT"]
        'OD'
        """
        from ..steps.calibrated import calibrate_frame

        return calibrate_frame(cast(Any, self), frame, bias, dark, flat, electrons)
