"""SBO, a camera of Sommers-Bausch Observatory, Boulder: an example to copy.

Known properties: there is no overscan, nothing is trimmed, a dark of the same exposure
time replaces the bias, and XBINNING and YBINNING contain the binning.

Not known are its INSTRUME ("SBO" is a placeholder that matches no real header), the model
of the camera, its size, gain, read noise and saturation level. Copy this file into your
own profile folder, replace INSTRUME by that of your headers, and enter the values that
you know. None is better than a guess.
"""

from ccdprofiles import Amplifier, Flat, Profile, Recipe

profile = Profile(
    instrument="SBO",  # a placeholder
    telescope="Sommers-Bausch Observatory",
    amplifiers=[
        Amplifier(
            data="[:, :]",  # the whole frame, whatever its size
            overscan=None,  # the observatory's course trims nothing
            gain=None,  # not known
            read_noise=None,  # not known
            saturation=None,  # not known
        )
    ],
    binning=("XBINNING", "YBINNING"),
    recipe=Recipe(bias=False, dark="match", flat=Flat(scale="median")),
)
