"""LFC, the Large Format Camera at the prime focus of the Palomar 200-inch; chip 0.

The camera is a cryogenic mosaic of six chips, each of which is in a separate file
(``ccd.014.0.fits`` is chip 0). It has almost no dark current and a useful overscan.

The numbers are from the headers of January 2016 used in the CCD data reduction guide
(Craig & Chambers), and from its inspection of the overscan. BIASSEC in the header is
wrong in two ways: light leaks into its first seven columns, and it ends one row too
early. As in the guide, the overscan at the top of the frame is not trimmed.

Not known are the read noise, the level at which the chip saturates (65535 is only the
largest 16-bit value), and the overscans of chips 1 to 5, which are therefore refused.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Flat, Profile, Recipe


def date(header):
    """DATE-OBS contains only the day; the time is in UT."""
    day, time = header.get("DATE-OBS"), header.get("UT")
    return f"{day}T{time}" if day and time and "T" not in day else day


profile = Profile(
    instrument="LFC",  # INSTRUME in the header
    where={"CHIPID": (0, None)},  # a frame without the card is assumed to be of chip 0
    telescope="Palomar 200-inch (Hale)",
    amplifiers=[
        Amplifier(
            data="[1:2048, 1:4128]",  # DATASEC
            overscan="[2056:2080, 1:4128]",  # BIASSEC is [2049:2080,1:4127]; light leaks to 2055
            gain=1.1 * u.electron / u.adu,  # GAIN
            read_noise=None,  # not in the header, and not known
            saturation=65535 * u.adu,  # inferred: the raw files have 16 bits
        )
    ],
    binning=("CCDBIN1", "CCDBIN2"),
    date=date,
    frame_types={"BIAS": "bias", "DARK": "dark", "FLATFIELD": "flat", "OBJECT": "science"},
    # The overscan replaces the bias. There are darks for every exposure time, which also
    # remove the small bias structure.
    recipe=Recipe(
        bias=False,
        dark="match",
        exposure_tolerance=1 * u.s,  # science frames of 300.062 s, darks of 300.0 s
        flat=Flat(scale="median"),
    ),
)
