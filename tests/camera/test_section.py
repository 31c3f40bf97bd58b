import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccdprofiles.camera.section import Section, binned, compact
from ccdprofiles.errors import SectionError

HOW = "write it as FITS does, '[first column:last column, first row:last row]', counting from 1."


def sections(columns=500, rows=500):
    def ends(size):
        return st.tuples(st.integers(1, size), st.integers(1, size)).map(sorted)

    return st.builds(lambda c, r: Section(*c, *r), ends(columns), ends(rows))


@pytest.mark.parametrize(
    ("text", "edges"),
    [
        ("[2056:2080, 1:4128]", (2056, 2080, 1, 4128)),
        ("[2056:2080,1:4128]", (2056, 2080, 1, 4128)),
        ("[   4:  13,   1: 520]", (4, 13, 1, 520)),
        (" [1:2048, :] ", (1, 2048, None, None)),
        ("[:, 1:10]", (None, None, 1, 10)),
        ("[*,*]", (None, None, None, None)),
        ("[7:7, 9:9]", (7, 7, 9, 9)),
    ],
)
def test_reads_a_section(text, edges):
    assert Section.parse(text) == Section(*edges)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[4096:4109]", "it has 1 axis"),
        ("[:]", "it has 1 axis"),
        ("", "it has 1 axis"),
        ("[1:2, 3:4, 5:6]", "it cannot be read"),
        ("1:2, 3:4", "it cannot be read"),
        ("[1:2, 3:4", "it cannot be read"),
        ("[0:2048, 1:4128]", "it counts from 0"),
        ("[1:2048, 0:0]", "it counts from 0"),
        ("[2080:2056, 1:4128]", "2080 is greater than 2056"),
        ("[5, 1:4128]", "'5' is not a range"),
        ("[-5:10, 1:4128]", "'-5:10' is not a range"),
        ("[1:10:2, 1:4128]", "'1:10:2' is not a range"),
        ("[1.0:10.0, 1:4128]", "'1.0:10.0' is not a range"),
        ("[a:b, 1:4128]", "'a:b' is not a range"),
        ("[1:, 1:4128]", "'1:' is not a range"),
        ("[, 1:4128]", "'' is not a range"),
    ],
)
def test_refuses_what_is_no_section(text, why):
    with pytest.raises(SectionError) as refusal:
        Section.parse(text)
    assert str(refusal.value) == f"{text!r} is not an image section: {why}; {HOW}"


@pytest.mark.parametrize("thing", [None, 5, (1, 2, 3, 4), slice(1, 2)])
def test_refuses_what_is_no_text(thing):
    with pytest.raises(SectionError) as refusal:
        Section.parse(thing)
    assert str(refusal.value) == f"{thing!r} is not an image section; {HOW}"


def test_a_section_knows_its_size():
    section = Section.parse("[2056:2080, 1:4128]")
    assert (section.width, section.height) == (25, 4128)
    assert (Section.parse("[:, 1:2]").width, Section.parse("[1:2, :]").height) == (None, None)


def test_slices_are_rows_then_columns_from_0():
    assert Section.parse("[2056:2080, 1:4128]").slices() == (slice(0, 4128), slice(2055, 2080))
    assert Section.parse("[:, 5:6]").slices() == (slice(4, 6), slice(None, None))


def test_within_fills_open_ends():
    assert str(Section.parse("[1:2048, :]").within((4128, 2080))) == "[1:2048, 1:4128]"
    assert str(Section.parse("[:, :]").within((256, 128))) == "[1:128, 1:256]"


@pytest.mark.parametrize("text", ["[2056:2081, 1:4128]", "[2056:2080, 1:4129]", "[3000:3001, :]"])
def test_within_refuses_what_lies_outside(text):
    with pytest.raises(SectionError) as refusal:
        Section.parse(text).within((4128, 2080), "overscan")
    assert str(refusal.value) == (
        f"overscan {text} is outside the frame, which has 2080 columns and 4128 rows; correct the profile, or reject the frame if it was truncated."
    )


@pytest.mark.parametrize(
    ("first", "second", "meet"),
    [
        ("[1:10, 1:10]", "[10:20, 10:20]", True),
        ("[1:10, 1:10]", "[11:20, 1:10]", False),
        ("[1:10, 1:10]", "[1:10, 11:20]", False),
        ("[:, 1:10]", "[500:501, 5:5]", True),
        ("[:, :]", "[9:9, 9:9]", True),
        ("[:, 1:10]", "[:, 11:20]", False),
    ],
)
def test_overlaps(first, second, meet):
    first, second = Section.parse(first), Section.parse(second)
    assert first.overlaps(second) is meet
    assert second.overlaps(first) is meet


KOSMOS = [Section.parse("[1:1024, 1:4096]"), Section.parse("[1025:2048, 1:4096]")]
STRIPS = [Section.parse("[2056:2088, 1:4096]"), Section.parse("[2106:2138, 1:4096]")]


@pytest.mark.parametrize(
    ("x", "left", "right", "left_strip", "right_strip"),
    [
        (1, (1, 1024), (1025, 2048), (2056, 2088), (2106, 2138)),
        (2, (1, 512), (513, 1024), (1032, 1064), (1082, 1114)),
        # 1024 is no multiple of 3: each amplifier reads 341 whole bins
        (3, (1, 341), (342, 682), (690, 722), (740, 772)),
        (4, (1, 256), (257, 512), (520, 552), (570, 602)),
    ],
)
def test_kosmos_overscans_keep_their_width(x, left, right, left_strip, right_strip):
    halves = binned(KOSMOS, KOSMOS, x, 1, overscan_bins=False)
    strips = binned(STRIPS, KOSMOS, x, 1, overscan_bins=False)
    found = [(s.first_column, s.last_column) for s in (*halves, *strips)]
    assert found == [left, right, left_strip, right_strip]
    assert {(s.first_row, s.last_row) for s in (*halves, *strips)} == {(1, 4096)}


