"""DOLORES, the Low Resolution Spectrograph at the TNG 3.6 m, La Palma: images and spectra.

One e2v chip of 2048 x 2048 pixels, one amplifier. The whole frame is used, and biases: PypeIt
has columns 1 to 50 as prescan and rows from 2054 as overscan, but not the size of the frame,
and coma-sci-backend found no section in the header.

OBS-TYPE is OBJECT for biases and sky flats too: biases are frames of 0 s, and flats are told
by their name, or by the halogen lamp. The cards are those of PypeIt (tng_dolores.py),
photometrypipeline (TNGDOLORES) and wakatara/coma-sci-backend (tng-dolores.lisp). No header
was available. LRS is also the name of a spectrograph of the Hobby-Eberly Telescope.

Not known: where the light falls; the binning of the overscan; the words of lamps other than
those of PypeIt.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Flat, Profile, Recipe, SpectralFlat


def frame_type(header):
    """By the exposure, the lamp and the name."""
    lamp, name, kind = (str(header.get(c, "")).strip() for c in ("LMP_ID", "OBJCAT", "OBS-TYPE"))
    if header.get("EXPTIME") == 0:
        return "bias"
    if lamp not in ("", "Parking"):
        return "flat" if lamp == "Halogen" else "arc"
    return "flat" if "flat" in name.lower() else kind


def date(header):
    """DATE-OBS holds the day only in some years, and EXPSTART the time of day."""
    day, time = str(header.get("DATE-OBS", "")).replace("/", "-"), header.get("EXPSTART")
    return f"{day}T{time}" if day and time and "T" not in day else day or None


def recipe(header):
    """Images and spectra share their biases but need different flats."""
    image = str(header.get("GRM_ID")).strip() == "OPEN"
    return Recipe(
        bias=True,
        dark=None,
        flat=Flat() if image else SpectralFlat(dispersion="x"),  # PypeIt, specaxis
        electrons=True,
    )


profile = Profile(
    instrument="LRS",
    where={"TELESCOP": "TNG"},
    telescope="TNG 3.6 m, La Palma",
    amplifiers=[
        Amplifier(
            data="[:, :]",  # the whole frame
            overscan=None,  # see above
            gain=0.97 * u.electron / u.adu,  # PypeIt
            read_noise=9.0 * u.electron,  # PypeIt
            saturation=65500 * u.adu,  # PypeIt
            linear=64845 * u.adu,  # PypeIt: linear to 0.99 of it
        )
    ],
    binning=("CRDELT1", "CRDELT2"),
    object="OBJCAT",
    filter="FLT_ID",
    date=date,
    frame_type=frame_type,
    match={"flat": ("GRM_ID", "SLT_ID")},
    recipe=recipe,
    status="from documents only",
)
