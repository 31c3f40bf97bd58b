"""LMI, the Large Monolithic Imager at the Lowell Discovery Telescope, Happy Jack, Arizona.

One e2v CCD231-C6 of 6144 by 6160 pixels, mostly binned 2 x 2 or 3 x 3. Its control program,
LOIS, is that of DeVeny, and writes the gain, the read noise and the useful sections of every
frame, in pixels of that frame. Most frames are read through one amplifier; frames of several
have sections of their own for each (TRIM01, BIAS01, …) and are refused.

Sources: Roz, Lowell Observatory's own program (LowellObservatory/Roz), for FILTERS, OBSTYPE,
CCDSUM, NUMAMP and TRIMSEC; a public reduction by pyraf for BIASSEC; the header of a DeVeny
frame for GAIN and RDNOISE; and the description of the DART raw data in the Planetary Data
System: 2.89 electrons per adu, 2.1 adu of read noise, linear to 65,000 adu.

Not known: the size of raw frames, so it is not compared; whether flats have other words than
"DOME FLAT" and "SKY FLAT".
"""

from astropy import units as u

from ccdprofiles import Amplifier, Profile, Recipe


def binning(header):
    """CCDSUM holds both numbers in one text, columns first."""
    return str(header.get("CCDSUM")).split()


def frame_size(header):
    """Whatever the file has: LOIS writes subarrays too, each with its own sections."""
    return tuple(header[f"NAXIS{n}"] * int(b) for n, b in enumerate(binning(header), 1))


profile = Profile(
    instrument=("LMI", "lmi"),  # photometrypipeline has both
    where={"NUMAMP": (1, None)},
    telescope="Lowell Discovery Telescope 4.3 m",
    amplifiers=[
        Amplifier(
            data="TRIMSEC",  # Roz trims to it
            overscan="BIASSEC",  # the reduction by pyraf
            gain="GAIN",  # about 2.89
            read_noise="RDNOISE",  # about 6
            saturation=65535 * u.adu,  # 16 bits
            linear=65000 * u.adu,  # DART
        )
    ],
    frame_size=frame_size,
    binning=binning,
    filter="FILTERS",
    frame_type="OBSTYPE",
    recipe=Recipe(bias=True, dark=None, electrons=True),
    status="from documents only",
)
