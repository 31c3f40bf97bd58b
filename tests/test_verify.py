"""What changed since a night was reduced is named, and nothing else is."""

import json
import os
import shutil

import numpy as np
import pytest
from astropy.io import fits
from by_hand import ELEVEN, SMALL

from ccdprofiles import reduce_night, simulate_night, verify_night
from ccdprofiles.cli.command import main
from ccdprofiles.errors import InputError
from ccdprofiles.products.saved import check_product, sha256_or_fault

BIAS, DARK, FLAT = (f"masters/cg16m_{n}_1x1.fits" for n in ("bias", "dark_90s", "flat_r"))


def faults_of(path):
    return check_product(path).faults


@pytest.fixture
def night(made, tmp_path):
    """A copy of that night."""
    shutil.copytree(made, tmp_path / "night")
    return tmp_path / "night"


def bad(night, **where):
    """What is no longer whole: file → verdict and reason."""
    found = verify_night(night / "out", **where)
    assert found.ok is (len(found.bad) == 0)
    return {str(r["file"]): (str(r["verdict"]), str(r["reason"])) for r in found.bad}


def flip(path, where):
    """Turn one bit of a file."""
    octets = bytearray(path.read_bytes())
    octets[where] ^= 4
    path.write_bytes(octets)


def science(night, number=0):
    return sorted((night / "out" / "science").iterdir())[number]


def raw(night, number=0):
    return sorted((night / "raw").iterdir())[number]


def test_a_night_that_was_left_alone_is_whole(made):
    found = verify_night(made / "out")
    assert found.ok
    assert str(found) == (
        f"Night reduced to {made / 'out'}\n5 of 5 products are whole\n11 of 11 inputs are whole"
    )
    assert found.table.colnames == ["file", "part", "role", "verdict", "reason"]
    roles = [str(role) for role in found.table["role"]]
    assert sorted(set(roles)) == [
        "bias",
        "dark",
        "flat",
        "master bias",
        "master dark",
        "master flat",
        "science",
        "science frame",
    ]
    assert len(found.table) == 16
    assert set(found.table["reason"]) == {""}


def test_the_number_of_threads_changes_nothing(made):
    one, many = verify_night(made / "out", jobs=1), verify_night(made / "out", jobs=7)
    assert one.table.pformat(max_lines=-1) == many.table.pformat(max_lines=-1)


@pytest.mark.parametrize("plane", ["PRIMARY", "MASK", "UNCERT", "DQ", "PROVENANCE"])
def test_a_turned_bit_in_any_plane_is_found(night, plane):
    path = science(night)
    with fits.open(path, memmap=False) as hdus:
        where = hdus[plane].fileinfo()
    flip(path, where["datLoc"] + 1)
    name = path.relative_to(night / "out").as_posix()
    why = f"the data of its {plane} changed (DATASUM); remove it and reduce the night again"
    assert bad(night) == {name: ("changed", why)}
    flip(path, where["datLoc"] + 1)
    assert bad(night) == {}
    flip(path, where["hdrLoc"] + 2880 - 20)
    why = f"the header of its {plane} changed (CHECKSUM); remove it and reduce the night again"
    assert bad(night) == {name: ("changed", why)}


def test_two_products_that_exchanged_their_names_are_found(night):
    """Each is whole by itself, and the next run makes both anew."""
    one, other = science(night), science(night, 1)
    one.rename(night / "aside")
    other.rename(one)
    (night / "aside").rename(other)
    found = bad(night)
    assert sorted(found) == [p.relative_to(night / "out").as_posix() for p in (one, other)]
    for verdict, reason in found.values():
        assert verdict == "changed"
        assert "it was not made from" in reason
        assert "according to the table of the night; remove it" in reason


def test_a_table_that_would_be_waited_for_is_refused(night):
    (night / "out" / "night.ecsv").unlink()
    os.mkfifo(night / "out" / "night.ecsv")
    with pytest.raises(
        InputError, match=r"night\.ecsv cannot be read \(it is not a regular file\)"
    ):
        verify_night(night / "out")
    assert reduce_night(night / "raw", night / "out", profiles=[SMALL], jobs=1).ok
    assert bad(night) == {}


