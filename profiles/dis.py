"""DIS, the Double Imaging Spectrograph at the ARC 3.5 m, Apache Point Observatory.

Two cameras, blue and red, write separate files (``name.0012b.fits`` and
``name.0012r.fits``) with the same INSTRUME; DETECTOR distinguishes them. The wavelength
increases along the rows in the blue, and decreases in the red.

The overscan gives one level for each frame. In the red it drifts from 120 to 123 adu over
a night, but over-exposed red flats add 40 adu of their own light; a level that deviates
by more than 10 adu from the nightly median is not used (pyvista's log of 2019-10-19).

Words and cards are those that PypeIt's module for DIS and an old IRAF script of the
observatory read; no header was available. PypeIt reads CCDSUM for the binning, and a
frame without it counts as unbinned.

Not known: whether the overscan of a binned frame is binned, and where the red channel
ceases to be linear.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Combine, Profile, Recipe, SpectralFlat


def frame_type(header):
    """LAMP names the gas of an arc; IMAGETYP says "comp" on some nights only."""
    said = header.get("IMAGETYP")
    lamp = any(gas in str(header.get("LAMP", "")) for gas in ("He", "Ne", "Ar"))
    return "arc" if lamp and str(said).strip().lower() not in ("zero", "dark") else said


def binning(header):
    """CCDSUM holds both numbers in one text, columns first."""
    return str(header.get("CCDSUM", "1 1")).split()


def channel(detector, gain, read_noise):
    """Return the profile of one of the two cameras, which differ in gain and read noise."""
    return Profile(
        instrument="DIS",
        where={"DETECTOR": (detector, detector.capitalize())},
        telescope="ARC 3.5 m, Apache Point Observatory",
        amplifiers=[
            Amplifier(
                data="[1:2048, 1:1028]",  # DATASEC
                overscan="[2051:2097, 1:1028]",  # pyvista; PypeIt ends at 2096
                gain=gain,
                read_noise=read_noise,
                saturation=65535 * u.adu,  # PypeIt
            )
        ],
        frame_size=(2098, 1078),  # pydis; the last column and 50 rows are not used
        binning=binning,
        object="OBJNAME",
        filter=None,  # a grating, no filter
        frame_type=frame_type,
        frame_types={
            "zero": "bias",
            "dark": "dark",
            "flat": "flat",
            "comp": "arc",
            "object": "science",
        },
        match={"flat": ("GRATING", "SLITMASK")},
        recipe=Recipe(
            overscan="level",  # one for each frame
            overscan_drift=10 * u.adu,  # above the drift of 3 adu, below the leak of 40 adu
            bias=True,
            dark="match",
            combine={
                "bias": Combine(method="median", clip=None),
                "flat": Combine(method="median", clip=None),
            },
            flat=SpectralFlat(
                dispersion="x",
                fit="polynomial",
                order=7,  # as the observatory's course fits DIS flats
            ),
            electrons=True,
        ),
        status="from documents only",
    )


blue = channel("blue", gain=1.68 * u.electron / u.adu, read_noise=4.9 * u.electron)  # pyvista
red = channel("red", gain=1.88 * u.electron / u.adu, read_noise=4.6 * u.electron)  # pyvista
