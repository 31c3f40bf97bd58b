"""CAFOS, the focal reducer at the CAHA 2.2 m, Calar Alto: images and long-slit spectra.

SITe chip of 2048 x 2048 pixels of 24 microns, mostly read in a window whose first pixel is in
CRVAL1 and CRVAL2; masters are made for each window. The first row holds the charge of all
rows that were skipped, and the first columns settle: they are cut. Windows contain no
overscan. DATASEC and BIASSEC are not written as FITS sections, and are not used.

Tried on the night of 2024-07-20 in ggarcimo/CAHA-CAFOS-pipeline: 10 biases, 10 dome flats,
6 arcs and 3 spectra with the grism green-200. Pairs of flats give 1.45 electrons per adu,
CCDSENS 1.43; pairs of biases give 9.0 electrons, CCDRON 7.4. The bias is 672 adu, not
CCDMEAN. The wavelength runs along the columns.

Not known: frames of the whole chip, which have overscan (CCD1 OVSCX = 119), binned frames, and
other readout speeds.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Flat, Profile, Recipe, SpectralFlat


def amplifiers(header):
    """Return the amplifier with the window without its first row and columns."""
    columns = header["NAXIS1"] * header["CCDBINX"]
    rows = header["NAXIS2"] * header["CCDBINY"]
    return [
        Amplifier(
            data=f"[6:{columns}, 2:{rows}]",  # seen in the biases
            overscan=None,  # none in a window
            gain="CCDSENS",  # 1.43
            read_noise=9.0 * u.electron,  # measured
            saturation=65535 * u.adu,  # 16 bits
        )
    ]


def recipe(header):
    """Images and spectra share their biases but need different flats."""
    image = str(header.get("INSGRNAM")).strip() == "FREE"
    return Recipe(
        bias=True,
        dark=None,  # none were taken
        flat=Flat() if image else SpectralFlat(dispersion="y"),
        electrons=True,
    )


WINDOW = ("CRVAL1", "CRVAL2")

profile = Profile(
    instrument="CAFOS 2.2",
    where={"CCDNAME": "SITE#1d_15"},  # another chip has other numbers
    telescope="CAHA 2.2 m, Calar Alto",
    amplifiers=amplifiers,
    binning=("CCDBINX", "CCDBINY"),
    filter="INSFLNAM",
    match={
        "bias": WINDOW,
        "dark": WINDOW,
        "flat": (*WINDOW, "INSGRNAM", "INSAPDY"),
    },
    recipe=recipe,
    status="tried on a real night",
)