def test_every_turned_bit_of_a_header_is_found(night):
    """Whatever it makes of the cards, it costs that product and raises nothing."""
    path = science(night)
    whole = path.read_bytes()
    for where in range(0, 4 * 2880, 37):
        flip(path, where)
        assert faults_of(path), where
        path.write_bytes(whole)
    assert faults_of(path) == ()


def test_a_cut_at_every_block_is_found(night):
    path = science(night)
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 2880), 100, len(whole) - 1}:
        path.write_bytes(whole[:length])
        assert faults_of(path), length
    path.write_bytes(b"no FITS file")
    assert faults_of(path) == ("it is not a complete FITS file",)
    path.unlink()
    assert faults_of(path) == ("it is missing",)
    os.mkfifo(path)
    assert faults_of(path) == ("it is not a regular file",)
    assert sha256_or_fault(path) == ("", "it is not a regular file")


def test_a_file_cut_between_two_hdus_is_found(night):
    path = science(night)
    with fits.open(path, memmap=False) as hdus:
        start = hdus["DQ"].fileinfo()["hdrLoc"]
    path.write_bytes(path.read_bytes()[:start])
    ((verdict, why),) = bad(night).values()
    assert (verdict, why.split(";")[0]) == (
        "changed",
        "its DQ, PROVENANCE are damaged, cut off or missing",
    )


def test_a_product_written_without_a_plane_is_found(night):
    path = science(night)
    with fits.open(path, memmap=False) as hdus:
        fits.HDUList([h.copy() for h in hdus if h.name != "UNCERT"]).writeto(
            path, overwrite=True, checksum=True
        )
    assert faults_of(path) == ("its UNCERT is damaged, cut off or missing",)


def test_sums_are_those_of_astropy(made):
    for path in sorted((made / "out").rglob("*.fits")):
        saved = check_product(path)
        assert saved.faults == ()
        with fits.open(path, memmap=False) as hdus:
            assert [tuple(row) for row in hdus["PROVENANCE"].data] == list(saved.provenance)
            assert saved.header["CPKEY"] == hdus[0].header["CPKEY"]
        flip(path, path.stat().st_size - 2880)
        assert saved != check_product(path)
        flip(path, path.stat().st_size - 2880)


def test_a_product_that_is_gone_is_missing(night):
    path = science(night)
    path.unlink()
    name = path.relative_to(night / "out").as_posix()
    assert bad(night) == {name: ("missing", "it is missing; reduce the night again")}
    (night / "out" / DARK).unlink()
    assert set(bad(night)) == {name, DARK}


def test_what_verify_says_of_a_damaged_product_mends_it(night):
    path = science(night)
    with fits.open(path, memmap=False) as hdus:
        flip(path, hdus[0].fileinfo()["datLoc"] + 1)
    ((_, why),) = bad(night).values()
    assert why.endswith("; remove it and reduce the night again")
    path.unlink()
    reduce_night(night / "raw", night / "out", profiles=[SMALL])
    assert bad(night) == {}


def test_inputs_of_a_product_that_is_gone_or_damaged_are_counted_as_not_checked(night):
    science(night).unlink()
    path = science(night, 0)
    path.write_bytes(path.read_bytes()[:2880])
    found = verify_night(night / "out")
    assert "9 of 11 inputs are whole, 2 not checked" in str(found)
    assert len(found.bad) == 2


def test_a_master_that_is_another_is_told_by_those_that_used_it(night):
    """Its own sums hold, as astropy wrote them anew."""
    path = night / "out" / DARK
    with fits.open(path, memmap=False) as hdus:
        hdus[0].data = hdus[0].data + 1
        hdus.writeto(path, overwrite=True, checksum=True)
    assert faults_of(path) == ()
    ((file, (verdict, why)),) = bad(night).items()
    assert (file, verdict) == (DARK, "changed")
    assert (
        why == f"it is not the file that {FLAT} and 2 more were made from; reduce the night again"
    )


