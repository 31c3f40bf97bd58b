"""Y4KCam, the imager at the CTIO (SMARTS) 1.0 m, Cerro Tololo, until 2013.

An ITL chip of 4064 x 4064 pixels. Four amplifiers read its quarters towards the centre, where
their overscans form a cross: 20 columns and 20 rows for each, binned or not. The rows need
their own correction: without it the upper and lower halves differ by 2.5 adu in each frame.

All numbers were measured in archived frames by the authors of STIPS (dangause/stips,
instruments/ctio1m): the sections, the gains (from 34 pairs of dome flats), and a crosstalk of
0.1 to 0.4 percent between the quarters, which this profile leaves. No header was available,
but their tests have the cards of a frame of June 2011.

Not known: the read noise (7 electrons is their placeholder).
"""

from astropy import units as u

from ccdprofiles import Amplifier, Profile, Recipe


def binning(header):
    """CCDSUM holds both numbers in one text, columns first."""
    return str(header.get("CCDSUM", "1 1")).split()


def quarter(name, gain):
    """Return an amplifier; the right and upper quarters begin behind the cross."""
    columns, strip = ("1:2032", "2033:2052") if "left" in name else ("2073:4104", "2053:2072")
    rows, below = ("1:2032", "2033:2052") if "lower" in name else ("2073:4104", "2053:2072")
    return Amplifier(
        name=name,
        data=f"[{columns}, {rows}]",  # STIPS, y4kcam.yaml
        overscan=f"[{strip}, {rows}]",  # STIPS
        parallel_overscan=f"[{columns}, {below}]",  # STIPS
        gain=gain * u.electron / u.adu,  # STIPS
        read_noise=None,  # not known
        saturation=65535 * u.adu,  # STIPS
        linear=60000 * u.adu,  # STIPS
    )


profile = Profile(
    instrument="Y4KCam",
    telescope="CTIO / SMARTS 1.0 m",
    amplifiers=[
        quarter("lower left", 1.384),
        quarter("lower right", 1.423),
        quarter("upper left", 1.435),
        quarter("upper right", 1.484),
    ],
    binning=binning,
    overscan_bins=False,
    filter="FILTERID",
    frame_type=("OBSTYPE", "IMGTYPE"),
    recipe=Recipe(bias=True, dark=None),
    status="from documents only",
)
