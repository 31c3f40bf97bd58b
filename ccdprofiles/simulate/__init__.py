"""Made-up nights of a camera, with the truth behind them."""

from .cameras import Exposures
from .night import Truth, simulate_night, windowed

__all__ = ["Exposures", "Truth", "simulate_night", "windowed"]
