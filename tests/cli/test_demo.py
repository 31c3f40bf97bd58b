"""The demo."""

import numpy as np
import pytest
from astropy.io import fits

from ccdprofiles.camera.profile_file import read_profiles
from ccdprofiles.camera.registry import shipped_folder
from ccdprofiles.cli.command import main
from ccdprofiles.simulate import night

SHIPPED = sorted(p.name for f in shipped_folder().glob("[!_]*.py") for p in read_profiles(f))


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """Run the demo in a small window; return its exit status, its products and the truth."""
    monkeypatch.setattr("ccdprofiles.cli.demo._WINDOW", (60, 80))
    truths = []
    simulate = night.simulate_night

    def simulated(*args, **options):
        truths.append(simulate(*args, **options))
        return truths[-1]

    monkeypatch.setattr(night, "simulate_night", simulated)

    def run(name):
        folder = tmp_path / "demo"
        status = main(["demo", str(name), "-q", "-j", "1", "-o", str(folder)])
        return status, folder / "reduced" / "science", truths

    return run


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_camera_has_a_demo_of_the_right_level(demo, name):
    status, science, (truth,) = demo(name)
    assert status == 0
    assert truth.science
    for file, wanted in truth.science.items():
        stem = file.rsplit("/", 1)[-1].rsplit(".", 1)[0]
        (product,) = science.rglob(f"{stem}*c*.fits")
        data = fits.getdata(product)
        assert data.shape == wanted.shape == (60, 80)
        for quarter in (np.s_[:30, :40], np.s_[:30, 40:], np.s_[30:, :40], np.s_[30:, 40:]):
            lit = truth.illuminated[quarter]
            assert lit.sum() > 0.5 * lit.size
            difference = np.median((data - wanted)[quarter][lit])
            assert difference == pytest.approx(0, abs=0.04 * np.median(wanted[quarter][lit]))


def test_a_camera_of_functions_is_refused_in_one_sentence(demo, tmp_path, capsys):
    file = tmp_path / "quads.py"
    file.write_text(
        "from ccdprofiles import Amplifier, Profile, Recipe\n"
        "def amplifiers(header):\n"
        "    return [Amplifier(data=header['TSEC'], overscan=None)]\n"
        "profile = Profile(instrument='Q', amplifiers=amplifiers, recipe=Recipe(dark=None))\n"
    )
    status, _, _ = demo(file)
    assert status != 0
    assert (
        "quads: a function of the profile fails on a simulated header (Keyword 'TSEC' not found); use "
        "a header= in simulate_night that writes the cards the profile reads."
    ) in capsys.readouterr().err


def test_the_demo_leaves_its_camera_beside_its_night(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ccdprofiles.cli.demo._WINDOW", (32, 32))
    folder = tmp_path / "demo"
    assert main(["demo", "kosmos", "-q", "-o", str(folder)]) == 0
    assert f"Profile:        {folder / 'kosmos.py'}" in capsys.readouterr().out
    for command in ("info", "plan"):
        asked = [command, str(folder / "night"), "--profile", str(folder / "kosmos.py")]
        assert main(asked) == 0
    assert "Not calibrated" not in capsys.readouterr().out
