"""KOSMOS, the long-slit spectrograph at the ARC 3.5 m, Apache Point Observatory.

Two amplifiers read the left and the right half of the detector. Their overscans, 50
columns each, are next to each other at the right edge, that of the left half first.
Each follows the level of its half within 1 adu. They are also 50 columns wide in binned
frames (seen at 1x1 and 2x1; not checked at 3 and 4). The wavelength runs along the
columns.

The headers of 2021 contain no gain, no sections and no OBJECT. In flats, arcs and biases
OBJNAME is the name of the previous target. DATE-OBS is TAI, 37 s ahead of UTC. The
camera with the same name at Kitt Peak is a different one (INSTRUME = 'KOSMOS').

Published values of the read noise differ: 5 electrons in pyvista and PypeIt, 6 in
specsuite.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Combine, Profile, Recipe, SpectralFlat

LAMPS = ("KRYPTON", "NEON", "ARGON", "HE-TR", "NE-TR", "AR-TR")  # TR: on the telescope's truss


def frame_type(header):
    """Arcs have no type of their own: they are frames taken with one of the line lamps on."""
    said = header.get("IMAGETYP")
    lamp = any(str(header.get(card, "")).strip().lower() == "on" for card in LAMPS)
    return "arc" if lamp and str(said).strip().lower() not in ("bias", "dark") else said


profile = Profile(
    instrument="kosmos",  # in lower case
    where={"OBSERVAT": "APO"},
    telescope="ARC 3.5 m, Apache Point Observatory",
    amplifiers=[
        Amplifier(
            name="left",
            data="[1:1024, 1:4096]",  # PypeIt, pyvista, and IRAF's KOSMOSzero
            overscan="[2056:2088, 1:4096]",  # useful part of 2049 to 2098: PypeIt, pyvista
            gain=0.6 * u.electron / u.adu,  # PypeIt, pyvista
            read_noise=5 * u.electron,  # PypeIt, pyvista
            saturation=262143 * u.adu,  # 18 bits; not linear above 0.86 of it (PypeIt)
        ),
        Amplifier(
            name="right",
            data="[1025:2048, 1:4096]",  # as for the left half
            overscan="[2106:2138, 1:4096]",  # useful part of 2099 to 2148: PypeIt, pyvista
            gain=0.6 * u.electron / u.adu,  # as for the left half
            read_noise=5 * u.electron,  # as for the left half
            saturation=262143 * u.adu,  # as for the left half
        ),
    ],
    frame_size=(2148, 4096),  # the right overscan extends to column 2148
    binning=("BINX", "BINY"),
    overscan_bins=False,
    object="OBJNAME",
    filter="FILTER1",
    frame_type=frame_type,
    match={"flat": ("FILTER2", "DISPERSR", "SLIT")},
    recipe=Recipe(
        bias=True,
        dark="match",
        combine={
            "bias": Combine(method="median", clip=None),
            "flat": Combine(method="median", clip=None),
        },
        flat=SpectralFlat(dispersion="y", fit="spline"),
        electrons=True,
    ),
)
