"""DIS, the Double Imaging Spectrograph at the ARC 3.5 m, Apache Point Observatory.

Two cameras, blue and red, write files of their own (``name.0012b.fits`` and
``name.0012r.fits``) with one INSTRUME; DETECTOR tells them apart. The wavelength
runs along the rows, and in the red it runs backwards.

The overscan is one level a frame. Red's drifts from 120 to 123 adu over a night,
but over-exposed red flats put 40 adu of their own light into it; a level further
than 10 adu from the night's is therefore not believed (pyvista's log of 2019-10-19).

Words and cards are those that PypeIt's module for DIS and an old IRAF script of the
observatory read; no header has been seen. PypeIt reads CCDSUM for the binning, and a
frame without it is taken for unbinned. Nobody knows whether the overscan of a
binned frame shrinks, nor where the red channel ceases to be linear.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Combine, Profile, Recipe, SpectralFlat


def frame_type(header):
    """LAMP names the gas of an arc; some nights say so in IMAGETYP, some do not."""
    said = header.get("IMAGETYP")
    lamp = any(gas in str(header.get("LAMP", "")) for gas in ("He", "Ne", "Ar"))
    return "arc" if lamp and str(said).strip().lower() not in ("zero", "dark") else said


def binning(header):
    """CCDSUM holds both numbers in one text, columns first."""
    return str(header.get("CCDSUM", "1 1")).split()


def channel(detector, gain, read_noise):
    """Return the profile of one of the two cameras, which differ in little."""
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
        frame_size=(2098, 1078),  # pydis; a column and 50 rows behind the sections are not used
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
            overscan="level",  # one a frame
            overscan_drift=10 * u.adu,  # more than red's 3 adu a night, less than the leak of 40
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
    )


blue = channel("blue", gain=1.68 * u.electron / u.adu, read_noise=4.9 * u.electron)  # pyvista
red = channel("red", gain=1.88 * u.electron / u.adu, read_noise=4.6 * u.electron)  # pyvista
