"""Headers of products while they are written: cards as astropy writes them."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdprofiles.files.header import ProductHeader


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=75)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**9), 10**9).map(lambda n: n / 10**4),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)
def test_a_card_is_written_as_astropy_writes_it(value, comment):
    made = ProductHeader()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)  # of comments that are cut
        made["CPKEY"] = (value, comment)
        assert made.text() == str(fits.Card("CPKEY", value, comment))


def test_cards_that_frames_share_keep_their_places_when_they_are_added():
    made, shared = ProductHeader(), ProductHeader()
    made["TRIM"] = ("no", "of the camera")
    made["EXPTIME"] = 3.0
    made.add_history("first")
    shared["TRIM"] = ("[1:4, 1:4]", "data sections kept")
    shared["CPKEY"] = ("", "hash of all that went in")
    shared.add_history("second")
    for _ in range(2):
        # The shared ones stay as they are.
        header = ProductHeader()
        header.update(made)
        header.update(shared)
        assert list(header) == ["TRIM", "EXPTIME", "CPKEY"]
        assert header["TRIM"] == "[1:4, 1:4]"
        assert header.text().count("HISTORY") == 2


@pytest.mark.parametrize("number", [5, 45, 50, 60, 66, 67, 90])
@pytest.mark.parametrize("keyword", ["CPFILT", "ESO DET OUT1 FILTER"])
def test_a_comment_that_does_not_fit_is_cut_without_a_warning(keyword, number):
    """A filter may have a long name, and astropy says that its card is too long."""
    header = ProductHeader()
    header[keyword] = ("x" * number, "filter, as the profile reads it")
    assert header[keyword] == "x" * number
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = fits.Header()
        wanted[f"HIERARCH {keyword}" if " " in keyword else keyword] = (
            "x" * number,
            "filter, as the profile reads it",
        )
        text = wanted.tostring(endcard=False, padding=False)
    assert header.text().rstrip(" /") == text.rstrip(" /")


def test_a_copy_is_a_header_of_its_own():
    header = ProductHeader()
    header["GAIN"] = (1.5, "electrons per adu")
    header.add_history("read")
    other = header.copy()
    assert other.text() == header.text()
    other["GAIN"] = 2.0
    other.add_history("changed")
    assert (header["GAIN"], other["GAIN"]) == (1.5, 2.0)
    assert header.text().count("HISTORY") == 1


def test_a_value_alone_keeps_the_comment_and_numpy_values_are_plain_ones():
    header = ProductHeader()
    header["NUMBER"] = (np.int32(3), "a count")
    header["NUMBER"] = np.int64(4)
    assert header.text() == str(fits.Card("NUMBER", 4, "a count"))
    header["NUMBER"] = True
    header["OTHER"] = 1
    assert (header["NUMBER"], header["OTHER"]) == (True, 1)


def test_cards_are_moved_and_renamed():
    header = ProductHeader()
    for keyword in ("ONE", "TWO", "THREE"):
        header[keyword] = 1
    header.put_before("THREE", "ONE")
    assert list(header) == ["THREE", "ONE", "TWO"]
    header.set_after("THREE", "TWO", 2, "moved")
    assert list(header) == ["THREE", "TWO", "ONE"]
    header.rename("ONE", "EINS")
    assert (list(header), header["EINS"]) == (["THREE", "TWO", "EINS"], 1)
    header.hand_on("EINS", str(fits.Card("EINS", 9)))
    assert header["EINS"] == 1
    header.discard("EINS")
    header.discard("EINS")
    assert "EINS" not in header
