"""DIS, the Double Imaging Spectrograph at the ARC 3.5 m, Apache Point Observatory.

The two cameras, blue and red, write separate files (``name.0012b.fits`` and
``name.0012r.fits``) with the same INSTRUME; DETECTOR distinguishes them. The wavelength
runs along the rows, in the red camera in the opposite direction.

One overscan level is subtracted per frame. In the red camera it drifts from 120 to
123 adu during a night, but in over-exposed flats it contains 40 adu of trailed light. A
level that deviates by more than 10 adu from the nightly median is therefore replaced by
it (pyvista's log of 2019-10-19).

The names of cards and frame types are those used by PypeIt's module for DIS and by an
old IRAF script of the observatory; we have not seen a header. PypeIt reads the binning
from CCDSUM; a frame without this card is assumed to be unbinned. It is not known whether
the overscan is binned in binned frames, or where the red camera becomes non-linear.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Combine, Profile, Recipe, SpectralFlat


def frame_type(header):
    """LAMP names the gas of an arc lamp; IMAGETYP identifies arcs only in some nights."""
    said = header.get("IMAGETYP")
    lamp = any(gas in str(header.get("LAMP", "")) for gas in ("He", "Ne", "Ar"))
    return "arc" if lamp and str(said).strip().lower() not in ("zero", "dark") else said


def binning(header):
    """CCDSUM contains both numbers in one text, columns first."""
    return str(header.get("CCDSUM", "1 1")).split()


def channel(detector, gain, read_noise):
    """Return the profile of one of the two cameras, which differ only slightly."""
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
        filter=None,  # a grating instead of a filter
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
            overscan="level",  # one level per frame
            overscan_drift=10
            * u.adu,  # above the red camera's drift of 3 adu, below the leak of 40
            bias=True,
            dark="match",
            combine={
                "bias": Combine(method="median", clip=None),
                "flat": Combine(method="median", clip=None),
            },
            flat=SpectralFlat(
                dispersion="x",
                fit="polynomial",
                order=7,  # as in the observatory's course
            ),
            electrons=True,
        ),
    )


blue = channel("blue", gain=1.68 * u.electron / u.adu, read_noise=4.9 * u.electron)  # pyvista
red = channel("red", gain=1.88 * u.electron / u.adu, read_noise=4.6 * u.electron)  # pyvista
