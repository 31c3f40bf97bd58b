"""The frames of a night as a `ccdproc.ImageFileCollection`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

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
        One row per file, masked.
    units : dict
        File → unit of its pixels, as the profile says.
    """

    def __init__(self, folder: str | Path, summary: Table, units: Mapping[str, u.UnitBase]):
        names = list(units)
        # Without keywords the collection reads no header; the summary is given.
        super().__init__(location=str(folder), filenames=names or ["-"], keywords=[])
        self._files = names
        self._summary = summary if names else None
        self._units = dict(units)

    def ccds(self, ccd_kwargs: Mapping | None = None, **kwd: Any) -> Iterator[CCDData]:
        """Return a generator of the frames, in the unit of their profile unless one is given.

        Parameters are those of `ccdproc.ImageFileCollection.ccds`.
        """
        options = dict(ccd_kwargs or {})
        if "unit" in options or kwd.get("overwrite") or kwd.get("clobber"):
            return super().ccds(ccd_kwargs=options, **kwd)
        return self._in_their_units(options, **kwd)

    def _in_their_units(
        self, options: Mapping, return_fname: bool = False, **kwd: Any
    ) -> Iterator[CCDData]:
        filters = {name: value for name, value in kwd.items() if name not in _NO_FILTER}
        for file in self.files_filtered(**filters) if self._units else ():
            path = Path(self.location, file)
            ccd = fits_ccddata_reader(path, hdu=self.ext, unit=self._units[file], **options)
            yield (ccd, path.name) if return_fname else ccd
