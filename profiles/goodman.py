"""Goodman, the High Throughput Spectrograph at the SOAR 4.1 m, Cerro Pachón: spectra and images.

Two cameras, red and blue (INSTCONF), each with two profiles. Before August 2019 spectra and images
had INSTRUME = 'Goodman Spectro'; WAVMODE tells them apart. Compressed files (.fz) have the
image in extension 1. Rows are read in windows of any size; the columns of spectra are always all 4142,
binned 1 to 3.

Red: columns 1 to 50 are prescan. In focus frames of 2019 columns 1 to 5 and the first row contain
other signal (up to 1200 adu against 492), and column 51 is the first one with light. Blue:
columns 1 to 16 are dark (goodman_pipeline, PypeIt); columns 17 to 19 and those above 4112 are not
used by PypeIt. Images have no overscan (goodman_pipeline, "Observing Guidelines"): they need biases.

Gain and read noise in the header agree with the tables of goodman_pipeline for every speed and
attenuation. Its table of half the full well gives the level where the chip saturates, if this is
below the 65535 adu of 16 bits.

Not known: where the cameras cease to be linear.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Card, Flat, Profile, Recipe, Setting, SpectralFlat

# Full well in adu, at most 65535, by gain: goodman_pipeline, core.py, class SaturationValues.
FULL_WELL = {
    "Red": {
        **dict.fromkeys((1.45, 1.47, 1.48, 1.54), 65535),
        **{3.48: 58908, 3.77: 54376, 3.78: 54376, 3.87: 52972},
    },
    "Blue": {
        **dict.fromkeys((0.25, 0.47, 0.91, 0.56, 1.06, 2.06, 1.4), 65535),
        **{2.67: 52358, 5.67: 24656},
    },
}


def binning(header):
    """CCDSUM holds both numbers in one text, columns first."""
    return str(header.get("CCDSUM", "1 1")).split()


def amplifier(camera, data, overscan):
    """Return the amplifier of a camera; gain and read noise are those of the header."""
    return Amplifier(
        data=data,
        overscan=overscan,
        gain="GAIN",
        read_noise="RDNOISE",
        saturation=Setting("GAIN", FULL_WELL[camera], unit=u.adu),
    )


def spectrograph(camera, data, overscan, frame_size):
    """Return the profile of spectra of one camera."""
    name = f"ghts_{camera.lower()}"
    return Profile(
        instrument=(name, name.upper(), "Goodman Spectro"),
        where={"INSTCONF": camera, "WAVMODE": "[!Ii]*"},  # not Imaging
        telescope="SOAR 4.1 m, Cerro Pachón",
        amplifiers=[amplifier(camera, data, overscan)],
        frame_size=frame_size,
        binning=binning,
        frame_type="OBSTYPE",
        frame_types={"FOCUS": None},
        match={
            "flat": (
                *("GRATING", "SLIT", "FILTER2"),
                Card("GRT_ANG", relative=0.001),  # the tolerance of PypeIt
                Card("CAM_ANG", relative=0.001),
            )
        },
        recipe=Recipe(
            bias=True,
            dark=None,  # none are taken
            flat=SpectralFlat(dispersion="x"),  # DISPAXIS = 1
            electrons=True,
        ),
        status="headers seen",
    )


def imager(camera):
    """Return the profile of images of one camera."""
    name = f"ghts_{camera.lower()}_imager"
    return Profile(
        instrument=(name, name.upper(), "Goodman Imaging", "Goodman Spectro"),
        where={"INSTCONF": camera, "WAVMODE": "[Ii]*"},
        telescope="SOAR 4.1 m, Cerro Pachón",
        amplifiers=[amplifier(camera, "[:, :]", None)],
        binning=binning,
        frame_type="OBSTYPE",
        frame_types={"FOCUS": None},
        match={"flat": ("FILTER2",)},
        recipe=Recipe(bias=True, dark=None, flat=Flat(), electrons=True),
        status="from documents only",
    )


red = spectrograph("Red", "[51:4142, :]", "[11:48, :]", None)
blue = spectrograph("Blue", "[20:4112, :]", "[2:16, :]", None)
red_imager = imager("Red")
blue_imager = imager("Blue")
