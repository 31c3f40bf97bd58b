"""Night A of the benchmarks: like LFC, with its bias subtracted and its darks scaled."""

from astropy import units as u

from ccdprofiles import Amplifier, Flat, Profile, Recipe

profile = Profile(
    instrument="LFC",
    where={"TELESCOP": "SYNTH"},
    amplifiers=[
        Amplifier(
            data="[1:2048, 1:4128]",
            overscan="[2056:2108, 1:4128]",
            gain=2.0 * u.electron / u.adu,
            read_noise=9.0 * u.electron,
            saturation=65535 * u.adu,
        )
    ],
    binning=("XBINNING", "YBINNING"),
    recipe=Recipe(bias=True, dark="scale", flat=Flat()),
)
