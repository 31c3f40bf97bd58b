"""What a notebook shows at the end of a cell is short, folds, and runs nothing."""

import dataclasses
from html.parser import HTMLParser

import pytest
from astropy import units as u

from ccdprofiles import known_profiles, load_profile, plan_night, verify_night
from ccdprofiles.camera.registry import Registry
from ccdprofiles.plan.notebook import folded
from ccdprofiles.plan.scan import scan

SHORT = 200


@pytest.fixture(scope="module")
def made(reduce_made_up):
    return reduce_made_up("sbo", 40, 30)


def test_everything_public_has_a_short_repr(made):
    night, profile = made.night, load_profile("sbo")
    (frame, *_) = scan(made.folder, Registry((profile,)))
    shown = {
        "night": night,
        "plan": night.plan,
        "master": night.plan.masters[0],
        "product": night.plan.products[0],
        "frame": frame,
        "profile": profile,
        "registry": Registry.gather(),
        "truth": made.truth,
        "verified": verify_night(night.output),
    }
    for name, thing in shown.items():
        text = repr(thing).replace(str(made.folder), "").replace(str(night.output), "")
        assert len(text) < SHORT, name
        assert "\n" not in text, name


def test_the_repr_of_a_night_and_a_plan_says_how_it_went(made):
    night = made.night
    counts = f"{len(night.frames)} files found, {len(night.masters)} masters, "
    assert counts in repr(night)
    assert repr(night).endswith("ok=True>")
    assert counts in repr(night.plan)
    assert repr(night.plan).endswith("; complete>")


def test_the_long_form_is_printed(made):
    assert str(made.night.plan).count("\n") > 5
    assert "planned science frames are there" in str(made.night)
    profile = known_profiles()["lfc"]
    assert str(profile).startswith("Profile(instrument='LFC', amplifiers=(Amplifier(data=")
    for field in dataclasses.fields(profile):
        assert (f"{field.name}=" in str(profile)) == field.repr


class Page(HTMLParser):
    """Collects the tags and the text of a page, and whether all tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._open = [], "", []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag != "br":
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_a_night_and_a_plan_fold_in_a_notebook(made):
    for thing in (made.night, made.night.plan):
        page = Page(thing._repr_html_())
        for line in str(thing).splitlines():
            assert " ".join(line.split())[:20] in " ".join(page.text.split()), line
    assert page.tags.count("details") == str(made.night.plan).count("\n\n")
    assert "Science frames (" in page.text


def test_long_lists_are_folded_and_cut():
    rows = "\n".join(f"  science/{n}.fits  flat" for n in range(20_000))
    html = folded("Plan", f"20000 files found\n\nScience frames\n{rows}\n\nNotes\n  a note")
    assert len(html) < 10_000
    page = Page(html)
    assert "Science frames (20000)" in page.text
    assert "… 19900 more; print it to see all." in page.text
    assert html.count("<details open>") == 1


def test_nothing_in_it_is_interpreted():
    html = folded("<b>", "<script>\n\n<i>x\n  <img src=x>  &amp;")
    assert not {"b", "script", "i", "img"} & set(Page(html).tags)
    assert "&amp;amp;" in html


def test_frames_of_the_collection_have_the_unit_of_their_profile(made):
    ccds = list(made.night.collection.ccds())
    assert len(ccds) == len(made.night.frames)
    assert {ccd.unit for ccd in ccds} == {u.adu}
    (science, *_) = made.files("science")
    ((ccd, name),) = made.night.collection.ccds(file=science, return_fname=True)
    assert name == science
    assert ccd.header["INSTRUME"] == "SBO"


def test_a_unit_that_is_given_counts_and_other_options_are_handed_on(made):
    files = made.night.collection
    (first, *_) = files.ccds({"unit": "electron"}, type="flat")
    assert first.unit == u.electron
    (first, *_) = files.ccds({"hdu_mask": None}, type="flat")
    assert first.unit == u.adu
    with pytest.raises(NotImplementedError):
        files.ccds(overwrite=True)
    assert len(files.files_filtered(type="flat")) == len(made.files("flat"))


def test_a_collection_without_frames_has_no_ccds(tmp_path):
    from ccdprofiles.plan.frames import collection

    assert list(collection(tmp_path, ()).ccds()) == []
    assert repr(plan_night(tmp_path)).startswith("<Plan: 0 files found, 0 masters, ")
