"""Simulated nights of a camera, with their true masters and science frames."""

from .exposures import Exposures
from .known import with_numbers
from .night import simulate_night
from .truth import Truth
from .window import windowed

__all__ = ["Exposures", "Truth", "simulate_night", "windowed", "with_numbers"]
