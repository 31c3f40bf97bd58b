"""The masters that are there, and how a frame's settings differ from theirs."""

from ccdprofiles.plan.candidates import Candidate, Candidates, Settings, adopted, best
from ccdprofiles.plan.setup_cards import CHIP, SETUP
from ccdprofiles.plan.setup_reader import SetupReader


def master(frame):
    return adopted(frame, Settings())


def test_more_masters_leave_the_first_ones_unchanged(plain_frame):
    none = Candidates({})
    one = none.with_([master(plain_frame("b1", "bias"))])
    two = one.with_([master(plain_frame("b2", "bias"))])
    frame = plain_frame("a.fits", "science", 60.0)
    assert [len(c.for_frame("bias", frame)) for c in (none, one, two)] == [0, 1, 2]
    assert list(two.by_name) == ["calibrations/b1", "calibrations/b2"]


def test_a_master_is_for_frames_that_were_read_out_alike(plain_frame):
    masters = Candidates({}).with_([master(plain_frame("b", "bias"))])
    frame = plain_frame("a.fits", "science", 60.0)
    assert len(masters.for_frame("bias", frame)) == 1
    assert not masters.for_frame("dark", frame)
    assert not masters.for_frame("bias", frame.with_(binning=(2, 2)))
    assert not masters.for_frame("bias", frame.with_(amplifier_key="another"))


def test_a_header_is_read_once(plain_frame, monkeypatch):
    read = []
    original = SetupReader.read
    monkeypatch.setattr(
        SetupReader, "read", lambda self, *header: read.append(header) or original(self, *header)
    )
    settings = Settings()
    frame = plain_frame("a.fits", "science", cards={"GAIN": 3})
    assert settings.of(frame) is settings.of(frame)
    assert len(read) == 1


def test_a_temperature_blocks_a_dark_and_not_a_bias(plain_frame):
    settings = Settings()
    frame = plain_frame("a.fits", "science", cards={"CCD-TEMP": -10})
    for kind, blocked in (("bias", ()), ("dark", (CHIP,))):
        warm = master(plain_frame("w", kind, cards={"CCD-TEMP": 0}))
        comparison = Settings().compared(warm, frame)
        assert (comparison.differ, comparison.blocked) == ((CHIP,), blocked)
    missing = settings.compared(master(plain_frame("n", "dark")), frame)
    assert (missing.differ, missing.lack, missing.blocked) == ((), (CHIP,), ())


def test_a_gain_blocks_both(plain_frame):
    frame = plain_frame("a.fits", "science", cards={"GAIN": 1})
    for kind in ("bias", "dark"):
        comparison = Settings().compared(master(plain_frame("m", kind, cards={"GAIN": 2})), frame)
        assert [SETUP[p].word for p in comparison.blocked] == ["gain"]


def test_of_equal_masters_the_first_name_is_best(plain_frame):
    masters = [master(plain_frame(name, "bias")) for name in ("b", "a")]
    chosen = best(masters, plain_frame("a.fits", "science"), lambda c: ())
    assert chosen.master.name == "calibrations/a"


def test_only_unlisted_cards_of_another_value_are_unlike(plain_frame):
    candidate = master(plain_frame("b", "bias"))
    with_card = Candidate(candidate.master, candidate.setup, others=(("HGAINSW", 1.0),))
    assert with_card.unlike_cards(plain_frame("a", "science", cards={"HGAINSW": "1"})) == ()
    assert with_card.unlike_cards(plain_frame("a", "science")) == (("HGAINSW", 1.0),)
