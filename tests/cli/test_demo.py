"""The demo."""

from ccdprofiles.cli.command import main


def test_the_demo_leaves_its_camera_beside_its_night(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ccdprofiles.cli.demo._WINDOW", (32, 32))
    folder = tmp_path / "demo"
    assert main(["demo", "kosmos", "-q", "-o", str(folder)]) == 0
    assert f"Profile:        {folder / 'kosmos.py'}" in capsys.readouterr().out
    for command in ("info", "plan"):
        asked = [command, str(folder / "night"), "--profile", str(folder / "kosmos.py")]
        assert main(asked) == 0
    assert "Not calibrated" not in capsys.readouterr().out
