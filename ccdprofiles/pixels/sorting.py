"""Sorting networks: fixed sequences of compare-and-exchange steps.

A network sorts the values of many pixels at once: each step is the element-wise minimum and
maximum of two arrays, without a branch for a single pixel. On arrays that fit into the cache it
is several times faster than `numpy.sort` along the axis of frames.
"""

from __future__ import annotations

from functools import lru_cache

__all__ = ["median_network", "sorting_network"]


@lru_cache
def sorting_network(number: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs of places to be put in order, one after the other, to sort some values.

    Notes
    -----
    Batcher's merge exchange (1968, AFIPS 32, 307), as algorithm M of Knuth, The Art of
    Computer Programming, volume 3, section 5.2.2.

    Examples
    --------
    >>> from ccdprofiles.pixels.sorting import sorting_network
    >>> sorting_network(3)
    ((0, 2), (0, 1), (1, 2))
    """
    pairs = []
    top = step = 1 << max(0, (number - 1).bit_length() - 1)
    while step:
        stride, offset, distance = top, 0, step
        while True:
            pairs += [(i, i + distance) for i in range(number - distance) if i & step == offset]
            if stride == step:
                break
            distance, stride, offset = stride - step, stride // 2, step
        step //= 2
    return tuple(pairs)


@lru_cache
def median_network(number: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """Return pairs to be put in order, and whether their minimum and their maximum are needed.

    Only the steps that lead to the median, the place ``number // 2``, are left of the network.
    """
    wanted, steps = {number // 2}, []
    for i, j in reversed(_SHORT.get(number) or sorting_network(number)):
        if i in wanted or j in wanted:
            steps.append((i, j, i in wanted, j in wanted))
            wanted |= {i, j}
    return tuple(reversed(steps))


def _pairs(text: str) -> tuple[tuple[int, int], ...]:
    return tuple((int(pair[0]), int(pair[1])) for pair in text.split())


_SHORT = {
    5: _pairs("01 34 03 14 12 23 12"),
    7: _pairs("05 03 16 24 01 35 26 23 36 45 14 13 34"),
    9: _pairs("12 45 78 01 34 67 12 45 78 03 58 47 36 14 25 47 42 64 42"),
}
"""Shorter median networks of 5, 7 and 9 values (Devillard 1998, after Smith 1996)."""