def test_a_card_that_names_another_master_is_found(night):
    path = science(night)
    with fits.open(path, memmap=False) as hdus:
        hdus[0].header["FLATSHA"] = "0" * 64
        hdus.writeto(path, overwrite=True, checksum=True)
    ((verdict, why),) = bad(night).values()
    assert verdict == "changed"
    assert why.startswith("its FLATSHA is not that of a master in its PROVENANCE")


def test_a_raw_frame_that_changed_or_is_gone_is_named(night):
    used = json.loads((night / "out" / "plan.json").read_text())["masters"][0]["inputs"]
    changed, gone = (night / "raw" / i["file"] for i in used[:2])
    flip(changed, 3000)
    gone.unlink()
    assert bad(night) == {
        changed.name: ("changed", f"it is not the file that {BIAS} was made from"),
        gone.name: ("missing", f"it is missing from {night / 'raw'}"),
    }


def test_a_night_and_its_products_may_move_together(night):
    night.rename(night.parent / "moved")
    assert bad(night.parent / "moved") == {}


def test_a_night_that_moved_alone_is_found_where_it_is_now(night):
    (night / "raw").rename(night / "elsewhere")
    assert len(bad(night)) == 11
    assert {verdict for verdict, _ in bad(night).values()} == {"missing"}
    assert bad(night, raw=night / "elsewhere") == {}
    with pytest.raises(InputError, match="is not a folder; specify the folder of the raw"):
        verify_night(night / "out", raw=night / "nowhere")


def test_products_hold_no_place_of_a_machine(made):
    for path in (made / "out").rglob("*"):
        if path.is_file() and path.name not in ("ccdprofiles.log",):
            assert str(made).encode() not in path.read_bytes(), path


@pytest.mark.parametrize("masters", [False, True])
def test_calibrations_of_other_nights_are_checked_too(tmp_path, masters):
    simulate_night(SMALL, tmp_path / "june", frames=ELEVEN[:3])
    simulate_night(SMALL, tmp_path / "raw", seed=1, frames=ELEVEN[3:])
    lent = tmp_path / "june"
    if masters:
        reduce_night(lent, tmp_path / "reduced", profiles=[SMALL])
        lent = tmp_path / "reduced" / "masters"
    assert reduce_night(
        tmp_path / "raw", tmp_path / "out", profiles=[SMALL], calibrations=[lent]
    ).ok
    assert bad(tmp_path) == {}
    changed = sorted(lent.iterdir())[0]
    flip(changed, 3000)
    ((file, (verdict, _)),) = bad(tmp_path).items()
    assert (file.rsplit("/", 1)[-1], verdict) == (changed.name, "changed")
    flip(changed, 3000)
    lent.rename(tmp_path / "moved")
    assert {verdict for verdict, _ in bad(tmp_path).values()} == {"missing"}
    assert bad(tmp_path, calibrations=[tmp_path / "moved"]) == {}
    with pytest.raises(InputError, match="reduced with 1 folders of calibrations"):
        verify_night(tmp_path / "out", calibrations=[tmp_path / "moved", tmp_path])


def test_names_that_are_not_ascii_are_found_again(tmp_path):
    simulate_night(SMALL, tmp_path / "raw", frames=ELEVEN)
    first, second = sorted((tmp_path / "raw").iterdir())[:2]
    first.rename(os.fsdecode(os.fsencode(tmp_path) + b"/raw/a\xff\n.fit"))
    second.rename(tmp_path / "raw" / "ä b.fit")
    assert reduce_night(tmp_path / "raw", tmp_path / "out", profiles=[SMALL]).ok
    assert bad(tmp_path) == {}
    flip(tmp_path / "raw" / "ä b.fit", 3000)
    assert list(bad(tmp_path)) == ["\\xe4 b.fit"]


def test_a_product_of_an_earlier_run_is_told_and_is_no_fault(night):
    (last,) = [p for p in (night / "raw").iterdir() if p.stem in science(night).name]
    last.unlink()
    reduce_night(night / "raw", night / "out", profiles=[SMALL])
    found = verify_night(night / "out")
    assert found.ok
    (row,) = [r for r in found.table if r["reason"]]
    assert row["reason"] == "it no longer belongs to the night; remove it or move it away"
    assert f"1 of an earlier run, to be removed or moved away: {row['file']}" in str(found)
    assert night / "out" / row["file"] == science(night)


