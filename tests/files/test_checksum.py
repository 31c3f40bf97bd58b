"""The sums of FITS, held against astropy's."""

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from ccdprofiles.files.checksum import MODULUS, ROOM, encoded, folded, with_sums, word_sum


@given(st.binary(max_size=64))
def test_the_sum_of_words_is_that_of_astropy(data):
    # astropy adds up whole blocks only.
    block = np.frombuffer(data.ljust(2880, b"\0"), "u1")
    theirs = int(fits.PrimaryHDU()._compute_checksum(block))
    assert folded(word_sum(data)) == theirs


@pytest.mark.parametrize("rows", [1, 3, 4])
def test_pixels_in_native_order_sum_up_as_they_are_stored(rows):
    pixels = np.random.default_rng(rows).normal(size=(rows, 7)).astype("f4")
    stored = pixels.astype(">f4")
    assert word_sum(pixels, "=") == word_sum(stored) == word_sum(stored.tobytes())


def test_a_carry_is_added_at_the_other_end():
    assert folded(0) == 0
    assert folded(MODULUS) == MODULUS
    assert folded(MODULUS + 1) == 1
    assert folded(5 * 2**32 + 7) == 12


@given(st.integers(0, 2**32 - 1))
def test_a_checksum_is_written_as_astropy_writes_it(value):
    assert encoded(value) == fits.PrimaryHDU()._char_encode(value)


@given(st.integers(0, 2**32 - 1))
def test_a_header_with_its_sums_adds_up_to_nothing(datasum):
    header = (b"SIMPLE  =                    T".ljust(80) + ROOM + b"END").ljust(2880)
    summed = with_sums(header, datasum)
    assert len(summed) == 2880
    assert (word_sum(summed) + datasum) % MODULUS == 0
    cards = fits.Header.fromstring(summed)
    assert cards["DATASUM"] == str(datasum)
    assert cards.comments["CHECKSUM"] == "HDU checksum"
