"""VATT4k, the imager at the Vatican Advanced Technology Telescope (1.8 m), Mount Graham.

An STA0500 chip of 4064 x 4064 pixels, read through two amplifiers, one above the other, into
two extensions, mostly binned 2 x 2. The program of the camera, azcam, writes the sections and
the place on the detector into each extension.

Sources: mplesser/azcam-vatt4k (server.py and the header template), mplesser/azcam
(image_headers.py, exposure.py), photometrypipeline for the binning. No header was available.

Not known: gain and read noise: azcam's 1.0 and 4.0 are placeholders for both amplifiers;
where it ceases to be linear.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Profile, Recipe


def date(header):
    """DATE-OBS holds the day only, and TIME-OBS the time of day."""
    day, time = header.get("DATE-OBS"), header.get("TIME-OBS")
    return f"{day}T{time}" if day and time and "T" not in day else day


profile = Profile(
    instrument="Vatt4k",
    telescope="VATT 1.8 m, Mount Graham",
    amplifiers=[
        Amplifier(
            name=name,
            extension=number,
            data="DATASEC",  # azcam
            overscan="BIASSEC",  # azcam: 20 columns, binned or not
            detector="DETSEC",  # azcam: backwards for what is read from the far end
            gain=None,  # not known
            read_noise=None,  # not known
            saturation=65535 * u.adu,  # inferred: 16 bits
        )
        for number, name in ((1, "first"), (2, "second"))
    ],
    binning=("CCDBIN1", "CCDBIN2"),
    overscan_bins=False,
    date=date,
    temperature="CAMTEMP",
    recipe=Recipe(bias=True, dark=None),
    status="from documents only",
)
