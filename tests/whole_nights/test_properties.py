"""What holds whatever a header says and whatever a file is called."""

import json
import math
import os
import random
import shutil

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ccdprofiles import Amplifier, Profile, Recipe
from ccdprofiles.camera.registry import Registry
from ccdprofiles.camera.section import Section
from ccdprofiles.errors import FrameRejected, SectionError
from ccdprofiles.files.cards import Cards
from ccdprofiles.plan.frames import ACCEPTED
from ccdprofiles.plan.planner import make_plan
from ccdprofiles.plan.scan import scan
from ccdprofiles.report.table import night_table, verdicts_of

CAMERA = Profile(
    instrument="C",
    amplifiers=[
        Amplifier(
            data="[1:8, 1:8]",
            overscan=None,
            gain=1 * u.electron / u.adu,
            read_noise=2 * u.electron,
            saturation=65535 * u.adu,
        )
    ],
    recipe=Recipe(bias=True, dark="match"),
)
REGISTRY = Registry((CAMERA,))


def outcome(function, *arguments):
    """Return what a function returns, or the refusal that it raises."""
    try:
        return function(*arguments)
    except (FrameRejected, SectionError) as refusal:
        return refusal


def card(keyword, value):
    return f"{keyword:8}= {value}".ljust(80)[:80].encode("latin1", "replace")


# Sections.

edges = st.one_of(st.integers(-2, 12), st.integers(), st.just(""))
ranges = st.builds("{}:{}".format, edges, edges) | st.sampled_from([":", "*", "5", "1:2:3", ""])


@given(st.text(max_size=30) | st.builds("[{},{}]".format, ranges, ranges))
@example("[1:" + "9" * 5000 + ", 1:2]")
@example("[١:٢, 1:2]")
def test_any_text_is_a_section_inside_the_frame_or_a_refusal(text):
    section = outcome(Section.parse, text)
    inside = section if isinstance(section, SectionError) else outcome(section.within, (7, 9))
    if isinstance(inside, SectionError):
        assert str(inside).endswith(".")
        return
    assert Section.parse(str(section)) == section
    rows, columns = inside.slices()
    assert 0 <= rows.start < rows.stop <= 7
    assert 0 <= columns.start < columns.stop <= 9
    cut = np.zeros((7, 9))[rows, columns]
    assert cut.shape == (inside.height, inside.width)


# Exposures.

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers()
values = st.one_of(
    numbers.map(str),
    numbers.map("'{}'".format),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
    st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=40),
    st.sampled_from(["INDEF", "'INDEF'", "T", "''", "'N/A'", "1D2", "'1_0'", "0x10", "(1, 2)"]),
)


@given(values)
def test_any_exposure_is_seconds_of_a_day_or_none_or_a_refusal(said):
    header = Cards(card("EXPTIME", said))
    seconds = outcome(CAMERA.exposure_of, header)
    if isinstance(seconds, FrameRejected):
        assert seconds.code == "exposure"
        assert str(seconds).startswith("EXPTIME = ")
        return
    assert seconds is None or (isinstance(seconds, float) and 0 <= seconds <= 86400)


@given(st.floats(0, 86400), st.booleans())
def test_an_exposure_reads_back_as_it_was_written(seconds, quoted):
    said = f"'{seconds!r}'" if quoted else repr(seconds).upper()
    assert CAMERA.exposure_of(Cards(card("EXPTIME", said))) == seconds


@given(st.floats(max_value=-1e-300) | st.floats(min_value=86401) | st.just(math.nan))
def test_an_exposure_that_cannot_be_is_refused(seconds):
    with pytest.raises(FrameRejected):
        CAMERA.exposure_of(Cards(card("EXPTIME", repr(seconds).upper())))


# Names, groups and order, of real files.

