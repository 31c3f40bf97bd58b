"""The page of a night lists what was made, and nothing else."""

from ccdprofiles.plan import Input, Plan, Product
from ccdprofiles.report import night_table, write_report
from ccdprofiles.run import Made


def page_of(plan, made, folder):
    write_report(folder, "night", night_table([], plan, made), plan, made)
    return (folder / "report" / "index.html").read_text("utf-8")


def test_science_frames_that_were_not_made_are_not_listed_as_made(tmp_path):
    products = tuple(Product(f"science/f{n}_cal.fits", Input(f"f{n}.fits")) for n in range(3))
    plan = Plan(masters=(), products=products)
    there = {p.name: tmp_path / p.name for p in products[:2]}
    failed = {"f2.fits": ("killed-worker", "f2.fits: the process that worked on it died twice.")}
    page = page_of(plan, Made(products=there, failed=failed), tmp_path)
    assert "science/f0_cal.fits" in page
    assert "science/f1_cal.fits" in page
    assert "science/f2_cal.fits" not in page
    assert "_cal.fits" not in page_of(plan, Made(failed=failed), tmp_path)
