"""ProEM, the electron-multiplying camera at the McDonald Observatory 2.1 m, 4 by 4 binned.

The 1024 by 1024 pixels are read out as 256 by 256. There is no overscan, and biases are
not taken: every frame needs a dark of the same exposure time, 3 s for flats and 10 s for
science frames. There are so many of them (61) that a median without clipping is
sufficient.

The header contains neither IMAGETYP nor gain nor read noise. The gain and read noise are
those of phot2lc (Vanderbosch), which does not state for which settings of the camera they
are valid. The dark signal is large, about 25 adu per second.

No header of a flat has been published: that OBJECT contains "flat" is an assumption.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Combine, Flat, Profile, Recipe


def frame_type(header):
    """Recognise darks by the shutter, the filter or the object, and flats by the object."""
    shutter, filter_, name = (
        str(header.get(card, "")).strip().lower() for card in ("SHUTTER", "FILTER", "OBJECT")
    )
    if shutter == "closed" or filter_ == "blocking" or name == "dark":
        return "dark"
    if "flat" in name:
        return "flat"
    return "science" if name else None


profile = Profile(
    instrument="ProEM",
    where={"TELESCOP": "McDonald*"},  # other observatories use this model with other values
    telescope="McDonald Observatory 2.1 m (Otto Struve)",
    amplifiers=[
        Amplifier(
            data="[:, :]",  # the whole frame
            overscan=None,  # none is read out
            gain=0.87 * u.electron / u.adu,  # phot2lc, teledat.py
            read_noise=6.1 * u.electron,  # phot2lc, teledat.py
            saturation=65535 * u.adu,  # inferred: the raw files have 16 bits
        )
    ],
    binning=("XBIN", "YBIN"),
    frame_type=frame_type,
    recipe=Recipe(
        bias=False,
        dark="match",
        exposure_tolerance=1 * u.s,  # the darks are of 3 s and 10 s
        combine=Combine(method="median", clip=None),
        flat=Flat(scale="mode"),
        name="{stem}c",
    ),
)
