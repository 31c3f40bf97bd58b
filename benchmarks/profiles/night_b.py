"""Night B of the benchmarks: a thermo-electric camera whose overscan is of no use."""

from astropy import units as u

from ccdprofiles import Amplifier, Flat, Profile, Recipe

profile = Profile(
    instrument="TE16",
    amplifiers=[
        Amplifier(
            data="[1:4096, 1:4096]",
            overscan=None,
            gain=1.5 * u.electron / u.adu,
            read_noise=9.0 * u.electron,
            saturation=65535 * u.adu,
        )
    ],
    frame_size=(4109, 4096),
    binning=("XBINNING", "YBINNING"),
    recipe=Recipe(bias=True, dark="scale", flat=Flat()),
)