names = st.binary(min_size=1, max_size=60).filter(
    lambda name: not set(name) & set(b"/\0") and name not in (b".", b"..")
)
texts = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=60)
taken = st.tuples(
    st.sampled_from(["BIAS", "DARK", "FLAT", "LIGHT", "LIGHT", "?"]),
    st.sampled_from(["90.0", "90.5", "'300'", "INDEF", "-1"]),
    st.sampled_from(["'R'", "'r'", "'../../x'", "''"]) | texts.map("'{}'".format),
    st.integers(0, 2),
)


def lay(folder, files):
    """Write small frames, each with a name, a folder and cards of its own."""
    for number, (name, (kind, exposure, filter, depth)) in enumerate(files.items()):
        lines = [card("INSTRUME", "'C'"), card("IMAGETYP", f"'{kind}'")]
        lines += [card("EXPTIME", exposure), card("FILTER", filter)]
        data = np.full((8, 8), number, "u1")
        plain = fits.PrimaryHDU(data).header.tostring(endcard=False, padding=False).encode()
        block = plain + b"".join(lines) + b"END".ljust(80)
        inside = os.path.join(os.fsencode(folder), *[b"sub"] * depth)
        os.makedirs(inside, exist_ok=True)
        with open(os.path.join(inside, name), "wb") as stream:
            stream.write(block.ljust(2880) + data.tobytes().ljust(2880, b"\0"))


@settings(max_examples=40)
@given(st.dictionaries(names, taken, min_size=1, max_size=12), st.randoms(use_true_random=False))
@example(
    {b"a\xff": ("LIGHT", "90.0", "'R'", 0), b"a\\xff": ("LIGHT", "90.0", "'R'", 0)},
    random.Random(1),
)
def test_whatever_files_are_called_and_say(tmp_path_factory, files, shuffler):
    """Each has one row and one place; names stay inside the output; order does not matter."""
    top = tmp_path_factory.mktemp("n")
    night, output = top / "night", top / "out"
    night.mkdir()
    lay(night, {n: t for n, t in files.items() if n != b"sub"})
    laid = sum(len(found) for _, _, found in os.walk(night))
    frames = scan(night, REGISTRY)
    plan = make_plan(frames)
    rows = night_table(frames, verdicts_of(frames, plan))
    # Every file has one row, with a name that a terminal can show.
    assert len(rows) == len(set(rows["file"])) == laid == plan.found
    assert all(name.isprintable() for name in rows["file"])
    assert all(row["code"] and row["reason"] for row in rows if row["verdict"] == "set aside")
    # Every frame that is accepted is in one master, one product, or missing.
    places = [i.file for m in plan.masters for i in m.inputs]
    places += [p.input.file for p in plan.products] + [m.file for m in plan.missing]
    assert sorted(places) == sorted(f.file for f in frames if f.verdict == ACCEPTED)
    # Every name of a product is its own and stays inside.
    made = [m.name for m in plan.masters] + [p.name for p in plan.products]
    assert len({name.lower() for name in made}) == len(made)
    for name in made:
        path = (output / name).resolve()
        assert path.is_relative_to(output.resolve() / name.split("/")[0])
        assert name.split("/")[0] in ("masters", "science")
        assert path.name.isprintable()
        assert len(path.name.encode()) < 200
    # The plan is the same however the disk lists the files.
    mixed = list(frames)
    shuffler.shuffle(mixed)
    assert make_plan(mixed).to_json() == plan.to_json()
    json.loads(plan.to_json())
    shutil.rmtree(top)


@settings(max_examples=15)
@given(st.permutations(range(8)))
def test_the_order_in_which_files_were_written_does_not_matter(tmp_path_factory, order):
    night = tmp_path_factory.mktemp("n") / "night"
    kinds = ["BIAS", "DARK", "FLAT", "LIGHT"] * 2
    files = {f"{n}.fits".encode(): (kinds[n], "90.0", "'R'", 0) for n in range(8)}
    lay(night, files)
    wanted = make_plan(scan(night, REGISTRY)).to_json()
    for number in order:
        path = night / f"{number}.fits"
        octets = path.read_bytes()
        path.unlink()
        path.write_bytes(octets)
    assert make_plan(scan(night, REGISTRY)).to_json() == wanted
    shutil.rmtree(night)
