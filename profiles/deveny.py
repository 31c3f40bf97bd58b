"""DeVeny, the long-slit spectrograph at the Lowell Discovery Telescope, Happy Jack, Arizona.

One e2v CCD42-10 of 2048 by 515 pixels, read through one amplifier, with 50 columns of
prescan and 50 of overscan. Its control program, LOIS, writes the gain, the read noise and
the useful sections of every frame. The wavelength runs along the rows, and decreases.

OBJECT is often blank: OBJNAME has the name of a target, and SCITARG that of the telescope's
control system (PypeIt). Frames with a lamp on are arcs, those of a focus sequence too.

Seen: three comparison frames of February 2025, in LowellObservatory/LDTObserverTools. Light falls
on columns 50 to 2096, so TRIMSEC is on it and BIASSEC is clear of it; the pixels of BIASSEC
scatter by 4.0 electrons, and RDNOISE is 4.9. The words of the other types are those that
PypeIt's ldt_deveny compares.

Not known: headers of biases, flats and targets.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Card, Profile, Recipe, SpectralFlat


def binning(header):
    """CCDSUM holds both numbers in one text, columns first."""
    return str(header.get("CCDSUM")).split()


def name(header):
    """OBJNAME, or what the telescope pointed at."""
    cards = (str(header.get(card, "")).strip() for card in ("OBJNAME", "SCITARG"))
    return next((text for text in cards if text not in ("", "UNKNOWN")), None)


profile = Profile(
    instrument="Deveny",
    telescope="Lowell Discovery Telescope 4.3 m",
    amplifiers=[
        Amplifier(
            data="TRIMSEC",  # [54:2096, 5:512] unbinned
            overscan="BIASSEC",  # [2101:2144, 5:512] unbinned
            gain="GAIN",  # 1.52
            read_noise="RDNOISE",  # 4.9
            saturation=65535 * u.adu,  # PypeIt: 16 bits
            linear=63569 * u.adu,  # PypeIt: linear to 0.97 of it
        )
    ],
    frame_size=(2148, 516),  # NAXIS1 and NAXIS2 of the header
    binning=binning,
    object=name,
    filter="FILTREAR",
    temperature="TEMPCCD",
    frame_types={
        "COMPARISON": "arc",
        "DOME FLAT": "flat",
        "SKY FLAT": "flat",
        "OBJECT": "science",
        "STANDARD": "science",
        "FOCUS": None,
    },
    match={"flat": ("GRATING", Card("GRANGLE", relative=0.001), "SLITASEC")},  # as PypeIt
    recipe=Recipe(
        bias=True,
        dark=None,  # 4.5 electrons an hour: PypeIt
        flat=SpectralFlat(dispersion="x"),
        electrons=True,
    ),
    status="headers seen",
)
