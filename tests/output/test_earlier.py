"""An output holds one night: another is refused, and the same one goes on however it looks."""

import shutil

import numpy as np
import pytest
from astropy.io import fits
from by_hand import ELEVEN, SMALL

from ccdprofiles import reduce_night, simulate_night
from ccdprofiles.cli.command import main
from ccdprofiles.errors import OutputError
from ccdprofiles.output.earlier import earlier_night

LATER = "2031-01-02"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two nights of the same names, and the first of them reduced; not to be touched."""
    folder = tmp_path_factory.mktemp("nights")
    simulate_night(SMALL, folder / "first", frames=ELEVEN)
    simulate_night(SMALL, folder / "second", seed=1, frames=ELEVEN)
    for path in (folder / "second").iterdir():
        redate(path)
    assert {p.name for p in files(folder / "first")} == {p.name for p in files(folder / "second")}
    assert reduce(folder, "first").ok
    return folder


@pytest.fixture
def nights(made, tmp_path):
    shutil.copytree(made, tmp_path / "nights")
    return tmp_path / "nights"


def files(folder, kind=None):
    found = sorted(folder.rglob("*.fit"))
    return [p for p in found if kind in (None, fits.getheader(p)["IMAGETYP"].strip().lower())]


def edit(path, change=lambda data: data, **cards):
    data, header = fits.getdata(path, header=True)
    header.update(cards)
    fits.writeto(path, change(data), header, overwrite=True)


def redate(path):
    time = fits.getheader(path)["DATE-OBS"].partition("T")[2]
    edit(path, **{"DATE-OBS": f"{LATER}T{time}"})


def reduce(folder, name, **options):
    return reduce_night(
        folder / name, folder / "out", **{"profiles": [SMALL], "jobs": 1, **options}
    )


def state(folder):
    return {
        p.relative_to(folder): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.name != "ccdprofiles.log"
    }


def lose_table(nights):
    for name in ("night.ecsv", "plan.json", "report/index.html"):
        (nights / "out" / name).unlink()


@pytest.mark.parametrize("table", [True, False])
def test_another_night_is_refused_and_both_are_named(nights, table):
    if not table:
        lose_table(nights)
    before = state(nights / "out")
    with pytest.raises(OutputError) as error:
        reduce(nights, "second")
    said = str(error.value)
    assert str(nights / "second") in said
    assert (str(nights / "first") in said) is table
    assert "11 frames, such as " in said
    assert "--overwrite" in said
    assert state(nights / "out") == before
    assert reduce(nights, "second", overwrite=True).ok
    assert reduce(nights, "second").kept
    with pytest.raises(OutputError, match="another night"):
        reduce(nights, "first")


def test_the_command_ends_with_the_status_of_an_output(nights, capsys):
    camera = nights / "cg16m.py"
    camera.write_text(
        "from ccdprofiles.simulate import windowed\nprofile = windowed('cg16m', 16, 24)\n"
    )
    arguments = ["--profile", str(camera), "-q", "-j", "1"]
    command = ["reduce", str(nights / "second"), "-o", str(nights / "out"), *arguments]
    assert main(command) == 5
    assert "which is another night; use another folder" in capsys.readouterr().err


def test_a_night_whose_names_are_all_others_is_refused_too(nights):
    """It would replace no product, but the table, the plan and the report."""
    for path in files(nights / "second"):
        path.rename(path.with_name(f"b{path.name}"))
    with pytest.raises(OutputError, match="another night"):
        reduce(nights, "second")


def test_calibrations_that_two_nights_share_do_not_make_them_one(nights):
    for kind in ("bias", "dark"):
        for path in files(nights / "first", kind):
            shutil.copy(path, nights / "second" / path.name)
    with pytest.raises(OutputError, match="another night"):
        reduce(nights, "second")


def test_another_night_in_the_same_folder_is_refused(nights):
    (nights / "first").rename(nights / "kept")
    (nights / "second").rename(nights / "first")
    with pytest.raises(OutputError, match="another night"):
        reduce(nights, "first")


@pytest.mark.parametrize("kind", ["light", "bias", "undated"])
def test_a_file_that_two_nights_of_one_folder_share_does_not_make_them_one(nights, kind):
    """Such as a bias that is copied into the folder every night, or a frame without a date."""
    if kind == "undated":
        path = files(nights / "first", "bias")[0]
        data, header = fits.getdata(path, header=True)
        del header["DATE-OBS"]
        for folder in ("first", "second"):
            fits.writeto(nights / folder / "test.fit", data, header)
    (nights / "first").rename(nights / "kept")
    for path in files(nights / "kept", "bias") if kind == "bias" else ():
        shutil.copy(path, nights / "second")
    if kind == "undated":
        shutil.rmtree(nights / "out")
        (nights / "kept").rename(nights / "first")
        reduce(nights, "first")
        (nights / "first").rename(nights / "kept")
    (nights / "second").rename(nights / "first")
    with pytest.raises(OutputError, match="another night"):
        reduce(nights, "first")


def add_frames(nights):
    for path in files(nights / "second", "light"):
        shutil.copy(path, nights / "first" / f"more-{path.name}")


def replace_a_frame(nights):
    edit(files(nights / "first", "light")[0], change=lambda data: data + np.uint16(1))


def correct_headers(nights):
    for path in files(nights / "first"):
        edit(path, OBSERVER="Vera")


def correct_a_date(nights):
    redate(files(nights / "first", "light")[0])


def rename_files(nights):
    for path in files(nights / "first"):
        path.rename(path.with_name(f"b{path.name}"))


def remove_science(nights):
    for path in files(nights / "first", "light"):
        path.unlink()


def break_all(nights):
    for path in files(nights / "first"):
        path.write_bytes(b"SIMPLE  = no more")


def leave(nights):
    pass


@pytest.mark.parametrize(
    "change",
    [
        leave,
        add_frames,
        replace_a_frame,
        correct_headers,
        correct_a_date,
        rename_files,
        remove_science,
        break_all,
        lose_table,
    ],
)
def test_a_night_that_changed_goes_on(nights, change):
    change(nights)
    reduce(nights, "first")


@pytest.mark.parametrize("change", [leave, add_frames, replace_a_frame, correct_a_date, lose_table])
@pytest.mark.parametrize("lost", [False, True])
def test_a_night_that_moved_goes_on(nights, change, lost):
    change(nights)
    if lost and change is not lose_table:
        lose_table(nights)
    (nights / "first").rename(nights / "renamed")
    done = reduce(nights, "renamed")
    assert done.kept


def test_science_that_follows_its_calibrations_goes_on(made, tmp_path):
    shutil.copytree(made / "first", tmp_path / "first")
    evening = [(p, tmp_path / p.name) for p in files(tmp_path / "first", "light")]
    for path, aside in evening:
        path.rename(aside)
    assert reduce(tmp_path, "first").ok
    for path, aside in evening:
        aside.rename(path)
    (tmp_path / "first").rename(tmp_path / "moved")
    assert len(reduce(tmp_path, "moved").kept) == 3


def test_what_is_no_table_of_ours_tells_nothing(tmp_path):
    assert earlier_night(tmp_path) is None
    for octets in (
        b"",
        b"\xff",
        b"# %ECSV 1.0\n",
        b'# a\nfile type date product verdict\n"a',
        b"a b\n",
    ):
        (tmp_path / "night.ecsv").write_bytes(octets)
        assert earlier_night(tmp_path) is None


@pytest.mark.parametrize(
    "name", ["night", "2024", "it's, {a}: 'b'", "nuit été", "a\nb", "very long " * 20, "~", "#x"]
)
def test_the_folder_of_a_night_is_read_from_its_table(made, tmp_path, name):
    """As astropy's own reader reads it, but faster."""
    shutil.copytree(made / "first", tmp_path / name)
    (tmp_path / "lent").mkdir()
    for path in files(tmp_path / name, "bias"):
        path.rename(tmp_path / "lent" / path.name)
    assert reduce(tmp_path, name, calibrations=[tmp_path / "lent"]).ok
    found = earlier_night(tmp_path / "out")
    assert found.folder == tmp_path / name
    assert len(found.frames) == 11
