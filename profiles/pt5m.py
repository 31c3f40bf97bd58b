"""pt5m, the 0.5 m robotic telescope on the roof of the WHT, La Palma; its QSI 532.

The detector is a KAF-3200ME with 2184 by 1472 pixels, used with binnings of 1x1, 2x2 and
3x3, often in one night. Each binning needs its own biases, darks and flats; flats taken at
1x1 cannot be used for science frames at 2x2.

The header cards are known from the scripts that read them; we have not seen a header.
TYPE and the binning cards are certain; INSTRUME and EGAIN are inferred from the program
with which the same group controls this camera. The camera model is common, but only
pt5m writes the card TYPE, so frames of other observatories are set aside.

Not known are the read noise (data sheets of this model give 7 to 8 electrons), and the
gain if the header has no EGAIN.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Combine, Flat, Profile, Recipe


def gain(header):
    """EGAIN is written by the driver of the camera and is missing in some files."""
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
            saturation=65535 * u.adu,  # largest 16-bit value
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
    # Darks of 60 s are used for flats of 2 s, so they are scaled.
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
