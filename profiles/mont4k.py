"""Mont4K, the imager at the Kuiper 61-inch (1.54 m), Mount Bigelow, Arizona.

A Fairchild chip of 4096 x 4096 pixels, read through two amplifiers into two extensions, the
right one mirrored, mostly binned 3 x 3. The program of the camera, azcam, writes the sections,
the place on the detector, the gain and the read noise into each extension. Both halves share
one flat, normalised by one number.

Sources: mplesser/azcam-mont4k (server.py and the header template: 3.19 and 3.08 electrons per
adu, 6.3 and 6.7 electrons) and mplesser/azcam (image_headers.py, exposure.py). Frames taken
by other programs, or before azcam, may differ. No header was available.

Not known: where it ceases to be linear; the names of the filters.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Profile, Recipe


def date(header):
    """DATE-OBS holds the day only, and TIME-OBS the time of day."""
    day, time = header.get("DATE-OBS"), header.get("TIME-OBS")
    return f"{day}T{time}" if day and time and "T" not in day else day


profile = Profile(
    instrument="mont4k",
    telescope="Kuiper 61-inch, Steward Observatory",
    amplifiers=[
        Amplifier(
            name=name,
            extension=number,
            data="DATASEC",  # azcam
            overscan="BIASSEC",  # azcam: 20 columns, binned or not
            detector="DETSEC",  # azcam: backwards for the right half
            gain="GAIN",  # 3.19 and 3.08
            read_noise="RDNOISE",  # 6.3 and 6.7
            saturation=65535 * u.adu,  # inferred: 16 bits
        )
        for number, name in ((1, "left"), (2, "right"))
    ],
    binning=("CCDBIN1", "CCDBIN2"),
    overscan_bins=False,
    date=date,
    temperature="CAMTEMP",
    recipe=Recipe(bias=True, dark=None, electrons=True),
    status="from documents only",
)
