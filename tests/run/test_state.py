"""A night in which nothing changed is recognised without reading it; any change is noticed."""

import dataclasses
import json
import os
import shutil
import time

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

import ccdprofiles.plan.scan
import ccdprofiles.run.memory
import ccdprofiles.run.run
from ccdprofiles import Amplifier, Profile, Recipe, reduce_night, simulate_night
from ccdprofiles.run import state
from ccdprofiles.simulate import Exposures, windowed

SMALL = windowed("cg16m", 8, 12)
FRAMES = [
    Exposures("bias", 3),
    Exposures("dark", 3, 90.0),
    Exposures("flat", 3, 1.0, filter="r"),
    Exposures("science", 2, 90.0, filter="r", object="m31"),
]
FLAT = "masters/cg16m_flat_r_1x1.fits"


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night") / "raw"
    simulate_night(SMALL, folder, frames=FRAMES)
    return folder


@pytest.fixture(autouse=True)
def _any_night_is_large(monkeypatch):
    """Treat every night as a large one, on a disk that tells changes 20 ms apart."""
    monkeypatch.setattr(state, "_FILES", 1)
    monkeypatch.setattr(state, "_TICK", 20_000_000)


def reduce(night, **options):
    return reduce_night(night / "raw", night / "out", **{"profiles": [SMALL], **options})


@pytest.fixture
def night(raw, tmp_path):
    """A copy of the night that was reduced, with its state file."""
    shutil.copytree(raw, tmp_path / "raw")
    time.sleep(0.05)
    assert reduce(tmp_path).ok
    assert (tmp_path / "out" / state.STATE).is_file()
    return tmp_path


@pytest.fixture
def read(monkeypatch):
    """The files whose headers a run read."""
    names = []
    read_raw = ccdprofiles.plan.scan.read_raw

    def noted(path):
        names.append(path.name)
        return read_raw(path)

    monkeypatch.setattr(ccdprofiles.plan.scan, "read_raw", noted)
    return names


def contents(folder):
    return {
        p.relative_to(folder).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_ino)
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def rewritten(path, change):
    """Change the bytes of a file in place; its size, inode and time of change by hand stay."""
    before = path.stat()
    with open(path, "r+b") as stream:
        octets = bytearray(stream.read())
        change(octets)
        stream.seek(0)
        stream.write(octets)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ino,
    )


def other_pixel(octets):
    """Change the lowest bit of the first pixel, which lies behind a header of two blocks."""
    start = octets.index(b"END     ")
    start += 2880 - start % 2880
    octets[start + 1] ^= 1


def damage(octets):
    octets[-2880] ^= 1


def files(night, kind):
    paths = sorted((night / "raw").iterdir())
    return [p for p in paths if fits.getheader(p)["IMAGETYP"].strip().lower() == kind]


def test_an_unchanged_night_is_neither_read_nor_written(night, read, monkeypatch):
    before = contents(night / "out")
    monkeypatch.setattr(ccdprofiles.run.run, "run_plan", None)
    again = reduce(night)
    assert read == []
    assert again.ok
    assert again.kept == {*again.masters, *again.products}
    assert again.anew == {}
    assert str(again).endswith("5 already up to date")
    assert contents(night / "out") == before
    # Neither the way it is asked nor the number of workers makes another request of it.
    reduce(night, jobs=1, progress=True)
    assert read == []


def test_an_unchanged_night_says_what_a_run_would_have_said(night, read):
    quick = reduce(night)
    (night / "out" / state.STATE).unlink()
    slow = reduce(night)
    assert str(quick) == str(slow)
    assert (quick.masters, quick.products, quick.kept) == (
        slow.masters,
        slow.products,
        slow.kept,
    )
    read.clear()
    assert quick.frames.meta == slow.frames.meta
    assert quick.frames.pformat() == slow.frames.pformat()
    assert len(read) == 11
    assert quick.plan == slow.plan
    assert len(quick.set_aside) == 0
    assert quick.collection.files == slow.collection.files
    assert len(read) == 11
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = quick.nothing


