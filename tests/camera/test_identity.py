"""Of which camera a header is: names, patterns and dates; and profiles made from others."""

import pickle

import pytest
from astropy import units as u

from ccdprofiles import Amplifier, Profile, Recipe, load_profile
from ccdprofiles.camera.profile_file import read_profiles
from ccdprofiles.camera.registry import Registry
from ccdprofiles.cli.command import main
from ccdprofiles.errors import AmbiguousProfile, FrameRejected, ProfileError, UnknownInstrument

WHOLE = Amplifier(data="[1:100, 1:100]", overscan=None)
PRO = {"INSTRUME": "ZWO ASI2600MM Pro"}


def camera(**changes):
    return Profile(
        **{"instrument": "MyCam", "name": "mycam", "amplifiers": [WHOLE], "recipe": Recipe()}
        | changes
    )


def refusal_of(call, *args, kind=ProfileError, **kwargs):
    with pytest.raises(kind) as refusal:
        call(*args, **kwargs)
    return str(refusal.value)


# Patterns.


@pytest.mark.parametrize(
    ("pattern", "instrument", "fits"),
    [
        ("ZWO *", "ZWO ASI2600MM Pro", True),
        ("ZWO *", " ZWO ASI2600MM Pro ", True),
        ("ZWO *", "ZWO", False),
        ("ZWO *", "zwo asi2600", False),
        ("*ASI2600*", "ZWO CCD ASI2600MM Pro", True),
        ("QHY?68M", "QHY268M", True),
        ("QHY?68M", "QHY2268M", False),
        ("Cam [1]*", "Cam [1] left", True),
        ("Cam [1]*", "Cam 1 left", False),
        ("Cam [1]", "Cam [1]", True),
    ],
)
def test_an_instrument_may_be_a_pattern(pattern, instrument, fits):
    assert camera(instrument=("Other", pattern)).fits({"INSTRUME": instrument}) == fits
    assert not camera(instrument=pattern).fits({})


@pytest.mark.parametrize("turned", [False, True])
def test_an_exact_name_wins_over_a_pattern_in_another_profile(turned):
    profiles = (
        camera(name="family", instrument="ZWO *"),
        camera(name="own", instrument=("Else", "ZWO ASI2600MM Pro")),
    )
    registry = Registry(profiles[::-1] if turned else profiles)
    assert registry.choose(PRO).name == "own"
    assert registry.choose({"INSTRUME": "ZWO ASI1600"}).name == "family"


def test_a_profile_with_the_name_and_a_pattern_for_it_is_one_profile():
    family = camera(name="family", instrument=("ZWO ASI2600MM Pro", "ZWO *"))
    assert Registry((family,)).choose(PRO) is family


def test_the_pattern_counts_where_other_cards_rule_out_the_exact_name():
    family = camera(name="family", instrument="ZWO *")
    own = camera(name="own", instrument="ZWO ASI2600MM Pro", where={"TELESCOP": "mine"})
    registry = Registry((family, own))
    assert registry.choose(PRO | {"TELESCOP": "mine"}).name == "own"
    assert registry.choose(PRO | {"TELESCOP": "other"}).name == "family"


def test_two_patterns_that_fit_are_an_error():
    registry = Registry(
        (
            camera(name="zwo", instrument="ZWO *", file="/profiles/zwo.py"),
            camera(name="asi", instrument="*ASI*", file="/profiles/asi.py"),
        )
    )
    assert refusal_of(registry.choose, PRO, kind=AmbiguousProfile) == (
        "INSTRUME = 'ZWO ASI2600MM Pro' fits the patterns of 2 profiles, zwo (/profiles/zwo.py) and "
        "asi (/profiles/asi.py); the cards that decide are INSTRUME; write the exact INSTRUME in one "
        "of them, add a where= that distinguishes them to one profile, or choose one with --profile."
    )
    assert registry.choose({"INSTRUME": "ASI2600MM"}).name == "asi"


def test_a_pattern_that_fits_and_cards_that_do_not_are_named():
    registry = Registry((camera(name="zwo", instrument="ZWO *", where={"TELESCOP": "mine"}),))
    assert "the closest: zwo (TELESCOP = missing, not 'mine')" in refusal_of(
        registry.choose, PRO, kind=UnknownInstrument
    )


def test_a_camera_of_a_family_can_be_simulated(tmp_path):
    from ccdprofiles import simulate_night

    known = simulate_night(camera(instrument="ZWO *"), tmp_path, shape=(100, 100)).known
    assert known.name == "mycam"


# Dates.


def dated(name, start, end, **changes):
    return camera(name=name, valid=(start, end), **changes)


