"""How cameras write their files whose profiles cannot be guessed from cards alone.

Their types of frames are told by lamps, shutters or the exposure, or a card names their
amplifiers. Only the cards that matter are here; the others are those of the profile.
"""

from __future__ import annotations

from .cameras import Camera
from .exposures import Exposure

__all__ = ["OBSERVATORIES"]


def _alfosc(shot: Exposure) -> dict:
    """Write the cards of an image."""
    return {
        "INSTRUME": "ALFOSC_FASU",
        "TELESCOP": "NOT",
        "CCDNAME": "CCD14",
        "SHSTAT": "OPEN" if shot.lit else "CLOSED",
        "EXPTIME": shot.exposure,
        "IMAGETYP": "FLAT,SKY" if shot.type == "flat" else "",
        "ALGRNM": "Open",
        "ALAPRTNM": "Open",
        "ALFLTNM": shot.filter or "Open",
        "TCSTGT": shot.object,
    }


def _arctic(shot: Exposure) -> dict:
    return {
        "INSTRUME": "arctic",
        "OBSERVAT": "APO",
        "AMPLIST": "11 12 21 22",
        "READAMPS": "Quad",
        "READRATE": "Medium",
    }


def _dolores(shot: Exposure) -> dict:
    """Write the cards of an image; the type of biases and sky flats is OBJECT too."""
    return {
        "INSTRUME": "LRS",
        "TELESCOP": "TNG",
        "OBS-TYPE": "OBJECT",
        "OBJCAT": "skyflat" if shot.type == "flat" else shot.object,
        "EXPTIME": shot.exposure,
        "LMP_ID": "Parking",
        "GRM_ID": "OPEN",
    }


_ESO_WORDS = {"bias": "BIAS", "dark": "DARK", "flat": "FLAT,SKY", "science": "OBJECT"}


def _fors2(shot: Exposure, chip: int) -> dict:
    return {
        "INSTRUME": "FORS2",
        "EXTNAME": f"CHIP{chip}",
        "HIERARCH ESO DET CHIP1 NAME": "MIT/LL mosaic",
        "HIERARCH ESO DPR TYPE": _ESO_WORDS.get(shot.type, "WAVE,LAMP"),
        "HIERARCH ESO DPR TECH": "IMAGE",
    }


def _efosc2(shot: Exposure) -> dict:
    """Write the cards of January 2022: biases are darks of 0 s."""
    words = _ESO_WORDS | {"bias": "DARK", "flat": "SKY,FLAT"}
    return {
        "INSTRUME": "EFOSC",
        "TELESCOP": "ESO-NTT",
        "EXPTIME": shot.exposure,
        "HIERARCH ESO DPR TYPE": words.get(shot.type, "WAVE"),
        "HIERARCH ESO DPR TECH": "IMAGE",
    }


OBSERVATORIES = (
    Camera(cards=_alfosc),
    Camera(cards=_arctic),
    Camera(cards=_dolores),
    Camera(cards=_efosc2, pedestals=(217.0,)),
    Camera(cards=lambda shot: _fors2(shot, 1), pedestals=(200.0,)),
    Camera(cards=lambda shot: _fors2(shot, 2), pedestals=(200.0,)),
)
