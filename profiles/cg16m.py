"""Aspen CG16M, the thermo-electrically cooled camera of the Paul P. Feder Observatory.

The detector is a KAF-16803 with 4096 by 4096 pixels. Two versions of its driver write
different values of INSTRUME.

The frames have 13 columns of overscan, 4097 to 4109, which cannot be used: light leaks
into them in flats, their level differs by 50 adu between biases and science frames
while the bias level does not, and they accumulate dark current (the CCD data reduction
guide shows all three effects). The columns are therefore trimmed and not used. The
BIASSEC that the observatory adds, ``[4096:4109]``, has a single axis and is not read.

Darks are long (90 s) and flats are short (1 s), so bias-subtracted darks are scaled.

Gain and read noise are the values that the observatory uses for photometry (in its
camera file for stellarphot, which also excludes stars above 50000 adu). We know of no
published measurement.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Flat, Profile, Recipe

profile = Profile(
    instrument=("AspenCG16", "Apogee Aspen CG16M"),  # MaxIm DL 6.18 (2018) and 5.15 (2017)
    telescope="Feder Observatory 0.4 m",
    amplifiers=[
        Amplifier(
            data="[1:4096, 1:4096]",  # KAF-16803; the other columns are overscan
            overscan=None,  # not usable, see above
            gain=1.5 * u.electron / u.adu,  # stellarphot, camera "Aspen CG 16m"
            read_noise=10 * u.electron,  # the same; the CCD guide says "around 10"
            saturation=65535 * u.adu,  # largest 16-bit value
        )
    ],
    frame_size=(4109, 4096),  # including the columns of overscan
    binning=("XBINNING", "YBINNING"),
    exposure=("EXPTIME", "EXPOSURE"),  # both are present and equal
    frame_types={"BIAS": "bias", "DARK": "dark", "FLAT": "flat", "LIGHT": "science"},
    recipe=Recipe(bias=True, dark="scale", flat=Flat(scale="median")),
)
