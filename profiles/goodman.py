"""Goodman, the High Throughput Spectrograph at the SOAR 4.1 m, Cerro Pachón: spectra and images.

Two cameras, red and blue (INSTCONF), each with two profiles. Before August 2019 spectra and images
had INSTRUME = 'Goodman Spectro'; WAVMODE tells them apart. Rows are read in windows of any size;
spectra have all 4142 columns, binned 1 to 3.

Red: columns 1 to 50 are prescan. In focus frames of 2019 columns 1 to 5 and the first row contain
other signal (up to 1200 adu against 492), and column 51 is the first one with light. Blue:
columns 1 to 16 are dark (goodman_pipeline, PypeIt); columns 17 to 19 and those above 4112 are not
used by PypeIt. Images have no overscan (goodman_pipeline, "Observing Guidelines"): they need biases.

Gain and read noise in the header agree with the tables of goodman_pipeline, whose full well is
the saturation level where it is below 65535 adu. Not known: where the cameras cease to be linear.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Card, Flat, Profile, Recipe, Setting, SpectralFlat

# Full well in adu by gain, at most 65535: goodman_pipeline, core.py, class SaturationValues.
WELL_RED = dict.fromkeys((1.45, 1.47, 1.48, 1.54), 65535)
WELL_RED |= {3.48: 58908, 3.77: 54376, 3.78: 54376, 3.87: 52972}
WELL_BLUE = dict.fromkeys((0.25, 0.47, 0.56, 0.91, 1.06, 1.4, 2.06), 65535)
WELL_BLUE |= {2.67: 52358, 5.67: 24656}


def binning(header):
    """CCDSUM holds both numbers, columns first."""
    return str(header.get("CCDSUM", "1 1")).split()


def frame_size(header):
    """All 4142 columns, and any number of rows."""
    return 4142, header["NAXIS2"] * int(binning(header)[1])


red_chip = Amplifier(
    data="[51:4142, :]",  # focus frames of 2019, see above
    overscan="[11:48, :]",  # the same; goodman_pipeline: columns 6 to 49
    gain="GAIN",  # electrons per adu
    read_noise="RDNOISE",  # electrons
    saturation=Setting("GAIN", WELL_RED, unit=u.adu),  # see WELL_RED
)
blue_chip = red_chip.but(
    data="[20:4112, :]",  # PypeIt, soar_goodman.py
    overscan="[2:16, :]",  # PypeIt; goodman_pipeline: columns 1 to 16
    saturation=Setting("GAIN", WELL_BLUE, unit=u.adu),  # see WELL_BLUE
)
red = Profile(
    instrument=("ghts_red", "GHTS_RED", "Goodman Spectro"),
    where={"INSTCONF": "Red", "WAVMODE": "[!Ii]*"},  # not Imaging
    telescope="SOAR 4.1 m, Cerro Pachón",
    amplifiers=[red_chip],
    frame_size=frame_size,
    binning=binning,
    frame_type="OBSTYPE",
    frame_types={"FOCUS": None},
    match={
        "flat": (
            *("GRATING", "SLIT", "FILTER2"),
            Card("GRT_ANG", relative=0.001),  # the tolerance of PypeIt
            Card("CAM_ANG", relative=0.001),  # the same
        )
    },
    # No darks are taken. DISPAXIS = 1.
    recipe=Recipe(bias=True, dark=None, flat=SpectralFlat(dispersion="x"), electrons=True),
    status="headers seen",
)
blue = red.but(
    instrument=("ghts_blue", "GHTS_BLUE", "Goodman Spectro"),
    where={"INSTCONF": "Blue", "WAVMODE": "[!Ii]*"},
    amplifiers=[blue_chip],
    status="headers seen",
)
red_imager = red.but(
    instrument=("ghts_red_imager", "GHTS_RED_IMAGER", "Goodman Imaging", "Goodman Spectro"),
    where={"INSTCONF": "Red", "WAVMODE": "[Ii]*"},
    amplifiers=[red_chip.but(data="[:, :]", overscan=None)],  # Observing Guidelines, see above
    frame_size=None,
    match={"flat": ("FILTER2",)},
    recipe=Recipe(bias=True, dark=None, flat=Flat(), electrons=True),
    status="headers seen",
)
blue_imager = red_imager.but(
    instrument=("ghts_blue_imager", "GHTS_BLUE_IMAGER", "Goodman Imaging", "Goodman Spectro"),
    where={"INSTCONF": "Blue", "WAVMODE": "[Ii]*"},
    amplifiers=[blue_chip.but(data="[:, :]", overscan=None)],  # the same
    status="from documents only",
)
