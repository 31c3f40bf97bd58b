"""WFC, the Wide Field Camera at the prime focus of the INT 2.5 m, La Palma.

Four e2v chips of 2048 x 4096 pixels, one in each extension, each calibrated as a frame of its
own. Single targets are observed with the central one, extension 4: "--only" takes one chip. The
program of the observatory writes the sections into each extension.

Sources: THELI (WFC@INT.ini: overscan in columns 10 to 45, light in 53 to 2094 and rows 4 to
4095, a gain of about 3; splitter.cc takes BIASSEC and TRIMSEC instead), a public reduction by
I. Holst for OBSTYPE, WFFBAND and the extensions, ING's page "Engineering/detectors/
header" for GAIN and READNOIS in the extension. No header was available.

Not known: gain and read noise where the header lacks them; the deviation from linearity of each
chip, which is not corrected; binned frames, beyond that THELI has them.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Profile, Recipe


def date(header):
    """DATE-OBS holds the day only, and UTSTART the time of day."""
    day, time = header.get("DATE-OBS"), header.get("UTSTART")
    return f"{day.strip()}T{time.strip()}" if day and time and "T" not in day else day


profile = Profile(
    instrument="WFC",
    where={"TELESCOP": "INT"},
    telescope="INT 2.5 m, La Palma",
    amplifiers=[
        Amplifier(
            name=f"CCD{number}",
            extension=number,  # I. Holst
            data="TRIMSEC",  # THELI
            overscan="BIASSEC",  # THELI
            gain="GAIN",  # about 3
            read_noise="READNOIS",  # ING
            saturation=65535 * u.adu,  # ING: 16 bits
        )
        for number in (1, 2, 3, 4)
    ],
    chips={str(number): (f"CCD{number}",) for number in (1, 2, 3, 4)},
    binning=("CCDXBIN", "CCDYBIN"),
    filter="WFFBAND",
    date=date,
    frame_type="OBSTYPE",
    frame_types={"TARGET": "science", "SKY": "flat", "FOCUS": None},
    recipe=Recipe(bias=True, dark=None, electrons=True),
    status="from documents only",
)
