"""Aspen CG16M, the thermo-electrically cooled camera of the Paul P. Feder Observatory.

A KAF-16803 of 4096 by 4096 pixels. Its driver has used two names for it.

The 13 columns of overscan, 4097 to 4109, are useless: light leaks into them in flats,
their level differs by 50 adu between biases and science frames although the bias does
not, and they collect dark current (all three are shown in the CCD data reduction guide).
The columns are trimmed off and not used. The BIASSEC that the observatory adds,
``[4096:4109]``, has one axis and is not read.

Darks are long (90 s) and flats short (1 s), so that darks are scaled, without their bias.
Gain and read noise are those that the observatory uses for photometry (its camera file in
stellarphot, which accepts no star above 50000 adu); no measurement is published.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Flat, Profile, Recipe

profile = Profile(
    instrument=("AspenCG16", "Apogee Aspen CG16M"),  # MaxIm DL 6.18 (2018) and 5.15 (2017)
    telescope="Feder Observatory 0.4 m",
    amplifiers=[
        Amplifier(
            data="[1:4096, 1:4096]",  # KAF-16803; the other columns are overscan
            overscan=None,  # useless, see above
            gain=1.5 * u.electron / u.adu,  # stellarphot, camera "Aspen CG 16m"
            read_noise=10 * u.electron,  # the same; the CCD guide says "around 10"
            saturation=65535 * u.adu,  # the limit of 16 bits
        )
    ],
    frame_size=(4109, 4096),  # with the columns of overscan
    binning=("XBINNING", "YBINNING"),
    exposure=("EXPTIME", "EXPOSURE"),  # both are there, and equal
    frame_types={"BIAS": "bias", "DARK": "dark", "FLAT": "flat", "LIGHT": "science"},
    recipe=Recipe(bias=True, dark="scale", flat=Flat(scale="median")),
    status="headers seen",
)