def test_a_folder_that_is_no_reduced_night_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"contains no night\.ecsv; specify an output folder of ccdprofiles"
    ):
        verify_night(tmp_path)
    for text in (
        "no table",
        "# %ECSV 1.0\n# ---\na b\n1 2\n",
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\na\n1\n",
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a}\na\n1\n",
    ):
        (tmp_path / "night.ecsv").write_text(text)
        with pytest.raises(InputError, match="cannot be read"):
            verify_night(tmp_path)
    with pytest.raises(InputError, match="jobs=-1 is not a number of threads"):
        verify_night(tmp_path, jobs=-1)


def test_the_command_tells_and_its_status_says_so(night, capsys):
    out = str(night / "out")
    assert main(["verify", out]) == 0
    assert capsys.readouterr().out == f"{verify_night(out)}\n"
    flip(raw(night), 3000)
    assert main(["verify", out, "-j", "2"]) == 1
    told = capsys.readouterr().out
    assert "10 of 11 inputs are whole" in told
    assert told.splitlines()[-1].startswith(f"{raw(night).name} input")
    assert main(["verify", out, "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [r["file"] for r in rows if r["verdict"] != "whole"] == [raw(night).name]
    assert main(["verify", out, "--raw", str(night / "raw")]) == 1
    assert main(["verify", str(night / "raw")]) == 2


def test_to_verify_writes_nothing(night):
    def state():
        return {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in night.rglob("*")}

    before = state()
    verify_night(night / "out")
    assert state() == before


@pytest.mark.parametrize(
    "name",
    [
        "a\nnight",
        "a\r\tnight",
        'it\'s "one"',
        os.fsdecode(b"n\xffght"),
        "  blanks  inside ",
        "#1 50%41",
        "{a: b}, [c]",
        "nuit été",
        "back\\slash\\x41",
    ],
)
@pytest.mark.parametrize("lent", [False, True])
def test_the_folders_of_a_night_are_found_again_whatever_their_names(made, tmp_path, name, lent):
    calibrations = []
    shutil.copytree(made / "raw", tmp_path / name)
    if lent:
        (tmp_path / "lent").mkdir()
        calibrations = [tmp_path / "lent" / name]
        (tmp_path / name).rename(calibrations[0])
        (tmp_path / name).mkdir()
        for path in sorted(calibrations[0].iterdir()):
            if fits.getheader(path)["IMAGETYP"].strip().lower() == "light":
                path.rename(tmp_path / name / path.name)
    output = tmp_path / "out"
    options = {"profiles": [SMALL], "calibrations": calibrations, "jobs": 1}
    assert reduce_night(tmp_path / name, output, **options).ok
    found = verify_night(output)
    assert found.ok, str(found)
    assert "11 of 11 inputs are whole" in str(found)


def test_a_folder_whose_name_an_older_table_holds_as_it_is_is_found(night):
    table = night / "out" / "night.ecsv"
    (night / "raw").rename(night / "50%41")
    table.write_text(table.read_text().replace("../raw", "../50%41"))
    assert verify_night(night / "out").ok


def test_files_of_others_beside_the_products_are_none_of_ours(night):
    """Neither one without our cards, nor one that was made of a product and keeps its cards."""
    for folder in ("masters", "science"):
        fits.writeto(night / "out" / folder / "mine.fits", np.ones((4, 4)))
        (night / "out" / folder / "no.fits").write_text("notes")
    data, header = fits.getdata(science(night), header=True)
    fits.writeto(night / "out" / "science" / "stretched.fits", data, header)
    done = reduce_night(night / "raw", night / "out", profiles=[SMALL])
    assert done.ok
    assert "may be removed" not in str(done)
    found = verify_night(night / "out")
    assert found.ok, str(found)
    assert "5 of 5 products are whole" in str(found)
    assert "earlier run" not in str(found)
