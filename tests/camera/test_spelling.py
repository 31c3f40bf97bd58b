"""A suggestion is made only where it is really near."""

import pytest

from ccdprofiles import plan_night, simulate_night
from ccdprofiles.camera.registry import Registry
from ccdprofiles.camera.spelling import near_files, near_words
from ccdprofiles.errors import InputError, ProfileError
from ccdprofiles.simulate import Exposures, windowed

TYPES = ["bias", "dark", "flat", "arc", "science"]


@pytest.mark.parametrize(
    ("word", "choice"),
    [
        ("drak", "dark"),
        ("flats", "flat"),
        ("FLAT", "flat"),
        ("scince", "science"),
        ("arcs", "arc"),
        ("biases", "bias"),
    ],
)
def test_a_slip_or_two_are_near(word, choice):
    assert near_words(word, TYPES) == [choice]


@pytest.mark.parametrize("word", ["", "x", "acq", "light", "nosuch", "medium", "bi", "masters"])
def test_another_word_is_not_near(word):
    assert near_words(word, TYPES) == []


def test_a_single_letter_is_near_only_in_the_other_case():
    assert near_words("r", ["B", "V", "R"]) == ["R"]
    assert near_words("I", ["B", "V", "R"]) == []


def test_the_nearest_comes_first_and_no_more_than_are_wanted():
    assert near_words("kosmo", ["kosmos2", "cosmos", "kosmos"], 2) == ["kosmos", "kosmos2"]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("nosuch.fits", []),
        ("ccd.099.0.fits", []),
        ("xyz.fits", []),
        ("ccd.037.fits", ["night/ccd.037.0.fits"]),
        ("cdc.037.0.fits", ["night/ccd.037.0.fits"]),
        ("CCD.037.0.fit", ["night/ccd.037.0.fits"]),
    ],
)
def test_names_of_files_are_alike_by_nature(name, near):
    assert near_files(name, ["night/ccd.037.0.fits", "night/ccd.025.0.fits"]) == near


@pytest.mark.parametrize("option", ["keep", "reject"])
def test_no_file_is_suggested_for_one_that_is_far_from_all(tmp_path, option):
    small = windowed("lfc", 16, 24)
    simulate_night(small, tmp_path, frames=[Exposures("dark", 3, 300.0)])
    with pytest.raises(InputError) as refused:
        plan_night(tmp_path, profile=small, **{option: ["nosuch.fits"]})
    assert str(refused.value) == (
        f"{option}='nosuch.fits' is not a file of the night; use a name that ccdprofiles info lists."
    )


def test_no_word_is_suggested_that_is_far_from_what_was_written():
    with pytest.raises(ProfileError) as refused:
        Registry.gather()["probe"]
    assert str(refused.value).startswith("there is no profile 'probe'; use one of ")
    assert "Did you mean" not in str(refused.value)