def chosen(registry, date, **cards):
    date = {} if date is None else {"DATE-OBS": date}
    return registry.choose({"INSTRUME": "MyCam", **date, **cards}).name


@pytest.mark.parametrize(
    ("date", "name"),
    [
        ("1999-01-01", "old"),
        ("2019-02-28T23:59:59.99", "old"),
        ("2019-03-01", "new"),
        ("2019-03-01T00:00:00", "new"),
        ("2040-01-01", "new"),
    ],
)
def test_the_date_chooses_between_profiles_of_one_camera(date, name):
    registry = Registry((dated("old", None, "2019-03-01"), dated("new", "2019-03-01", None)))
    assert chosen(registry, date) == name
    assert chosen(registry, "1990-01-01") == "old"


@pytest.mark.parametrize(
    ("date", "where"),
    [
        (
            "2019-04-01",
            "between 2019-03-01, the end of old (old.py) and 2019-06-01, the beginning of new (new.py)",
        ),
        ("2010-01-01", "before 2012-01-01, the beginning of old (old.py)"),
        ("2023-07-14T00:00:00", "after 2023-07-14, the end of new (new.py)"),
    ],
)
def test_a_date_that_no_profile_is_for_is_named_with_those_around_it(date, where):
    registry = Registry(
        (
            dated("new", "2019-06-01", "2023-07-14", file="new.py"),
            dated("old", "2012-01-01", "2019-03-01", file="old.py"),
        )
    )
    assert refusal_of(chosen, registry, date, kind=UnknownInstrument) == (
        f"no profile fits INSTRUME = 'MyCam' on {date}, which is {where}; extend valid= of a profile, "
        "write one for this date, or choose one with --profile."
    )


def test_a_family_is_used_outside_the_dates_of_the_exact_name():
    family = camera(name="family", instrument="My*")
    registry = Registry((family, dated("old", None, "2019-03-01")))
    assert chosen(registry, "2018-01-01") == "old"
    assert chosen(registry, "2020-01-01") == "family"


@pytest.mark.parametrize("date", [None, "yesterday", "01/02/99"])
def test_a_frame_without_a_date_is_refused_where_dates_decide(date):
    old, new = dated("old", None, "2019-03-01"), dated("new", "2019-03-01", None)
    shown = "missing" if date is None else f"{date!r}, which is not a date"
    assert refusal_of(chosen, Registry((old, new)), date, kind=UnknownInstrument) == (
        "INSTRUME = 'MyCam' fits old (given by the caller) until 2019-03-01 and new (given by the "
        f"caller) from 2019-03-01, but the date of the frame is {shown}; correct the date in its "
        "header, or choose a profile with --profile."
    )
    assert chosen(Registry((old,)), date) == "old"


def test_the_dates_are_read_from_the_card_of_the_profile():
    registry = Registry((dated("old", None, "2019-03-01", date="DATE"),))
    assert chosen(registry, "2030-01-01", DATE="2018-01-01") == "old"


def test_profiles_of_one_camera_whose_dates_overlap_are_refused():
    old = dated("old", None, "2019-03-02", file="/p/old.py", instrument=("A", "MyCam "))
    new = dated("new", "2019-03-01", None, file="/p/new.py")
    assert refusal_of(Registry, (old, new)) == (
        "two profiles for INSTRUME = 'MyCam' are valid on the same dates: old (/p/old.py) until "
        "2019-03-02 and new (/p/new.py) from 2019-03-01; let valid= of the first end when the second "
        "begins."
    )
    other = new.but(name="new", where={"DETECTOR": 2})
    assert len(Registry((old, other)).profiles) == 2


def test_a_profile_with_dates_beside_one_without_is_ambiguous():
    registry = Registry((camera(name="always"), dated("old", None, "2019-03-01")))
    assert chosen(registry, "2020-01-01") == "always"
    with pytest.raises(AmbiguousProfile):
        chosen(registry, "2018-01-01")


def test_a_profile_does_not_fit_outside_its_dates():
    profile = dated("old", None, "2019-03-01")
    assert profile.fits({"INSTRUME": "MyCam", "DATE-OBS": "2018-01-01"})
    assert profile.fits({"INSTRUME": "MyCam"})
    assert not profile.fits({"INSTRUME": "MyCam", "DATE-OBS": "2020-01-01"})


