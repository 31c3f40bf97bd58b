"""PRISM at the Perkins 72-inch (1.8 m), Anderson Mesa: the later frames of 2138 x 2064 pixels.

A chip of 2048 x 2048 pixels, one amplifier. Sources: wakatara/coma-sci-backend,
lowell-prism.lisp, for the words, the sections and the gain, which is that on the board of the
observing room, AGAIN_01 being unreliable; photometrypipeline for CCDSUM. Three filter wheels
have FILTNME1 to 3; "Open" and "Empty" are holes. No header was available.

Not known: read noise; the useful columns of the overscan, so biases are needed; the name in
INSTRUME of earlier frames, which have another size (2104 x 2048) and are set aside; binned
frames.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Profile, Recipe


def binning(header):
    """CCDSUM holds both numbers in one text, columns first."""
    return str(header.get("CCDSUM")).split()


def filters(header):
    """Return what is in the three wheels."""
    wheels = (str(header.get(f"FILTNME{n}", "")).strip() for n in (1, 2, 3))
    return "+".join(w for w in wheels if w.lower() not in ("", "open", "empty")) or "none"


profile = Profile(
    instrument=("PRISM Instrument", "prism"),  # photometrypipeline
    where={"DETECTOR": "Prism 2048x2048 CCD"},
    telescope="Perkins 72-inch, Anderson Mesa",
    amplifiers=[
        Amplifier(
            data="[54:2101, 2:2063]",  # coma-sci-backend
            overscan=None,  # there, but not known
            gain=2.72 * u.electron / u.adu,  # coma-sci-backend
            read_noise=None,  # not known
            saturation=65535 * u.adu,  # coma-sci-backend
        )
    ],
    frame_size=(2138, 2064),  # coma-sci-backend
    binning=binning,
    filter=filters,
    frame_type="OBSTYPE",
    recipe=Recipe(bias=True, dark=None),
    status="from documents only",
)
