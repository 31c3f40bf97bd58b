"""The one transformation between the raw pixels of an amplifier and their place on the detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .section import Section

__all__ = ["PixelMap", "whole_bins"]

Place = TypeVar("Place", float, np.ndarray)
"""A column or row that counts from 1, at the centre of a pixel; a fraction lies between two."""


@dataclass(frozen=True)
class PixelMap:
    """Raw pixels of an amplifier, and the pixels of the detector that they cover.

    It also places an amplifier in the trimmed frame, whose pixels are binned as the raw ones are:
    ``detector`` is then its place there, and ``binning`` is 1 x 1.

    Parameters
    ----------
    data : Section
        The data in the raw frame, in pixels of the file.
    detector : Section
        The same pixels on the detector, unbinned.
    binning : tuple of int
        Columns and rows that were summed into one raw pixel.
    flipped : tuple of bool
        Whether columns, and rows, are read from the far end.

    Notes
    -----
    The n-th raw pixel along an axis, n = 0, 1, …, covers the b pixels that follow the first n b
    pixels of the detector, counted from the end that is read first. In FITS pixels, whose centres
    are whole numbers, its centre is first + (n + 1/2) b - 1/2, or last - (n + 1/2) b + 1/2 if the
    axis is flipped.

    Examples
    --------
    The lower right amplifier of a Sinistro is read from the right:

    >>> from ccdprofiles.camera.pixel_map import PixelMap
    >>> from ccdprofiles.camera.section import Section
    >>> data, place = Section.parse("[1:2048, 1:2048]"), Section.parse("[2049:4096, 1:2048]")
    >>> right = PixelMap(data, place, flipped=(True, False))
    >>> right.to_detector(1, 1)
    (4096.0, 1.0)
    >>> right.to_raw(2049, 7)
    (2048.0, 7.0)
    """

    data: Section
    detector: Section
    binning: tuple[int, int] = (1, 1)
    flipped: tuple[bool, bool] = (False, False)

    def to_detector(self, column: Place, row: Place) -> tuple[Place, Place]:
        """Return the place on the detector of a raw column and row."""
        across, up = self._axes
        return _forth(column, *across), _forth(row, *up)

    def to_raw(self, column: Place, row: Place) -> tuple[Place, Place]:
        """Return the raw column and row of a place on the detector."""
        across, up = self._axes
        return _back(column, *across), _back(row, *up)

    def raw_rows(self, first: int, stop: int) -> slice:
        """Return the raw rows, as a slice, of rows ``first`` to ``stop`` (exclusive) from 0.

        Both ends lie within the detector section, and the binning is 1 x 1.
        """
        ends = sorted(int(self.to_raw(1, row)[1]) for row in (first + 1, stop))
        return slice(ends[0] - 1, ends[1])

    def flip(self, image: np.ndarray) -> np.ndarray:
        """Return raw pixels of shape (…, rows, columns) as they lie on the detector, as a view."""
        columns, rows = self.flipped
        image = image[..., ::-1, :] if rows else image
        return image[..., ::-1] if columns else image

    @property
    def _axes(self) -> tuple[tuple[int, int, int, int, bool], ...]:
        """For columns and rows: the first raw pixel, the ends on the detector, bin and flip."""
        data, on = self.data, self.detector
        columns = (data.first_column, on.first_column, on.last_column)
        rows = (data.first_row, on.first_row, on.last_row)
        return (
            (*columns, self.binning[0], self.flipped[0]),
            (*rows, self.binning[1], self.flipped[1]),
        )


def _forth(raw: Place, start: int, first: int, last: int, by: int, flipped: bool) -> Place:
    covered = (raw - start + 0.5) * by - 0.5
    return last - covered if flipped else first + covered


def _back(place: Place, start: int, first: int, last: int, by: int, flipped: bool) -> Place:
    covered = last - place if flipped else place - first
    return (covered + 0.5) / by - 0.5 + start


def whole_bins(start: int, stop: int, by: int, flipped: bool) -> tuple[int, int]:
    """Return the first and last bin, from 1, of the whole bins in ``stop - start`` pixels."""
    number = (stop - start) // by
    last = stop // by if flipped else start // by + number
    return last - number + 1, last
