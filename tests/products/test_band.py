"""Flags: their bits, their names, and what they do to arrays."""

import numpy as np

from ccdprofiles.products.band import DQ, DQ_BITS, MASKED


def test_every_bit_has_a_name_in_the_header():
    assert list(DQ_BITS.values()) == [flag.value for flag in DQ]
    assert [name.replace("-", " ").replace(" ", "_").upper() for name in DQ_BITS] == [
        flag.name for flag in DQ
    ]


def test_the_bits_are_those_of_dragons():
    # bad pixel, non-linear, saturated, cosmic ray, no data, unilluminated
    assert [flag.value for flag in DQ][:6] == [1, 2, 4, 8, 16, 64]
    assert MASKED == sum(DQ) - DQ.NON_LINEAR - DQ.HOT == 221


def test_the_bits_of_the_header_leave_the_type_of_flags_as_it_is():
    flags = np.zeros(3, "u2")
    flags[1] |= DQ_BITS["hot"]
    assert (flags & DQ_BITS["hot"]).dtype == np.uint16
    assert ((flags & DQ.HOT) != 0).tolist() == [False, True, False]