# What is refused when a profile is made.


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"valid": "2019-03-01"},
            "valid: '2019-03-01' is not a period; use two ISO dates, of which one may be None, such "
            "as ('2019-03-01', '2023-07-14') or ('2019-03-01', None).",
        ),
        (
            {"valid": ("1/3/2019", None)},
            "valid: ('1/3/2019', None) is not a period; use two ISO dates, of which one may be None, "
            "such as ('2019-03-01', '2023-07-14') or ('2019-03-01', None).",
        ),
        (
            {"valid": ("2019-03-01", "2019-03-01")},
            "valid: the period ('2019-03-01', '2019-03-01') ends before it begins; write the earlier "
            "date first.",
        ),
        (
            {"status": "header seen"},
            "status='header seen' is not one of tried on a real night, headers seen, from documents "
            "only (did you mean 'headers seen'?).",
        ),
        (
            {"file_types": "Dark_*"},
            "file_types='Dark_*' is not a dict of patterns; use file_types={'Dark_*': 'dark'}.",
        ),
        (
            {"file_types": {"Dark_*": "drak"}},
            "file_types: 'Dark_*'='drak' is not one of bias, dark, flat, arc, science or None (did "
            "you mean 'dark'?).",
        ),
        (
            {"file_types": {"": "dark"}},
            "file_types: '' is not a pattern of a path; use a text such as 'Dark_*'.",
        ),
    ],
)
def test_refuses_what_cannot_be_right(values, sentence):
    assert refusal_of(camera, **values) == sentence


# Types from paths.

TYPES = {"*/FLAT/*": "flat", "Dark_*": "dark", "lights/*": "science", "*/test/*": None}


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("FLAT/a.fits", "flat"),
        ("M31/flat/R/a.fits", "flat"),
        ("flat/dark_1.fits", "flat"),
        ("dark_1.fits", "dark"),
        ("other/DARK_1.fits", "dark"),
        ("Dark_1/a.fits", "no-type"),
        ("lights/a.fits", "science"),
        ("lights/b/a.fits", "science"),
        ("my/lights/a.fits", "no-type"),
        ("test/a.fits", None),
        ("flat.fits", "no-type"),
        ("", "no-type"),
    ],
)
def test_the_path_gives_the_type_where_no_card_does(file, kind):
    profile = camera(file_types=TYPES)
    try:
        read = profile.frame_type_of({}, file)
    except FrameRejected as error:
        read = error.code
    assert read == kind


def test_a_card_is_asked_before_the_path():
    profile = camera(file_types=TYPES)
    assert profile.frame_type_of({"IMAGETYP": "bias"}, "dark_1.fits") == "bias"
    with pytest.raises(FrameRejected) as rejection:
        profile.frame_type_of({"IMAGETYP": "focus"}, "dark_1.fits")
    assert "'focus' is not a frame type" in str(rejection.value)
    assert profile.frame_type_of({"IMAGETYP": " "}, "dark_1.fits") == "dark"


def test_a_function_that_returns_nothing_leaves_it_to_the_path():
    profile = camera(file_types=TYPES, frame_type=lambda header: header.get("KIND"))
    assert profile.frame_type_of({}, "dark_1.fits") == "dark"


# Profiles from others.


def test_a_profile_from_another_is_complete_and_its_own():
    base = camera(
        file="/p/mycam.py",
        notes="Notes.",
        status="headers seen",
        where={"A": 1},
        file_types={"a*": "bias"},
    )
    other = base.but(instrument="Other", valid=("2019-03-01", None))
    assert (other.name, other.file, other.notes, other.status) == ("", "", "", "")
    assert (other.where, other.file_types) == (base.where, base.file_types)
    written = camera(
        instrument="Other",
        where={"A": 1},
        file_types={"a*": "bias"},
        valid=("2019-03-01", None),
        name="",
    )
    assert other == written
    assert other.hash == written.hash != base.hash
    assert str(other) == str(written)
    assert pickle.loads(pickle.dumps(other)) == other
    assert base.but(name="x").name == "x"
    assert base == camera(where={"A": 1}, file_types={"a*": "bias"})


@pytest.mark.parametrize(
    ("thing", "field", "sentence"),
    [
        (
            WHOLE,
            "satuartion",
            "Amplifier.but(satuartion=...): Amplifier has no 'satuartion' (did you mean "
            "'saturation'?); use one of the fields that help(Amplifier) lists.",
        ),
        (
            Recipe(),
            "qwxz",
            "Recipe.but(qwxz=...): Recipe has no 'qwxz'; use one of the fields that help(Recipe) "
            "lists.",
        ),
        (
            camera(),
            "Instrument",
            "Profile.but(Instrument=...): Profile has no 'Instrument' (did you mean 'instrument'?); "
            "use one of the fields that help(Profile) lists.",
        ),
    ],
)
def test_a_field_that_does_not_exist_is_refused(thing, field, sentence):
    assert refusal_of(thing.but, **{field: 1}) == sentence


