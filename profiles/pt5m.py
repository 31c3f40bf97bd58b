"""pt5m, the 0.5 m robotic telescope on the roof of the WHT, La Palma; its QSI 532.

A KAF-3200ME of 2184 by 1472 pixels, used at 1x1, 2x2 and 3x3, often in the same night.
Each binning needs its own biases, darks and flats; flats at 1x1 cannot be used for
science at 2x2.

The cards are known from the scripts that read them; no header was available. TYPE and
the binning cards are certain, INSTRUME and EGAIN are inferred from the program with
which the same group controls this camera. Cameras of this make are common, but only
pt5m writes a TYPE card; frames of others are set aside.

Not known: the read noise (tables for this make give 7 to 8 electrons), and the gain
where the header lacks EGAIN.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Combine, Flat, Profile, Recipe


def gain(header):
    """EGAIN is the gain that the camera's driver gives; some files lack it."""
    said = header.get("EGAIN")
    return None if said is None else float(said) * u.electron / u.adu


profile = Profile(
    instrument="QSI 532",  # inferred
    telescope="pt5m, Roque de los Muchachos Observatory",
    amplifiers=[
        Amplifier(
            data="[1:2184, 1:1472]",  # HiPERCAM pipeline, fits2hcm; no overscan in the file
            overscan=None,  # none in the file
            gain=gain,  # about 1.3 electron / adu
            read_noise=None,  # not known
            saturation=65535 * u.adu,  # the limit of 16 bits
        )
    ],
    binning=("XBINNING", "YBINNING"),
    frame_type="TYPE",
    frame_types={
        "BIAS": "bias",
        "DARK": "dark",
        "SKY": "flat",
        "SCIENCE": "science",
        "FOCUS": None,  # ignored on purpose
    },
    recipe=Recipe(
        bias=True,
        dark="scale",  # darks of 60 s to flats of 2 s
        combine={
            "bias": Combine(method="median", clip=None),
            "flat": Combine(method="median", clip=None),
        },
        flat=Flat(scale="median"),
    ),
    status="from documents only",
)