def test_a_frame_set_aside_by_its_pixels_stays_set_aside(night, read):
    spoilt = files(night, "flat")[0]
    with fits.open(spoilt, memmap=False) as hdus:
        header, shape = hdus[0].header.copy(), hdus[0].data.shape
    fits.PrimaryHDU(np.full(shape, 9, "u2"), header).writeto(spoilt, overwrite=True)
    time.sleep(0.05)
    first = reduce(night, min_frames=1)
    assert not first.ok
    read.clear()
    again = reduce(night, min_frames=1)
    assert read == []
    assert not again.ok
    assert f"{spoilt.name}: " in str(again)
    assert again.set_aside["file"].tolist() == [spoilt.name]
    assert again.set_aside["code"].tolist() == first.set_aside["code"].tolist()


def test_a_raw_frame_changed_in_place_redoes_what_depends_on_it(night):
    flat, light = files(night, "flat")[0], files(night, "light")[0]
    rewritten(light, other_pixel)
    assert reduce(night).anew == {
        f"science/{light.stem}_cal.fits": f"its science {light.name} changed"
    }
    rewritten(flat, other_pixel)
    again = reduce(night)
    assert set(again.anew) == {FLAT, *again.products}


@pytest.mark.parametrize("name", [FLAT, "science"])
def test_a_product_changed_in_place_is_made_again(night, name):
    path = sorted((night / "out" / "science").iterdir())[0]
    if name == FLAT:
        path = night / "out" / FLAT
    before = path.read_bytes()
    rewritten(path, damage)
    again = reduce(night)
    assert set(again.anew) == {path.relative_to(night / "out").as_posix()}
    assert path.read_bytes() == before


def test_products_and_tables_that_are_gone_are_made_again(night):
    before = contents(night / "out")
    for name in (FLAT, "night.ecsv", "plan.json", "report/index.html"):
        (night / "out" / name).unlink()
        reduce(night)
        assert (night / "out" / name).read_bytes() == before[name][0], name
        assert len(reduce(night).kept) == 5


def test_files_that_came_or_went_are_noticed(night, read):
    first, second = files(night, "bias")[:2]
    shutil.copy(second, night / "raw" / "copy.fit")
    assert (reduce(night).frames["verdict"] == "ignored").sum() == 1
    (night / "raw" / "copy.fit").unlink()
    first.rename(night / "raw" / "renamed.fit")
    assert "masters/cg16m_bias_1x1.fits" in reduce(night).anew
    read.clear()
    shutil.copy(night / "out" / FLAT, night / "out" / "masters" / "other.fits")
    reduce(night)
    assert read != []


def test_another_request_is_another_run(night, read, monkeypatch):
    noisy = [dataclasses.replace(a, read_noise=99 * u.electron) for a in SMALL.amplifiers]
    other = dataclasses.replace(SMALL, amplifiers=noisy)
    for options in (
        {"without": ["flat"]},
        {"cosmic_rays": True},
        {"min_frames": 2},
        {"reject": [files(night, "bias")[0].name]},
        {"profiles": [other]},
        {"profiles": [dataclasses.replace(SMALL, name="mine")], "profile": "mine"},
        {"overwrite": True},
    ):
        reduce(night)
        read.clear()
        reduce(night, **options)
        assert read != [], options
    reduce(night)
    read.clear()
    monkeypatch.setattr(state, "__version__", "99.0")
    reduce(night)
    assert read != []


def test_a_night_that_was_copied_is_read_again_and_kept(night, tmp_path, read):
    shutil.copytree(night / "raw", tmp_path / "else" / "raw", symlinks=True)
    shutil.copytree(night / "out", tmp_path / "else" / "out", symlinks=True)
    read.clear()
    again = reduce(tmp_path / "else")
    assert len(read) == 11
    assert len(again.kept) == 5


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"format": 0}', '{"format": 1}', "[" * 100_000, "fifo", "link"],
)
def test_a_state_file_that_is_none_is_ignored(night, read, text):
    path = night / "out" / state.STATE
    whole = path.read_text()
    path.unlink()
    if text == "fifo":
        os.mkfifo(path)
    elif text == "link":
        (night / "elsewhere").write_text(whole + " ")
        path.symlink_to(night / "elsewhere")
    else:
        path.write_text(text)
    assert len(reduce(night).kept) == 5
    assert len(read) == 11
    # It is written anew, and not through the link.
    assert json.loads(path.read_text()) == json.loads(whole)
    assert not path.is_symlink()
    if text == "link":
        assert (night / "elsewhere").read_text() == whole + " "