def test_changes_are_checked_as_when_it_is_made():
    assert "is not one of" in refusal_of(Recipe().but, dark="drak")
    assert "is not in" in refusal_of(WHOLE.but, saturation=5 * u.electron)
    assert WHOLE.but(linear=5 * u.adu).linear == 5 * u.adu
    assert Recipe().but(electrons=True) == Recipe(electrons=True)


def test_a_file_may_hold_a_family_and_its_members(tmp_path):
    path = tmp_path / "zwo.py"
    path.write_text(
        "from ccdprofiles import Amplifier, Profile, Recipe\n"
        "profile = Profile(instrument='ZWO *', recipe=Recipe(),\n"
        "    amplifiers=[Amplifier(data='[:, :]', overscan=None)])\n"
        "asi2600 = profile.but(instrument='ZWO ASI2600MM Pro')\n"
    )
    assert [p.name for p in read_profiles(path)] == ["zwo", "zwo_asi2600"]
    assert Registry.gather(path).choose(PRO).name == "zwo_asi2600"


def test_a_file_may_change_a_shipped_profile(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from ccdprofiles import load_profile\n"
        "profile = load_profile('lfc').but(instrument='LFC 2')\n"
    )
    (mine,) = read_profiles(path)
    assert (mine.name, mine.file, mine.notes) == ("mine", str(path), "")
    assert mine.amplifiers == load_profile("lfc").amplifiers


def test_a_mistyped_field_is_refused_with_its_line(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from ccdprofiles import load_profile\nprofile = load_profile('lfc').but(instrment='LFC 2')\n"
    )
    assert refusal_of(read_profiles, path) == (
        "mine.py, line 2: Profile.but(instrment=...): Profile has no 'instrment' (did you mean "
        "'instrument'?); use one of the fields that help(Profile) lists."
    )


# The hash, and what is shown.


def test_new_fields_enter_the_hash_only_if_they_are_used():
    plain = camera()
    assert camera(file_types={}, valid=None, status="headers seen").hash == plain.hash
    hashes = {
        profile.hash
        for profile in (
            plain,
            camera(file_types={"a*": "bias"}),
            camera(file_types={"a*": "dark"}),
            camera(file_types={"a*": "dark", "b*": "bias"}),
            camera(file_types={"b*": "bias", "a*": "dark"}),
            camera(valid=("2019-03-01", None)),
            camera(valid=(None, "2019-03-01")),
        )
    }
    assert len(hashes) == 7


def test_the_status_and_the_dates_are_listed(tmp_path, monkeypatch, capsys):
    from ccdprofiles.camera import registry

    profiles = (
        camera(valid=("2019-03-01", None), status="headers seen", telescope="1 m"),
        camera(name="other", instrument="Other", where={"CHIP": (0, None)}),
    )
    monkeypatch.setattr(registry.Registry, "gather", lambda: Registry(profiles))
    assert main(["profiles"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "mycam  headers seen  1 m  MyCam, from 2019-03-01",
        "other                     Other, CHIP 0 or missing",
    ]


def test_a_profile_made_from_another_is_printed_with_all_its_values(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(
        "from ccdprofiles import load_profile\n"
        "profile = load_profile('lfc').but(instrument='LFC 2')\n"
    )
    assert main(["profiles", str(path)]) == 0
    out = capsys.readouterr().out
    assert path.read_text() in out
    assert (
        "# mine with all its values:\n# Profile(instrument='LFC 2', amplifiers=(Amplifier(" in out
    )


def test_info_names_the_dates_of_a_profile_that_was_chosen_by_hand(tmp_path, capsys):
    from astropy.io import fits

    path = tmp_path / "old.py"
    path.write_text(
        "from ccdprofiles import Amplifier, Profile, Recipe\n"
        "profile = Profile(instrument='MyCam', recipe=Recipe(), valid=(None, '2019-03-01'),\n"
        "    amplifiers=[Amplifier(data='[:, :]', overscan=None)])\n"
    )
    (tmp_path / "night").mkdir()
    frame = fits.PrimaryHDU([[1, 2], [3, 4]])
    frame.header.update({"INSTRUME": "MyCam", "IMAGETYP": "bias", "DATE-OBS": "2020-01-01"})
    frame.writeto(tmp_path / "night" / "a.fits")
    main(["info", str(tmp_path / "night"), "--profile", str(path)])
    assert "chosen by you; it is valid until 2019-03-01" in capsys.readouterr().out
