"""ALFOSC at the Nordic Optical Telescope, La Palma: images and long-slit spectra; CCD14, since 2016.

A frame has 2148 by 2102 pixels: 50 columns of prescan on the left, 50 of overscan on the right,
and 50 rows of overscan at the top (PyNOT, alfosc.py). The overscan follows the bias within 1 adu,
but not for 40 minutes after the chip was flooded with light (NOT, "CCD3-controller features").
Windows, which DETWIN1 describes, have another size and are set aside.

The lamps and the shutter tell the type of a frame, as in PyNOT's rules. Acquisition images, images
of the slit and counts for a flat are ignored.

Not known: the header of a frame; names of cards and values are those that PyNOT, PypeIt and
flows read. The read noise is that of the header, RDNOISE.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Flat, Profile, Recipe, SpectralFlat

IGNORED = ("ALFOSC target acquisition", "EasyFlat count test")


def is_open(header, card):
    """Return True if a wheel is at an empty place."""
    return str(header.get(card, "")).strip().lower().startswith("open")


def frame_type(header):
    """Recognise a frame as PyNOT does (alfosc.rules): by shutter, lamps, grism and slit."""
    if header.get("SHSTAT") == "CLOSED":
        return "bias" if header.get("EXPTIME", 1) < 0.01 else "dark"
    if header.get("OBJECT") in IGNORED or header.get("ALGRNM") == "Focus_Pyr":
        return "ignored"
    if is_open(header, "ALGRNM"):
        if not is_open(header, "ALAPRTNM"):
            return "ignored"  # an image of the slit
        return "flat" if "FLAT" in str(header.get("IMAGETYP", "")).upper() else "science"
    if header.get("CLAMP3") == 1:  # halogen
        return "flat"
    lines = any(header.get(card) == 1 for card in ("CLAMP1", "CLAMP2", "CLAMP4"))  # He, Ne, ThAr
    return "arc" if lines else "science"


def filter(header):
    """Return the first filter of three wheels, or Open."""
    names = (str(header.get(card, "")).strip() for card in ("FAFLTNM", "FBFLTNM", "ALFLTNM"))
    return next((n for n in names if n and "open" not in n.lower()), "Open")


def recipe(header):
    """Images and spectra need different flats; vertical slits disperse along the columns."""
    if is_open(header, "ALGRNM"):
        flat = Flat()
    else:
        vertical = "vert" in str(header.get("ALAPRTNM", "")).lower()
        flat = SpectralFlat(dispersion="x" if vertical else "y")
    return Recipe(bias=True, dark=None, flat=flat, electrons=True)


profile = Profile(
    instrument=("ALFOSC_FASU", "ALFOSC FASU"),  # PyNOT and PypeIt; flows knows both
    where={"TELESCOP": "NOT", "CCDNAME": "CCD14"},  # the chip before had another gain
    telescope="Nordic Optical Telescope, La Palma",
    amplifiers=[
        Amplifier(
            data="[51:2098, 1:2052]",  # PyNOT
            overscan="[2101:2145, 1:2052]",  # NOT, "Bias level: ALFOSC CCD14"
            gain=0.16 * u.electron / u.adu,  # PyNOT; NOT: "6 adu is about one electron"
            read_noise="RDNOISE",
            saturation=700_000 * u.adu,  # NOT, "ALFOSC CCD14 linearity"; PypeIt has the same
            linear=600_000 * u.adu,  # within 1 %, the same page; PypeIt: 0.86 of 700000
        )
    ],
    frame_size=(2148, 2102),  # PyNOT
    binning=("DETXBIN", "DETYBIN"),
    object=("TCSTGT", "OBJECT"),  # OBJECT is not always right: PyNOT
    filter=filter,
    frame_type=frame_type,
    frame_types={"ignored": None},
    match={"flat": ("ALGRNM", "ALAPRTNM")},
    recipe=recipe,
    status="from documents only",
)
