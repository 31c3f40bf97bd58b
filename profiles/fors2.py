"""FORS2 at the VLT, Paranal, with its MIT chips: images and long-slit spectra.

Two chips of 4096 x 2048 pixels, mostly binned 2 x 2, each in a file of its own: EXTNAME is
CHIP1 or CHIP2. Ten rows of prescan and ten of overscan lie below and above the data; PypeIt
found artefacts in the overscan of chip 1 and in the prescan of chip 2, and takes the other.
They give one level for each frame, as they are too few for a level in each column.

ESO's GAIN is in adu per electron; CONAD is the gain. Frames of slit masks (MOS, MXU) are not
divided by a flat, as their slits have other wavelengths. The E2V chips are refused.

Sources: PypeIt's vlt_fors.py; a public script of A. Higgins (frames of 2048 x 1034 at 2 x 2,
EXTNAME, "FLAT,SKY", "FLAT,LAMP"); wakatara/coma-sci-backend (vlt-fors1+2.lisp) for the name
of the chips. No raw header was available.

Not known: whether the prescan of an unbinned frame is ten rows, as PypeIt supposes.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Flat, Profile, Recipe, SpectralFlat

WORDS = {
    "FLAT,SKY": "flat",
    "FLAT,LAMP": "flat",
    "LAMP,FLAT": "flat",
    "WAVE,LAMP": "arc",
    "LAMP,WAVE": "arc",
    "OBJECT": "science",
    "SKY": "science",
    "STD": "science",
}


def recipe(header):
    """Images and spectra share their biases but need different flats."""
    flats = {"IMAGE": Flat(), "SPECTRUM": SpectralFlat(dispersion="x")}  # PypeIt, specaxis
    return Recipe(
        overscan="level",  # five rows at 2 x 2
        bias=True,
        dark=None,  # 2 electrons an hour: PypeIt
        flat=flats.get(str(header.get("ESO DPR TECH")).strip()),
        electrons=True,
    )


def chip(number, overscan):
    """Return the profile of one of the chips, which differ in their useful overscan."""
    return Profile(
        instrument="FORS2",
        where={"EXTNAME": f"CHIP{number}", "ESO DET CHIP1 NAME": "MIT/LL*"},
        telescope="VLT 8.2 m, Paranal",
        amplifiers=[
            Amplifier(
                data="[1:4096, 11:2058]",  # PypeIt; its 2059 is one row too many for the chip
                overscan=overscan,  # PypeIt
                gain="ESO DET OUT1 CONAD",  # 0.70 in PypeIt, for spectra
                read_noise="ESO DET OUT1 RON",  # 2.9 and 3.15 in PypeIt, for spectra
                saturation=65535 * u.adu,  # 16 bits
            )
        ],
        frame_size=(4096, 2068),  # A. Higgins: 2048 x 1034 binned
        binning=("ESO DET WIN1 BINX", "ESO DET WIN1 BINY"),
        filter="ESO INS FILT1 NAME",
        frame_type="ESO DPR TYPE",
        frame_types=WORDS,
        match={"flat": ("ESO DPR TECH", "ESO INS GRIS1 NAME", "ESO INS SLIT NAME")},
        recipe=recipe,
        status="from documents only",
    )


chip1 = chip(1, overscan="[1:4096, 1:10]")  # PypeIt
chip2 = chip(2, overscan="[1:4096, 2062:2068]")  # PypeIt
