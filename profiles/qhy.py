"""QHYCCD cameras: a family, whatever program takes the frames.

INSTRUME is "QHY268C" by NINA's own driver, "QHYCCD-Cameras-Capture" for any model by the ASCOM
driver, and "QHY CCD QHY268M-b93fd94" by INDI, with the serial number of the camera at the end.

The read mode decides gain, read noise and full well. NINA writes its name in READOUTM, INDI its
number in READMODE, SGP at times nothing: frames of two modes in one night cannot be
distinguished then. Gain, offset, read mode and temperature are always compared.

GAIN is a setting (0, 26, 56 …), not electrons per adu, and NINA's own driver writes no EGAIN.
The overscan, if the driver was told to keep it, lies at other places in each model; it is not
used here, and stays in the products.

Not known: gain and read noise of each model, mode and setting (only plots are published), and
where it ceases to be linear. For your camera, make a profile from this one:
``qhy.but(instrument="QHY…", amplifiers=[…])``.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Card, Profile, Recipe

profile = Profile(
    instrument="QHY*",
    telescope="any",
    amplifiers=[
        Amplifier(
            data="[:, :]",  # the whole frame
            overscan=None,  # see above
            gain=None,  # differs with model, mode and setting
            read_noise=None,  # as the gain
            saturation=65504 * u.adu,  # 12 bits in 16, as in the profile of ZWO; 16 bits end above
        )
    ],
    binning=("XBINNING", "YBINNING"),
    exposure=("EXPTIME", "EXPOSURE"),
    file_types={  # SharpCap
        "*dark*flat*/*": "dark",
        "*flat*dark*/*": "dark",
        "*bias*/*": "bias",
        "*dark*/*": "dark",
        "*flat*/*": "flat",
        "*light*/*": "science",
    },
    # A choice, not a measured limit.
    match={"flat": (Card("ROTATOR", "ROTATANG", within=2 * u.deg, absent="agrees"),)},
    # The same: enough for programs that write the exposure to the millisecond.
    recipe=Recipe(bias=False, dark="match", exposure_tolerance=(0.05 * u.s, 0.001)),
    status="headers seen",
)
