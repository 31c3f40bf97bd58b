"""LFC, the Large Format Camera at the prime focus of the Palomar 200-inch; chip 0.

A cryogenic mosaic of six chips, each in a file of its own (``ccd.014.0.fits`` is
chip 0). It has next to no dark current, and an overscan worth using.

Numbers come from the headers of January 2016 that the CCD data reduction guide
(Craig & Chambers) works with, and from its look at the overscan. The header lies
twice: light leaks into the first seven columns of BIASSEC, and BIASSEC ends one
row too soon. The overscan at the top of the frame is left in the products, as the
guide leaves it.

Nobody knows: the read noise; the level where the chip saturates (65535 is only
what 16 bits can hold); the overscans of chips 1 to 5, which are therefore refused.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Flat, Profile, Recipe


def date(header):
    """DATE-OBS holds the day alone; the time of day stands in UT."""
    day, time = header.get("DATE-OBS"), header.get("UT")
    return f"{day}T{time}" if day and time and "T" not in day else day


profile = Profile(
    instrument="LFC",  # INSTRUME in the header
    where={"CHIPID": (0, None)},  # a copy whose header lost the card is taken for chip 0
    telescope="Palomar 200-inch (Hale)",
    amplifiers=[
        Amplifier(
            data="[1:2048, 1:4128]",  # DATASEC
            overscan="[2056:2080, 1:4128]",  # BIASSEC is [2049:2080,1:4127]; light leaks to 2055
            gain=1.1 * u.electron / u.adu,  # GAIN
            read_noise=None,  # no card, and nobody knows
            saturation=65535 * u.adu,  # inferred: the raw files have 16 bits
        )
    ],
    binning=("CCDBIN1", "CCDBIN2"),
    date=date,
    frame_types={"BIAS": "bias", "DARK": "dark", "FLATFIELD": "flat", "OBJECT": "science"},
    # The overscan takes the place of the bias; darks have every exposure that is
    # used, so their own small bias structure goes with them.
    recipe=Recipe(
        bias=False,
        dark="match",
        exposure_tolerance=1 * u.s,  # 300.062 s of science against 300.0 s of dark
        flat=Flat(scale="median"),
    ),
)
