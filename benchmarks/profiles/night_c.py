"""Night C of the benchmarks: a long series of small frames, without overscan or bias."""

from astropy import units as u

from ccdprofiles import Amplifier, Flat, Profile, Recipe

profile = Profile(
    instrument="ProEM",
    where={"TELESCOP": "SYNTH"},
    amplifiers=[
        Amplifier(
            data="[:, :]",
            overscan=None,
            gain=1.2 * u.electron / u.adu,
            read_noise=11.0 * u.electron,
            saturation=65535 * u.adu,
        )
    ],
    binning=("XBINNING", "YBINNING"),
    recipe=Recipe(bias=False, dark="match", flat=Flat()),
)
