"""OSMOS with the MDM4K chip at the MDM 2.4 m (Hiltner), Kitt Peak: long-slit spectra.

Four amplifiers read the quarters of the chip; 32 columns of overscan on the left and on the
right belong to the left and right quarters. Spectra are read from a band of rows, which is
divided in its middle. The wavelength runs along the rows.

Sources: bias4k, the IRAF script of the observatory (P. Martini, 2010), for all sections, and
PypeIt's mdm_osmos for the words, cards and numbers. No header was available.

Not known: the card of the filter, so images are refused; whether the overscan of a binned
frame is binned, so those are refused too; the gain and read noise of each amplifier (PypeIt
has one number for all four; the other chip, R4K, is another camera).
"""

from astropy import units as u

from ccdprofiles import Amplifier, Profile, Recipe, SpectralFlat


def amplifiers(header):
    """Return the quarters of the rows that were read."""
    middle = header["NAXIS2"] // 2
    return [
        Amplifier(
            name=f"{below} {side}",
            data=f"[{columns}, {rows}]",  # bias4k
            overscan=f"[{strip}, {rows}]",  # bias4k
            gain=2.2 * u.electron / u.adu,  # PypeIt
            read_noise=5 * u.electron,  # PypeIt
            saturation=65535 * u.adu,  # PypeIt: 16 bits
            linear=56360 * u.adu,  # PypeIt: linear to 0.86 of it
        )
        for below, rows in (("lower", f"1:{middle}"), ("upper", f"{middle + 1}:{2 * middle}"))
        for side, columns, strip in (
            ("left", "33:2064", "1:32"),
            ("right", "2065:4096", "4097:4128"),
        )
    ]


profile = Profile(
    instrument="OSMOS",
    where={"CCDXBIN": 1, "CCDYBIN": 1},
    telescope="MDM 2.4 m (Hiltner)",
    amplifiers=amplifiers,
    binning=("CCDXBIN", "CCDYBIN"),
    filter=None,  # its card is not known
    frame_types={"Bias": "bias", "FLAT": "flat", "COMP": "arc", "OBJECT": "science"},
    match={"flat": ("DISPID", "SLITID")},
    recipe=Recipe(
        bias=True,
        dark=None,  # none are taken: PypeIt
        flat=SpectralFlat(dispersion="x"),
        electrons=True,
    ),
    status="from documents only",
)
