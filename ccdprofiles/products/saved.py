"""A product that is read from the disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import takewhile
from pathlib import Path

import numpy as np

from ..errors import FrameRejected
from ..files.cards import Cards
from ..files.pixels import Pixels
from ..files.raw import RawFile, RawImage, opened, read_raw, refuse_changed
from .band import Band
from .product import sha256_of

__all__ = ["SavedProduct", "made_by_us", "saved_key"]
_SMALL = 2**18


class SavedProduct:
    """A product on the disk, its header and bands of its rows.

    Parameters
    ----------
    path : Path
    sha256 : str
        Of the file. A cluster may make a master once more after it lost the answer of the
        first time, and a file of the same bytes is the same master.

    Raises
    ------
    FrameRejected
        If it is no whole FITS file.
    """

    def __init__(self, path: Path, sha256: str = ""):
        self.path = Path(path)
        self._sha256 = sha256
        self._whole: dict[bool, tuple[np.ndarray | None, ...]] = {}
        self.__dict__["raw"] = read_raw(self.path)

    def __reduce__(self):
        expected = self.raw.size, self.raw.mtime_ns
        return _not_read_yet, (self.path.absolute(), self._sha256, *expected)

    @cached_property
    def raw(self) -> RawFile:
        """Its headers, read again by a worker of another process when it asks for them."""
        with self._blamed():
            raw = read_raw(self.path)
            if (raw.size, raw.mtime_ns) != self._expected and not self._has_same_bytes():
                raise FrameRejected("changed", "it is another file.")
            return raw

    @cached_property
    def _pixels(self) -> Pixels:
        return Pixels(self.raw)

    def _has_same_bytes(self) -> bool:
        return self._sha256 != "" and sha256_of(self.path) == self._sha256

    @cached_property
    def _planes(self) -> dict[str | None, RawImage]:
        return {image.name: image for image in self.raw.images}

    def refuse_changed(self) -> None:
        """Refuse a product that is no longer the file whose header was read.

        Raises
        ------
        FrameRejected
            ``removed``, with its path.
        """
        with self._blamed():
            try:
                refuse_changed(self.raw)
            except FrameRejected:
                if not self._has_same_bytes():
                    raise

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Blame what cannot be read on this file, and on none of those that need it."""
        try:
            yield
        except (FrameRejected, OSError) as error:
            raise FrameRejected(
                "removed",
                f"the master {self.path.stem} was removed or replaced while the run was going on; "
                "run it again: the master is made anew, and what is finished stays.",
                str(self.path),
            ) from error

    @property
    def header(self) -> Cards:
        """The cards of its primary HDU."""
        return self.raw.header

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.raw.images[0].shape

    def band(self, first: int, stop: int, variance: bool = True) -> Band:
        """Read rows ``first`` (from 0) up to but without ``stop``, with or without variance."""
        rows, columns = self.shape
        with self._blamed():
            if rows * columns > _SMALL:
                return Band(*self._read(first, stop, variance))
            # A small master is asked for by every few frames of a long series.
            if variance not in self._whole:
                self._whole[variance] = self._read(0, rows, variance)
        data, square, flags = (p if p is None else p[first:stop] for p in self._whole[variance])
        return Band(data, square, None if flags is None or not flags.any() else flags)

    def _read(
        self, first: int, stop: int, variance: bool
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        try:
            return self._planes_of(first, stop, variance)
        except FrameRejected:
            if not self._has_same_bytes():
                raise
        for name in ("_pixels", "_planes"):
            vars(self).pop(name, None)
        vars(self)["raw"] = read_raw(self.path)
        return self._planes_of(first, stop, variance)

    def _planes_of(
        self, first: int, stop: int, variance: bool
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        data = self._pixels.rows(self.raw.images[0], first, stop)
        square = flags = None
        if variance and "UNCERT" in self._planes:
            square = self._pixels.rows(self._planes["UNCERT"], first, stop)
            square *= square
        if "DQ" in self._planes:
            stored = self._pixels.stored(self._planes["DQ"], first, stop)
            flags = stored.view(">u2").astype("u2") ^ 0x8000
        elif "MASK" in self._planes:
            flags = self._pixels.stored(self._planes["MASK"], first, stop).astype("u2")
        if flags is not None and not flags.any():
            flags = None
        return data, square, flags


def _not_read_yet(path: Path, sha256: str, *expected: int) -> SavedProduct:
    """Return a product that is read when it is asked for, so that a worker can say it is gone."""
    product = object.__new__(SavedProduct)
    vars(product).update(path=path, _sha256=sha256, _whole={}, _expected=expected)
    return product


def saved_key(path: Path) -> str | None:
    """Return the key of a product on the disk, or None where there is no whole one."""
    try:
        return str(read_raw(path).header.get("CPKEY"))
    except (FrameRejected, OSError):
        return None


def made_by_us(path: Path) -> bool:
    """Return True if a file begins as our products do, whole or not."""
    with opened(path) as stream:
        start = stream.read(64 * 2880)
    if not start.startswith(b"SIMPLE  ="):
        return False
    cards = (start[place : place + 80] for place in range(0, len(start), 80))
    header = takewhile(lambda card: card.rstrip() != b"END", cards)
    return any(card.startswith(b"CPVERS  =") for card in header)
