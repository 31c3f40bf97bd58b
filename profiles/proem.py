"""ProEM, the electron-multiplying camera at the McDonald Observatory 2.1 m, 4 by 4 binned.

1024 by 1024 pixels, read out as 256 by 256. There is no overscan, and no biases are
taken: every frame needs a dark of its own exposure, 3 s for flats and 10 s for science.
As many as 61 are taken, so that a plain median is enough.
The header has no IMAGETYP, and neither gain nor read noise: both are those of phot2lc
(Vanderbosch), which does not give the camera settings for which they hold. The dark
signal is high, about 25 adu per second.

Not known: the header of a flat. That its OBJECT contains "flat" is a guess.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Combine, Flat, Profile, Recipe


def frame_type(header):
    """Recognise a dark by its shutter, filter or name, and a flat by its name."""
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
    where={"TELESCOP": "McDonald*"},  # cameras of this make elsewhere have other numbers
    telescope="McDonald Observatory 2.1 m (Otto Struve)",
    amplifiers=[
        Amplifier(
            data="[:, :]",  # the whole frame
            overscan=None,  # not read out
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
        exposure_tolerance=1 * u.s,  # darks are of 3 s and 10 s
        combine=Combine(method="median", clip=None),
        flat=Flat(scale="mode"),
        name="{stem}c",
    ),
    status="headers seen",
)
