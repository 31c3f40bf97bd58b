"""SBO, a camera of Sommers-Bausch Observatory, Boulder: an example to be copied.

Known of it: there is no overscan, nothing is trimmed, a dark of the frame's own
exposure stands in for the bias, and XBINNING and YBINNING hold the binning.

Nobody knows: what its INSTRUME says ("SBO" is a placeholder that no real header will
fit), which camera it is, its size, gain, read noise and saturation. Copy this file
into your own folder of profiles, put the INSTRUME of your headers in, and fill in
what you know; a None is better than a guess.
"""

from ccdprofiles import Amplifier, Flat, Profile, Recipe

profile = Profile(
    instrument="SBO",  # a placeholder
    telescope="Sommers-Bausch Observatory",
    amplifiers=[
        Amplifier(
            data="[:, :]",  # the whole frame, whatever its size
            overscan=None,  # the observatory's course trims nothing
            gain=None,  # nobody knows
            read_noise=None,  # nobody knows
            saturation=None,  # nobody knows
        )
    ],
    binning=("XBINNING", "YBINNING"),
    recipe=Recipe(bias=False, dark="match", flat=Flat(scale="median")),
)
