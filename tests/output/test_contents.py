"""What an output holds besides the products of this run."""

import by_hand
import numpy as np
import pytest
from astropy.io import fits

from ccdprofiles.errors import OutputError


def test_products_of_an_earlier_run_that_no_longer_belong_are_named(raw_night):
    out = raw_night.parent / "out"
    assert "no longer" not in str(by_hand.reduce_night(raw_night, out, profiles=[by_hand.SMALL]))
    science = by_hand.files_of(raw_night, "light")[0]
    science.unlink()
    made = by_hand.reduce_night(raw_night, out, profiles=[by_hand.SMALL])
    assert str(made).endswith(
        "  1 product of an earlier run no longer belongs to this night and may be removed: "
        f"science/{science.stem}_cal.fits"
    )
    assert made.ok


def someone_elses(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".fits":
        fits.PrimaryHDU(np.zeros((4, 4), "f4")).writeto(path)
    else:
        path.write_text("{}")
    return path.read_bytes()


@pytest.mark.parametrize("name", ["science", "plan.json", "night.ecsv", "masters"])
def test_the_files_of_others_are_replaced_only_where_that_is_asked(raw_night, name):
    file = {
        "science": f"science/{by_hand.files_of(raw_night, 'light')[0].stem}_cal.fits",
        "masters": "masters/cg16m_bias_1x1.fits",
    }.get(name, name)
    path = raw_night.parent / "out" / file
    before = someone_elses(path)
    with pytest.raises(OutputError) as error:
        by_hand.reduce_night(raw_night, raw_night.parent / "out", profiles=[by_hand.SMALL])
    assert str(path) in str(error.value)
    assert "overwrite=True" in str(error.value)
    assert [p for p in (raw_night.parent / "out").rglob("*") if p.is_file()] == [path]
    assert path.read_bytes() == before
    assert by_hand.reduce_night(
        raw_night, raw_night.parent / "out", profiles=[by_hand.SMALL], overwrite=True
    ).ok
    assert path.read_bytes() != before
