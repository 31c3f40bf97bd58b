"""Cards of a header: each is parsed alone, and survives broken neighbours."""

import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdprofiles.files.cards import TEXT_LIMIT, Cards


def cards(*lines, primary=None):
    octets = (line if isinstance(line, bytes) else line.encode() for line in lines)
    return Cards(b"".join(o.ljust(80)[:80] for o in octets), primary)


def value(line):
    return cards(line)["KEY"]


@pytest.mark.parametrize(
    ("card", "wanted"),
    [
        ("KEY     =                    3 / three", 3),
        ("KEY     = -3", -3),
        ("KEY     =                300.0 / [s]", 300.0),
        ("KEY     =              1.5E-02", 0.015),
        ("KEY     =              1.5D+03 / of FORTRAN", 1500.0),
        ("KEY     =              1.5d+03", 1500.0),
        ("KEY     = .5", 0.5),
        ("KEY     =                    T", True),
        ("KEY     = F / false", False),
        ("KEY     = 'M 31    '           / target", "M 31"),
        ("KEY     = '  M 31'", "  M 31"),
        ("KEY     = 'g'''", "g'"),
        ("KEY     = 'O''Brien''s'", "O'Brien's"),
        ("KEY     = 'a / b'   / c", "a / b"),
        ("KEY     = ''", ""),
        ("KEY     =", None),
        ("KEY     = / no value", None),
        ("KEY     ='tight'", "tight"),
        ("KEY     = 1_000", "1_000"),
        ("KEY     = 12:30:45", "12:30:45"),
        ("KEY     = 300.0.0", "300.0.0"),
        ("KEY     = 'no end of this text", "no end of this text"),
        ("KEY     = 123456789012345678901", 123456789012345678901),
    ],
)
def test_a_card_is_parsed(card, wanted):
    found = value(card)
    assert found == wanted
    assert type(found) is type(wanted)


def test_a_card_that_is_not_ascii_costs_itself():
    made = cards(b"KEY     = 'M\xfcller'", "OTHER   = 3", b"\xff\xfe  = 3", "LAST    = 4")
    assert made["KEY"] == "M\ufffdller"
    assert (made["OTHER"], made["LAST"]) == (3, 4)


def test_texts_go_on_in_continue_cards():
    made = cards(
        "KEY     = 'one &'",
        "CONTINUE  'two &'",
        "CONTINUE  'three' / a comment",
        "OTHER   = 3",
    )
    assert made["KEY"] == "one two three"
    assert made["OTHER"] == 3
    header = fits.Header()
    header["LONG"] = "it's a long text " * 20
    assert Cards(header.tostring().encode())["LONG"] == header["LONG"].rstrip()


def test_keywords_of_eso_are_found_with_and_without_hierarch():
    made = cards("HIERARCH ESO DET CHIP1 NAME = 'a=b' / c", "HIERARCH ESO DET GAIN=1.5")
    assert made["ESO DET CHIP1 NAME"] == made["HIERARCH ESO DET CHIP1 NAME"] == "a=b"
    assert made["eso det gain"] == 1.5
    assert "HIERARCH ESO DET GAIN" in made
    assert "ESO DET" not in made


def test_keywords_are_compared_without_case():
    made = cards("KEY     = 3")
    assert made["key"] == made["Key"] == 3
    assert "kEY" in made


def test_of_a_keyword_that_stands_twice_the_first_counts():
    made = cards("KEY     = 1", "KEY     = 2", "SAME    = 1", "SAME    = 1")
    assert made["KEY"] == 1
    assert made["SAME"] == 1


def test_a_keyword_conflicts_where_its_values_differ_and_it_counts():
    primary = cards("ONE     = 1", "ONE     = 2", "TWO     = 1 / a", "TWO     = 1.0 / b")
    above = cards("SIX     = 6", "SIX     = 7", "TWO     = 3", primary=primary)
    assert primary.conflicting == {"ONE"}
    assert above.conflicting == {"SIX"}
    said = {name: above.conflicts(name) for name in ("one", "TWO", "HIERARCH SIX", "NONE")}
    assert said == {"one": True, "TWO": False, "HIERARCH SIX": True, "NONE": False}
    # Below, where the image says nothing of its own.
    assert not cards("ONE     = 1", primary=primary).conflicts("ONE")


def test_what_a_terminal_would_obey_is_not_handed_on():
    assert value(b"KEY     = 'a\x1b[31m\x00\xe9'") == "a\ufffd[31m\ufffd\ufffd"


def test_a_text_without_end_is_cut():
    more = ["CONTINUE  '" + "y" * 60 + "&'"] * 10000
    assert cards("KEY     = 'x&'", *more)["KEY"] == "x" + "y" * (TEXT_LIMIT - 1)


def test_comments_histories_and_blanks_are_no_keywords():
    made = cards(
        "COMMENT KEY     = 3", "HISTORY = 4", "        = 5", "KEY     = 6", "WORDS and = 7"
    )
    assert list(made) == ["KEY"]
    assert len(made) == 1


def test_a_missing_card_is_a_key_error_and_an_empty_one_is_missing_to_get():
    made = cards("EMPTY   =")
    with pytest.raises(KeyError, match="NOTHING is missing"):
        made["NOTHING"]
    assert made.get("NOTHING") is None
    assert made.get("NOTHING", 3) == made.get("EMPTY", 3) == 3
    assert "EMPTY" in made


def test_cards_of_an_image_lie_over_those_of_the_primary_header():
    primary = cards("OBJECT  = 'M 31'", "EXPTIME = 1.0")
    made = cards("EXPTIME = 30.0", primary=primary)
    assert (made["EXPTIME"], made["OBJECT"]) == (30, "M 31")
    assert "OBJECT" in made
    assert sorted(made) == ["EXPTIME", "OBJECT"]
    assert len(made) == 2


texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=90)


values = st.one_of(
    st.integers(-(10**15), 10**15),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,7}", fullmatch=True), values, max_size=8))
def test_cards_that_astropy_wrote_are_read_as_astropy_reads_them(drawn):
    kept = {k: v for k, v in drawn.items() if k not in ("COMMENT", "HISTORY", "END", "CONTINUE")}
    header = fits.Header(list(kept.items()))
    wanted = fits.Header.fromstring(header.tostring())
    made = Cards(header.tostring().encode())
    for keyword in kept:
        if keyword in wanted:
            theirs = wanted[keyword]
            assert made[keyword] == (theirs.rstrip() if isinstance(theirs, str) else theirs)


@given(st.binary(max_size=400))
def test_no_bytes_make_the_cards_fail(octets):
    made = Cards(octets)
    for keyword in made:
        made.get(keyword)
