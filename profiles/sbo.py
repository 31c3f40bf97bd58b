"""SBO, a camera of Sommers-Bausch Observatory, Boulder: an example to be copied.

Known: there is no overscan, nothing is trimmed, a dark of the frame's own exposure
replaces the bias, and XBINNING and YBINNING hold the binning.

Not known: its INSTRUME ("SBO" is a placeholder that fits no real header), the camera,
its size, gain, read noise and saturation. Copy this file into your own folder of
profiles, enter the INSTRUME of your headers, and what you know; None is better than a guess.
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
    status="from documents only",
)
