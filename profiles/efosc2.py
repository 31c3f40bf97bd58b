"""EFOSC2 at the ESO 3.58 m NTT, La Silla: images and long-slit spectra with one CCD.

Loral 2048 by 2048, read out through its left port and mostly binned 2 by 2. All numbers were measured
in frames, or read from headers, of three nights of January 2022 (24 frames in the repository
jkrogager/PyNOT), and the night was reduced with this profile. The page "Write a profile" shows how each
of them was found. Windows have another size, and are set aside.

Not known: where the chip ceases to be linear, and the numbers of the other speeds of read-out.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Flat, Profile, Recipe, SpectralFlat


def frame_type(header):
    """Biases are labelled DARK, with an exposure time of 0 s."""
    word = header.get("ESO DPR TYPE")
    return "bias" if word == "DARK" and header.get("EXPTIME") == 0 else word


def recipe(header):
    """Images and spectra share their biases but need different flats."""
    spectrum = header.get("ESO DPR TECH") == "SPECTRUM"
    return Recipe(
        # In bright frames the overscan contains trailed light (312 adu in a sky flat of
        # 35,000 adu, 217 in a bias): use one level per frame, and the nightly median instead
        # if it deviates.
        overscan="level",
        overscan_drift=10 * u.adu,  # faint frames deviate by a few adu
        bias=True,
        dark=None,  # no darks were taken
        flat=SpectralFlat(dispersion="y", order=16) if spectrum else Flat(),
        electrons=True,
    )


profile = Profile(
    instrument="EFOSC",
    where={"TELESCOP": "ESO-NTT"},
    telescope="ESO 3.58 m NTT, La Silla",
    amplifiers=[
        Amplifier(
            # According to the header there are six columns of prescan on the left
            # (PRSCX = 6, OVSCX = 0). Flats show the overscan on the right: columns 1024 to
            # 1029 of a binned frame are unexposed, columns 1022 and 1023 deviate, and rows
            # above 1016 receive no light.
            data="[1:2042, 1:2032]",
            overscan="[2047:2054, 1:2032]",  # the four most stable columns of a binned frame
            # GAIN = 0.91 is in adu per electron; CONAD = 1.10 is in electrons per adu.
            gain="ESO DET OUT1 CONAD",
            # RON is 7.8, but the biases show 10.3 adu, which is 11.3 electrons.
            read_noise=11.3 * u.electron,
            saturation=65535 * u.adu,  # 16 bits
        ),
    ],
    frame_size=(2060, 2060),  # 1030 x 1030 binned, including the unused columns and rows
    binning=("ESO DET WIN1 BINX", "ESO DET WIN1 BINY"),
    filter="ESO INS FILT1 NAME",
    frame_type=frame_type,
    frame_types={
        "FLAT": "flat",
        "SKY,FLAT": "flat",
        "WAVE": "arc",
        "OBJECT": "science",
        "STD": "science",
    },
    # A flat of one slit or grism must not be used for another.
    match={"flat": ("ESO DPR TECH", "ESO INS SLIT1 NAME", "ESO INS GRIS1 NAME")},
    recipe=recipe,
    status="tried on a real night",
)
