"""ACAM at the WHT 4.2 m, La Palma: images and long-slit spectra, each read in a window.

One chip, one amplifier, in the first extension. Windows differ from night to night, and only
the whole chip has overscan: columns 7 to 47 (THELI, ACAM@WHT). So the whole window is used,
with biases of the same window, which RTDATSEC tells. Of two windows, which stand in two
extensions, the first is reduced.

Seen: the first part of the header of a spectrum of December 2011, on ING's page "ACAM example
science FITS header", and the extension of another camera of ING's data acquisition system on
the page "Engineering/detectors/header" (GAIN, READNOIS, RTDATSEC, SATURATE = 65535). Image
types and filters are those of wakatara/coma-sci-backend, wht-acam.lisp.

Not known: gain and read noise if the header lacks them (THELI has 0.92); the word of arcs
("arc" is that of ISIS), and the cards that hold the binning; binned frames are refused.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Flat, Profile, Recipe, SpectralFlat


def date(header):
    """DATE-OBS holds the day only, and UTSTART the time of day."""
    day, time = header.get("DATE-OBS"), header.get("UTSTART")
    return f"{day.strip()}T{time.strip()}" if day and time and "T" not in day else day


def recipe(header):
    """Images and spectra share their biases but need different flats."""
    spectrum = str(header.get("ACAMMODE")).strip() == "SPECTROSCOPY"
    return Recipe(
        bias=True,
        dark=None,
        flat=SpectralFlat(dispersion="y") if spectrum else Flat(),  # the window is 2501 rows high
        electrons=True,
    )


profile = Profile(
    instrument="ACAM",
    telescope="WHT 4.2 m, La Palma",
    amplifiers=[
        Amplifier(
            extension=1,  # coma-sci-backend
            data="[:, :]",  # the window
            overscan=None,  # not in every window
            gain="GAIN",  # coma-sci-backend
            read_noise="READNOIS",  # ING, detectors/header
            saturation=65535 * u.adu,  # ING, detectors/header
        )
    ],
    filter="ACAMFILT",
    date=date,
    match={"bias": ("RTDATSEC",), "flat": ("RTDATSEC", "ACAMDISP", "ACAMSLI")},
    recipe=recipe,
    status="headers seen",
)
