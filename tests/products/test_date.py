"""The header of a product: its date."""

import by_hand
from astropy.io import fits

from ccdprofiles.simulate import simulate_night, windowed


def test_a_date_that_is_none_gives_valid_fits(tmp_path):
    for n, date in enumerate(("31/01/20 01:00", "01/02/20 01:00")):
        by_hand.write(tmp_path / f"raw/b{n}.fits", "bias", 100, date=date)
    by_hand.write(tmp_path / "raw/s.fits", "light", 600, 10.0, date="01/02/20 02:00")
    made = by_hand.reduce_night(tmp_path / "raw", tmp_path / "out", profile=by_hand.camera())
    assert made.ok
    header = fits.getheader(by_hand.only(made.masters))
    assert not {"DATE-OBS", "DATE-END", "MJD-OBS", "MJD-END"} & set(header)


def test_a_date_without_its_time_gets_the_one_that_the_profile_reads(tmp_path):
    """LFC writes the day into DATE-OBS and the time into UT; midnight would be made up."""
    truth = simulate_night(windowed("lfc", 60, 80), tmp_path / "night")
    night = by_hand.reduce_night(truth.folder, tmp_path / "out", profile=truth.known)
    header = fits.getheader(min(night.products.values()))
    assert header["DATE-OBS"].endswith(header["UT"][:8]) or header["UT"] in header["DATE-OBS"]
    assert header["MJD-OBS"] % 1 > 0