@pytest.mark.parametrize(
    ("x", "whole_left", "whole_right"),
    [(1, "[2049:2098, :]", "[2099:2148, :]"), (2, "[1025:1074, :]", "[1075:1124, :]")],
)
def test_kosmos_whole_strips_are_those_of_the_observatory_script(x, whole_left, whole_right):
    strips = [Section.parse("[2049:2098, :]"), Section.parse("[2099:2148, :]")]
    assert [str(s) for s in binned(strips, KOSMOS, x, 1, overscan_bins=False)] == [
        whole_left,
        whole_right,
    ]


def test_arctic_overscan_shrinks_with_the_data():
    data, strip = Section.parse("[5:4100, 1:4096]"), Section.parse("[4105:4200, 1:4096]")
    assert [str(s) for s in binned([data, strip], [data], 2, 2)] == [
        "[3:2050, 1:2048]",
        "[2053:2100, 1:2048]",
    ]


def test_rows_are_binned_too():
    data = [Section.parse("[1:2184, 1:1472]")]
    assert str(binned(data, data, 2, 2)[0]) == "[1:1092, 1:736]"
    assert str(binned(data, data, 3, 3)[0]) == "[1:728, 1:490]"


def test_open_ends_stay_open():
    data = [Section.parse("[:, :]")]
    assert binned(data, data, 4, 4) == data


@pytest.mark.parametrize("text", ["[2:2, 1:100]", "[1:100, 2:3]"])
def test_refuses_a_section_that_binning_leaves_empty(text):
    section, data = Section.parse(text), [Section.parse("[5:100, 5:100]")]
    with pytest.raises(SectionError) as refusal:
        binned([section], data, 3, 3)
    assert str(refusal.value) == (
        f"section {text} contains no whole pixel of a frame binned 3x3; correct the profile."
    )


@given(sections(), st.integers(1, 5), st.integers(1, 5))
def test_binned_pixels_lie_inside_the_unbinned_section(section, x, y):
    try:
        (small,) = binned([section], [section], x, y)
    except SectionError:
        assert section.width < 2 * x - 1 or section.height < 2 * y - 1
        return
    assert (small.first_column - 1) * x + 1 >= section.first_column
    assert small.last_column * x <= section.last_column
    assert (small.first_row - 1) * y + 1 >= section.first_row
    assert small.last_row * y <= section.last_row


@given(sections())
def test_binning_of_1_changes_nothing(section):
    for overscan_bins in (True, False):
        assert binned([section], [section], 1, 1, overscan_bins) == [section]


@given(st.integers(8, 300), st.integers(8, 300), st.integers(1, 60), st.integers(1, 6))
def test_strips_that_keep_their_width_follow_the_data(left, right, strip, x):
    halves = [Section(1, left, 1, 9), Section(left + 1, left + right, 1, 9)]
    overscan = Section(left + right + 1, left + right + strip, 1, 9)
    small = binned([*halves, overscan], halves, x, 1, overscan_bins=False)
    assert [s.width for s in small] == [left // x, right // x, strip]
    assert small[1].first_column == small[0].last_column + 1
    assert small[2].first_column == small[1].last_column + 1


@given(sections())
def test_text_of_a_section_reads_back(section):
    assert Section.parse(str(section)) == section


@pytest.mark.parametrize("text", ["[:, :]", "[1:2048, :]", "[:, 1:2]"])
def test_text_of_an_open_section_reads_back(text):
    assert str(Section.parse(text)) == text


@given(sections())
def test_slices_are_as_large_as_the_section(section):
    rows, columns = section.slices()
    assert rows.stop - rows.start == section.height
    assert columns.stop - columns.start == section.width


@given(sections(), sections())
def test_overlap_is_a_shared_pixel(first, second):
    columns = range(
        max(first.first_column, second.first_column), min(first.last_column, second.last_column) + 1
    )
    rows = range(max(first.first_row, second.first_row), min(first.last_row, second.last_row) + 1)
    assert first.overlaps(second) is bool(columns and rows)


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        (["[11:20, 1:5]", "[31:40, 1:5]"], ["[1:10, 1:5]", "[11:20, 1:5]"]),
        (["[31:40, 1:5]", "[11:20, 1:5]"], ["[11:20, 1:5]", "[1:10, 1:5]"]),
        (["[1:10, 1:5]", "[1:10, 8:12]"], ["[1:10, 1:5]", "[1:10, 6:10]"]),
        (["[17:528, 1:520]"], ["[1:512, 1:520]"]),
        (
            ["[3:10, 1:4]", "[13:20, 1:4]", "[3:10, 7:10]", "[13:20, 7:10]"],
            ["[1:8, 1:4]", "[9:16, 1:4]", "[1:8, 5:8]", "[9:16, 5:8]"],
        ),
    ],
)
def test_compact_closes_gaps(given_, wanted):
    assert [str(s) for s in compact([Section.parse(s) for s in given_])] == wanted


@given(st.lists(sections(60, 60), min_size=1, max_size=4))
def test_compact_keeps_every_size_and_starts_at_1(found):
    placed = compact(found)
    assert [(s.width, s.height) for s in placed] == [(s.width, s.height) for s in found]
    assert min(s.first_column for s in placed) == min(s.first_row for s in placed) == 1
