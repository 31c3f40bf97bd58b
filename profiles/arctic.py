"""ARCTIC, the imager of the ARC 3.5 m, Apache Point Observatory.

A chip of 4096 by 4096 pixels, read out through one amplifier or through all four. AMPLIST names
them by column and row, "11 12 21 22"; each has its sections, gain and read noise in cards that end
in its name. These are what the camera's program writes (ApachePointObservatory/arcticICC,
arcticActor.py): two columns of prescan that are not binned, and an overscan that is, of which
the program leaves out the two columns next to the data.

In a window the sections are wrong: the program counts the place of the window on the chip
twice, and they lie outside the frame. Such a frame is set aside.

DATE-OBS is TAI, 37 s ahead of UTC since 2017. OBJECT is called OBJNAME.

Not known: where it saturates and ceases to be linear. INSTRUME is that of photometrypipeline; the
headers seen are those of the tests of the camera's program, which lack it.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Profile, Recipe


def amplifiers(header):
    """Return one amplifier for each name in AMPLIST."""
    return [
        Amplifier(
            name=name,
            data=f"DSEC{name}",  # in the frame
            overscan=f"BSEC{name}",  # in the frame
            detector=f"CSEC{name}",  # on the chip, unbinned
            gain=f"GTGAIN{name}",  # electrons per adu, by the speed
            read_noise=f"GTRON{name}",  # electrons, by the speed
            saturation=65535 * u.adu,  # the limit of 16 bits
        )
        for name in str(header["AMPLIST"]).split()
    ]


profile = Profile(
    instrument="arctic",  # in lower case
    where={"OBSERVAT": ("APO", None)},
    telescope="ARC 3.5 m, Apache Point Observatory",
    amplifiers=amplifiers,
    binning=("CCDBIN1", "CCDBIN2"),
    object="OBJNAME",
    match={"bias": ("READAMPS", "READRATE"), "dark": ("READAMPS", "READRATE")},
    recipe=Recipe(bias=True, dark="scale"),  # as acronym, the pipeline of its observers
    status="headers seen",
)
