"""The command line: one module for each command."""

from .command import main

__all__ = ["main"]
