"""KOSMOS, the long-slit spectrograph at the ARC 3.5 m, Apache Point Observatory.

Two amplifiers read the left and the right half of the chip. Their overscans, 50 columns
each, lie at the right edge, that of the left half first, and each follows its own half
within 1 adu. They are 50 columns wide in binned frames too (verified at 1x1 and 2x1, not
at 3 and 4). The wavelength runs along the columns.

The headers of 2021 have no gain, no sections and no OBJECT. OBJNAME keeps the name of
the last target in flats, arcs and biases. DATE-OBS is TAI, 37 s ahead of UTC. The
spectrograph of the same name at Kitt Peak is another one (INSTRUME = 'KOSMOS').
Sources differ on the read noise: 5 electrons in pyvista and PypeIt, 6 in specsuite.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Combine, Profile, Recipe, SpectralFlat

LAMPS = ("KRYPTON", "NEON", "ARGON", "HE-TR", "NE-TR", "AR-TR")  # TR: on the telescope's truss


def frame_type(header):
    """Arcs have no type of their own: a frame with one of the line lamps on is an arc."""
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
            data="[1025:2048, 1:4096]",  # as the left one
            overscan="[2106:2138, 1:4096]",  # useful part of 2099 to 2148: PypeIt, pyvista
            gain=0.6 * u.electron / u.adu,  # as the left one
            read_noise=5 * u.electron,  # as the left one
            saturation=262143 * u.adu,  # as the left one
        ),
    ],
    frame_size=(2148, 4096),  # the right overscan goes on to 2148
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
    status="headers seen",
)
