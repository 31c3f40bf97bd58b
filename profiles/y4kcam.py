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


def halves(binned):
    """Return data and overscan before the centre, and behind it, in unbinned pixels."""
    n = 20 * int(binned)
    return (
        ("1:2032", f"2033:{2032 + n}"),
        (f"{2033 + 2 * n}:{4064 + 2 * n}", f"{2033 + n}:{2032 + 2 * n}"),
    )


def amplifiers(header):
    """Return the four quarters; their overscan has 20 pixels at every binning."""
    left, right = halves(binning(header)[0])
    lower, upper = halves(binning(header)[1])
    quarters = {
        "lower left": (left, lower, 1.384),
        "lower right": (right, lower, 1.423),
        "upper left": (left, upper, 1.435),
        "upper right": (right, upper, 1.484),
    }
    return [
        Amplifier(
            name=name,
            data=f"[{columns}, {rows}]",  # STIPS, y4kcam.yaml
            overscan=f"[{beside}, {rows}]",  # STIPS
            parallel_overscan=f"[{columns}, {below}]",  # STIPS
            gain=gain * u.electron / u.adu,  # STIPS
            read_noise=None,  # not known
            saturation=65535 * u.adu,  # STIPS
            linear=60000 * u.adu,  # STIPS
        )
        for name, ((columns, beside), (rows, below), gain) in quarters.items()
    ]


profile = Profile(
    instrument="Y4KCam",
    telescope="CTIO / SMARTS 1.0 m",
    amplifiers=amplifiers,
    binning=binning,
    filter="FILTERID",
    frame_type=("OBSTYPE", "IMGTYPE"),
    recipe=Recipe(bias=True, dark=None),
    status="from documents only",
)
