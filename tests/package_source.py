"""The source of the package, as the tests of the project read it."""

from pathlib import Path

import ccdprofiles

HOUSE = Path(ccdprofiles.__file__).parent

SOURCES = sorted(p for p in HOUSE.rglob("*.py") if p.parent != HOUSE / "profiles")
"""Its files; an installed package holds the profiles, too, which are not meant."""


def module_of(path):
    """The name of a module inside the package, such as ``plan.scan``."""
    return ".".join(path.relative_to(HOUSE).with_suffix("").parts)