@pytest.mark.parametrize("lost", ["ok", "paths", "failed", "summary"])
def test_a_state_file_without_one_of_its_values_is_ignored(night, read, lost):
    path = night / "out" / state.STATE
    stored = json.loads(path.read_text())
    for value in (None, 7):
        path.write_text(json.dumps({**stored, lost: value}))
        assert len(reduce(night).kept) == 5
    assert len(read) == 22


@pytest.mark.parametrize(
    "changed",
    [{"paths": {}}, {"paths": {"a": ["b"]}}, {"summary": "all is well"}, {"masters": 0}],
    ids=str,
)
def test_a_state_file_whose_values_changed_is_ignored(night, read, changed):
    path = night / "out" / state.STATE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    assert len(reduce(night).kept) == 5
    assert len(read) == 11


def test_files_that_were_written_a_moment_ago_are_not_relied_on(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "_TICK", 10**12)
    monkeypatch.setattr(state.time, "sleep", lambda seconds: None)
    shutil.copytree(raw, tmp_path / "raw")
    reduce(tmp_path)
    assert not (tmp_path / "out" / state.STATE).exists()


def test_times_in_whole_seconds_need_more_time_to_pass(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"")
    (*_, made) = state.identity(path)
    monkeypatch.setattr(state.time, "time_ns", lambda: made + 10**9)
    assert state.listing_of([(path, "file")]).settled
    monkeypatch.setattr(state, "_tick", lambda known: state._COARSE_TICK)
    assert not state.listing_of([(path, "file")]).settled


def test_a_product_that_changed_after_it_was_made_is_not_relied_on(raw, tmp_path, monkeypatch):
    """As long as the run goes on; the next one finds the damage."""
    shutil.copytree(raw, tmp_path / "raw")
    time.sleep(0.05)
    left = ccdprofiles.run.memory._left

    def meanwhile(output):
        rewritten(output / FLAT, damage)
        return left(output)

    with monkeypatch.context() as during:
        during.setattr(ccdprofiles.run.memory, "_left", meanwhile)
        reduce(tmp_path)
    assert not (tmp_path / "out" / state.STATE).exists()
    assert FLAT in reduce(tmp_path).anew


def test_a_fault_that_may_pass_is_not_relied_on(night):
    listing = state.Listing("a", 9, 9, settled=True)
    outcome = state.Outcome(True, "", {}, 0, {}, {}, [])
    (night / "out" / state.STATE).unlink()
    arguments = (night / "out", "request", listing, lambda: listing, {}, outcome)
    state.remember(*arguments, ["noise", "unreadable"])
    assert not (night / "out" / state.STATE).exists()
    state.remember(*arguments, ["noise"])
    assert (night / "out" / state.STATE).exists()


def test_a_small_night_gets_no_state_file(night, monkeypatch):
    monkeypatch.setattr(state, "_FILES", 500)
    (night / "out" / state.STATE).unlink()
    reduce(night)
    assert not (night / "out" / state.STATE).exists()


def test_a_link_in_the_output_is_no_product_of_ours(night, read):
    path = night / "out" / FLAT
    path.rename(night / "flat.fits")
    path.symlink_to(night / "flat.fits")
    reduce(night)
    assert read != []


