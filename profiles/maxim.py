"""SBIG, Apogee, FLI and QSI cameras driven by MaxIm DL, or by ACP through it: a family.

INSTRUME is the text of a driver, such as "Apogee USB/Net" or "FLI", and does not name the
camera; SWCREATE shows that MaxIm took the frame. Frames of another size are never calibrated
with each other. A camera with a profile of its own, such as the Aspen CG16M, is reduced with that.

EGAIN is in electrons per adu. Of the headers seen, those of Apogee and FLI cameras lack it; products
have no uncertainty from the photons then.

The overscan of these cameras stays in the frame if there is one, because its place differs from
model to model. MaxIm can calibrate frames itself; such frames have CALSTAT and are refused.

Not known: the read noise of each model, and where it ceases to be linear. For your camera,
make a profile from this one: ``maxim.but(instrument="FLI", where={…}, amplifiers=[…])``.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Profile, Recipe

profile = Profile(
    instrument=("SBIG *", "Apogee *", "FLI", "FLI *", "QSI *"),
    where={"SWCREATE": "MaxIm DL*"},
    telescope="any",
    amplifiers=[
        Amplifier(
            data="[:, :]",  # the whole frame
            overscan=None,  # its place is not known
            gain="EGAIN",  # electrons per adu: MaxIm DL's manual, "FITS File Header Definitions"
            read_noise=None,  # not known
            saturation=65535 * u.adu,  # the limit of 16 bits
        )
    ],
    binning=("XBINNING", "YBINNING"),
    exposure=("EXPTIME", "EXPOSURE"),
    recipe=Recipe(bias=True, dark="scale"),
    status="headers seen",
)
