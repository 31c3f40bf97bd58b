"""LFC, the Large Format Camera at the prime focus of the Palomar 200-inch; chip 0.

A cryogenic mosaic of six chips, each in a separate file (``ccd.014.0.fits`` is chip 0).
Its dark current is negligible, and its overscan useful.

The numbers come from the headers of January 2016 that the CCD data reduction guide
(Craig & Chambers) uses, and from its analysis of the overscan. The header is wrong
twice: light leaks into the first seven columns of BIASSEC, and BIASSEC ends one row too
early. The overscan at the top of the frame stays in the products, as in the guide.

Not known: the read noise; the saturation level (65535 adu is only the limit of 16 bits);
the overscans of chips 1 to 5, which are therefore refused.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Flat, Profile, Recipe


def date(header):
    """DATE-OBS holds the day only, and UT the time of day."""
    day, time = header.get("DATE-OBS"), header.get("UT")
    return f"{day}T{time}" if day and time and "T" not in day else day


profile = Profile(
    instrument="LFC",  # INSTRUME in the header
    where={"CHIPID": (0, None)},  # a copy whose header lost the card counts as chip 0
    telescope="Palomar 200-inch (Hale)",
    amplifiers=[
        Amplifier(
            data="[1:2048, 1:4128]",  # DATASEC
            overscan="[2056:2080, 1:4128]",  # BIASSEC is [2049:2080,1:4127]; light leaks to 2055
            gain=1.1 * u.electron / u.adu,  # GAIN
            read_noise=None,  # no card, not known
            saturation=65535 * u.adu,  # inferred: the raw files have 16 bits
        )
    ],
    binning=("CCDBIN1", "CCDBIN2"),
    date=date,
    frame_types={"BIAS": "bias", "DARK": "dark", "FLATFIELD": "flat", "OBJECT": "science"},
    # The overscan replaces the bias; matched darks remove the weak structure of the bias as well.
    recipe=Recipe(
        bias=False,
        dark="match",
        exposure_tolerance=1 * u.s,  # 300.062 s of science against 300.0 s of dark
        flat=Flat(scale="median"),
    ),
    status="headers seen",
)
