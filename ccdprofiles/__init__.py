"""Reduce a night of CCD frames: describe your camera once, reduce each night with one command.

>>> from ccdprofiles import known_profiles
>>> sorted(known_profiles())[:2]
['acam', 'alfosc']
"""

import importlib

__version__ = "0.1.0"

# A name is imported when it is first used, so that the command line can print
# its help without waiting for astropy and ccdproc.
_HOME = {
    "Amplifier": "camera.amplifier",
    "Card": "camera.cards",
    "Combine": "camera.recipe",
    "CosmicRays": "camera.recipe",
    "Dated": "camera.settings",
    "Flat": "camera.recipe",
    "Limits": "camera.limits",
    "Night": "night",
    "Profile": "camera.profile",
    "Recipe": "camera.recipe",
    "Setting": "camera.settings",
    "SpectralFlat": "camera.recipe",
    "combine": "steps.stack",
    "detect_cosmics": "steps.hits",
    "known_profiles": "camera.registry",
    "load_profile": "camera.registry",
    "make_bad_pixel_mask": "bad_pixel_mask",
    "plan_night": "night",
    "reduce_night": "night",
    "simulate_night": "simulate",
    "verify_night": "verify",
}

__all__ = [
    "Amplifier",
    "Card",
    "Combine",
    "CosmicRays",
    "Dated",
    "Flat",
    "Limits",
    "Night",
    "Profile",
    "Recipe",
    "Setting",
    "SpectralFlat",
    "combine",
    "detect_cosmics",
    "known_profiles",
    "load_profile",
    "make_bad_pixel_mask",
    "plan_night",
    "reduce_night",
    "simulate_night",
    "verify_night",
]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
