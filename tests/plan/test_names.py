"""What masters and products are called."""

import pytest

from ccdprofiles.plan.names import Draft, master_names, product_names
from ccdprofiles.plan.plan import Master
from ccdprofiles.plan.setup_reader import SetupReader


def draft(frame, **more):
    master = Master(
        "",
        frame.type,
        (),
        frame.profile.name,
        frame.amplifier_key,
        frame.binning,
        exposure=frame.exposure,
        filter=frame.filter,
        **more,
    )
    return Draft(master, SetupReader(frame.profile).read(frame.header), (frame,), (), 3.0)


def test_a_name_says_type_exposure_filter_and_binning(plain_frame):
    drafts = [
        draft(plain_frame("d", "dark", 300.0)),
        draft(plain_frame("f", "flat", 5.0, filter="g'", binning=(2, 1))),
    ]
    assert master_names(drafts, ()) == [
        "masters/cam_dark_300s_1x1.fits",
        "masters/cam_flat_g_2x1.fits",
    ]


def test_only_settings_that_distinguish_masters_are_in_their_names(plain_frame):
    cards = [{"GAIN": gain, "OFFSET": 7, "CCD-TEMP": -10} for gain in (0, 100)]
    drafts = [draft(plain_frame("b", "bias", cards=c)) for c in cards]
    assert master_names(drafts, ()) == [
        "masters/cam_bias_gain0_1x1.fits",
        "masters/cam_bias_gain100_1x1.fits",
    ]


def test_names_that_differ_in_case_only_get_a_hash(plain_frame):
    flats = [draft(plain_frame("f", "flat", filter=f)) for f in "Rr"]
    first, second = master_names(flats, ())
    assert first == "masters/cam_flat_R_1x1.fits"
    assert second.startswith("masters/cam_flat_r_1x1_")
    (taken,) = master_names(flats[:1], ["MASTERS/CAM_FLAT_R_1X1.FITS"])
    assert taken not in (first, second)


@pytest.mark.parametrize(
    ("file", "product"),
    [
        ("a.fits", "science/a_cal.fits"),
        ("x/a.fits.gz", "science/x/a_cal.fits"),
        ("b.0.fits.fz", "science/b.0_cal.fits"),
        ("c", "science/c_cal.fits"),
    ],
)
def test_a_product_keeps_the_name_and_the_folder_of_its_frame(plain_frame, file, product):
    assert product_names([plain_frame(file, "science")]) == [product]


def test_products_of_one_name_get_a_hash(plain_frame):
    names = product_names([plain_frame(f, "science") for f in ("a.fits", "A.fit", "a.fits.gz")])
    assert names[0] == "science/a_cal.fits"
    assert len({name.lower() for name in names}) == 3
