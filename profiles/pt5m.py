"""pt5m, the 0.5 m robotic telescope on the roof of the WHT, La Palma; its QSI 532.

A KAF-3200ME of 2184 by 1472 pixels, used at 1x1, 2x2 and 3x3, often in one night.
Each binning needs biases, darks and flats of its own; flats at 1x1 are of no use to
science at 2x2.

What the headers say is known from the scripts that read them, not from a header
seen: TYPE and the binning cards are certain, INSTRUME and EGAIN are inferred from
the program with which the same group drives this camera. The make of camera is a
common one, but only pt5m writes its TYPE card; others' frames are set aside.

Nobody knows: the read noise (tables for this make say 7 to 8 electrons), and the
gain where the header lacks EGAIN.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Combine, Flat, Profile, Recipe


def gain(header):
    """EGAIN is what the camera's driver says; some files lack it."""
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
            read_noise=None,  # nobody knows
            saturation=65535 * u.adu,  # what 16 bits can hold
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
    # Darks of 60 s serve flats of 2 s, so they are scaled.
    recipe=Recipe(
        bias=True,
        dark="scale",
        combine={
            "bias": Combine(method="median", clip=None),
            "flat": Combine(method="median", clip=None),
        },
        flat=Flat(scale="median"),
    ),
)
