"""CFCCD, the direct imager at the CTIO (SMARTS) 0.9 m, Cerro Tololo; chip Tek2K_3.

2048 x 2048 pixels, read through four amplifiers into one image of 2168 columns, with their
overscans side by side in the middle. The Torrent controller writes all sections, and the gain
and read noise of each amplifier. Those of frames read through one or two amplifiers, and of
the older Arcon controller, were not seen; they are refused.

Seen: the header of a trimmed frame of June 2017, in sylvielsstfr/CTIOAnaJun2017. Its GTGAIN
is 3.0 and its GTRON 12; the observatory's page for the Arcon has 3.0 and 5 for the same gain
index (1.5 and 3.5, 1.0 and 3.3, 0.6 and 3 for the others). Compare the read noise that the
report measures in the biases. Image types are those of the header's comment.

Not known: headers of biases and flats; where it ceases to be linear.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Profile, Recipe


def quadrant(number):
    """Return an amplifier: its row, then its column, in the header's numbering."""
    return Amplifier(
        name=number,
        data=f"TSEC{number}",  # [11:1034, 1:1024] for 11
        overscan=f"BSEC{number}",  # [1045:1084, 1:1024] for 11
        detector=f"ADSEC{number}",  # [1:1024, 1:1024] for 11
        gain=f"GTGAIN{number}",  # 3.0
        read_noise=f"GTRON{number}",  # 12, see above
        saturation=65535 * u.adu,  # ctio.noao.edu: upper amplifiers, lower from 60,000 at gain 1
    )


def binning(header):
    """CCDSUM holds both numbers in one text, columns first."""
    return str(header.get("CCDSUM")).split()


profile = Profile(
    instrument="cfccd",
    where={"TELESCOP": "CTIO 0.9*", "AMPLIST": "11 12 21 22", "ADSEC11": "*"},
    telescope="CTIO / SMARTS 0.9 m",
    amplifiers=[quadrant(number) for number in ("11", "12", "21", "22")],
    frame_size=(2168, 2048),  # the header's sections ASEC
    binning=binning,
    filter="FILTERS",
    frame_types={"zero": "bias", "dflat": "flat", "sflat": "flat", "focus": None},
    recipe=Recipe(bias=True, dark=None, electrons=True),
    status="headers seen",
)
