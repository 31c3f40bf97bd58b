"""The frames of a night as a `ccdproc.ImageFileCollection`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, fits_ccddata_reader
from astropy.table import Table
from ccdproc import ImageFileCollection

__all__ = ["NightFiles"]

_NO_FILTER = ("save_with_name", "save_location", "overwrite", "clobber", "do_not_scale_image_data")


class NightFiles(ImageFileCollection):
    """Accepted frames whose summary has the normalised columns of the frames table.

    Parameters
    ----------
    folder : path
    summary : Table
        One row per file, or per chip of a mosaic, masked.
    units : sequence of Unit
        Of the pixels in each row, according to the profile.
    hdus : sequence of (int or None)
        The HDU of each row that is a chip of a mosaic.
    """

    def __init__(
        self,
        folder: str | Path,
        summary: Table,
        units: Sequence[u.UnitBase],
        hdus: Sequence[int | None],
    ):
        names = [*summary["file"]]
        # Without keywords the collection reads no header; the summary is given.
        super().__init__(location=str(folder), filenames=names or ["-"], keywords=[])
        self._files = names
        self._summary = summary if names else None
        self._images = [*zip(names, units, hdus, strict=True)]

    def ccds(self, ccd_kwargs: Mapping | None = None, **kwd: Any) -> Iterator[CCDData]:
        """Return a generator of the frames, in the unit of their profile unless one is given.

        The frame of a chip is the first image of that chip. Parameters are those of
        `ccdproc.ImageFileCollection.ccds`.
        """
        options = dict(ccd_kwargs or {})
        of_chips = any(hdu is not None for _, _, hdu in self._images)
        if kwd.get("overwrite") or kwd.get("clobber") or ("unit" in options and not of_chips):
            return super().ccds(ccd_kwargs=options, **kwd)
        return self._in_their_units(options, **kwd)

    def _in_their_units(
        self, options: Mapping, return_fname: bool = False, **kwd: Any
    ) -> Iterator[CCDData]:
        filters = {name: value for name, value in kwd.items() if name not in _NO_FILTER}
        for row in self._rows(filters):
            file, unit, hdu = self._images[row]
            how = {"unit": unit, "hdu": self.ext if hdu is None else hdu, **options}
            path = Path(self.location, file)
            ccd = fits_ccddata_reader(path, **how)
            yield (ccd, path.name) if return_fname else ccd

    def _rows(self, filters: Mapping) -> list[int]:
        """Return the rows of the summary that filters select."""
        if self._summary is None:
            return []
        mask = self._summary["file"].mask.copy()
        self._find_keywords_by_values(**filters)
        selected = np.flatnonzero(~self._summary["file"].mask).tolist()
        self._summary["file"].mask = mask
        return selected