def test_functions_whose_text_is_not_in_the_profile_are_not_relied_on(tmp_path):
    amplifiers = [Amplifier(data="[1:8, 1:8]", overscan=None)]
    plain = Profile(instrument="A", amplifiers=amplifiers, recipe=Recipe())
    assert state.request_of([plain, None], {"without": ("flat",)}) is not None
    words = {"a": "bias"}
    by_function = dataclasses.replace(plain, frame_type=lambda header: words[header["X"]])
    assert state.request_of([by_function], {}) is None
    # A function of the file itself is known by the text of that file.
    path = tmp_path / "mine.py"
    text = (
        "from ccdprofiles import Amplifier, Profile, Recipe\n"
        "def kind(header):\n    return 'bias'\n"
        "profile = Profile(instrument='A', frame_type=kind, recipe=Recipe(), "
        "amplifiers=[Amplifier(data='[1:8, 1:8]', overscan=None)])\n"
    )
    path.write_text(text)
    first = state.request_of([ccdprofiles.camera.registry.load_profile(path)], {})
    assert first is not None
    path.write_text(text.replace("'bias'", "'dark'"))
    assert state.request_of([ccdprofiles.camera.registry.load_profile(path)], {}) not in (
        None,
        first,
    )


MINE = """\
import math
import numpy as np
from astropy import units as u
from ccdprofiles import Amplifier, Profile, Recipe
{given}

def kind(header):
    {body}

profile = Profile(instrument="A", frame_type=kind, recipe=Recipe(),
                  amplifiers=[Amplifier(data="[1:8, 1:8]", overscan=None)])
"""


def request_of_function(path, given, body):
    path.write_text(MINE.format(given=given, body=body))
    return state.request_of([ccdprofiles.camera.registry.load_profile(path)], {})


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ("from other import kind_of", "return kind_of(header)"),
        ("import other", "return other.kind_of(header)"),
        ("", "import other; return other.kind_of(header)"),
        ("", "return [open('words.txt').read() for _ in 'a'][0]"),
        ("def inner():\n    return open('words.txt').read()", "return inner()"),
        ("from pathlib import Path", "return Path('words.txt').read_text()"),
        ("", "return str(np.loadtxt('words.txt', dtype=str))"),
        ("class Words:\n    pass\nWORDS = Words()", "return WORDS.kind"),
    ],
)
def test_a_function_that_depends_on_other_files_is_not_relied_on(
    tmp_path, monkeypatch, given, body
):
    (tmp_path / "other.py").write_text("def kind_of(header):\n    return 'bias'\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert request_of_function(tmp_path / "mine.py", given, body) is None


def test_a_value_that_a_profile_reads_from_another_file_counts(tmp_path):
    path, words = tmp_path / "mine.py", tmp_path / "words.txt"
    given = (
        f"from pathlib import Path\nWORDS = {{'A': Path({str(words)!r}).read_text()}}\n"
        "def inner(word):\n    return WORDS[word]"
    )
    body = "return inner(header['X']) if math.pi * u.s else kind(header)"
    requests = []
    for text in ("bias", "dark"):
        words.write_text(text)
        requests.append(request_of_function(path, given, body))
    assert None not in requests
    assert len(set(requests)) == 2


def test_an_array_is_described_with_all_its_digits():
    values = np.linspace(1, 2, 2000)
    for array in (values, values * u.s):
        requests = {state.request_of([], {"option": array * (1 + n * 1e-14)}) for n in range(2)}
        assert len(requests) == 2


def test_profiles_with_functions_that_are_shipped_are_relied_on():
    known = ccdprofiles.known_profiles()
    assert {"lfc", "pt5m", "proem", "kosmos", "dis_red"} <= set(known)
    for name, profile in known.items():
        assert state.request_of([profile], {}) is not None, name


def test_an_option_that_does_not_describe_itself_is_not_relied_on():
    assert state.request_of([], {"option": object()}) is None
    assert state.request_of([], {"option": {1, 2}}) == state.request_of([], {"option": {2, 1}})
    assert state.request_of([], {"option": 1}) != state.request_of([], {"option": 2})


def test_a_profile_that_cannot_be_hashed_stops_no_run():
    class Odd:
        def __repr__(self):
            raise RuntimeError("no")

    assert state.request_of([], {"option": Odd()}) is None
