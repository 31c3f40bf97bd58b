"""The page of a night: it fits a narrow screen, breaks no name, and folds what is long."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from ccdprofiles.files.places import Places
from ccdprofiles.plan.plan import Input, Plan, Product
from ccdprofiles.plan.reason import Reason
from ccdprofiles.report.page import _title, page_of
from ccdprofiles.report.report import Report
from ccdprofiles.run.run import Made

LONG = (
    "deep/field_of_a_galaxy/kelt-16-b-S001-R001-C084-r_exposure_60s_bin1x1_position_angle_{}.fits"
)


def table(number, verdict="used", date="2020-03-17T20:00:00", name=LONG):
    files = [name.format(n) for n in range(number)]
    columns = {"file": files, "product": [f"science/{f}" for f in files]}
    texts = {
        "profile": "sbo",
        "type": "science",
        "filter": "V",
        "binning": "1x1",
        "object": "field",
        "verdict": verdict,
        "code": "",
        "reason": "a sentence that says what is wrong, what was expected and what to do about it.",
        "date": date,
    }
    columns |= {column: np.full(number, text) for column, text in texts.items()}
    return Table(columns | {"exposure": np.full(number, 60.0)})


def page(rows, folder="raw"):
    products = tuple(
        Product(f"science/{file}", Input(file, flat="masters/sbo_flat_V_of_a_long_name_1x1.fits"))
        for file in rows["file"].tolist()
    )
    plan = Plan(masters=(), products=products, found=len(rows))
    made = Made(products={p.name: Path(p.name) for p in products})
    return page_of(folder, rows, plan, made, ok=False, counts=["one line", "another"], notes=[])


class Structure(HTMLParser):
    """What a page is made of."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.loose, self.title = [], [], [], ""
        self.folds, self.rows = [], 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag == "table" and ("div", "wide") not in self.open:
            self.loose.append(tag)
        self.rows += tag == "tr"
        if tag == "details":
            self.folds.append("open" in attrs)
        if tag != "meta":
            self.open.append((tag, attrs.get("class", "")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] == "title":
            self.title += data


def test_a_narrow_screen_is_thought_of():
    text = page(table(3))
    structure = Structure(text)
    meta = {"name": "viewport", "content": "width=device-width, initial-scale=1"}
    assert ("meta", meta) in structure.tags
    assert structure.loose == []  # every table scrolls in a box of its own
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in structure.tags}


def test_no_name_is_broken():
    text = page(table(2, verdict="set aside"))
    style = re.search(r"<style>(.*)</style>", text, re.S)[1]
    assert "anywhere" not in style
    assert "break-word" not in style
    assert "break-all" not in style
    assert re.search(r"td\.path \{ white-space: nowrap; \}", style)
    cells = [attrs for tag, attrs in Structure(text).tags if tag == "td"]
    for name in table(2)["file"]:
        assert f'<td class="path">{name}</td>' in text
    assert {attrs.get("class", "") for attrs in cells} == {"path", "reason", ""}


@pytest.mark.parametrize(
    ("folder", "dates", "title"),
    [
        ("raw", ["2020-03-17T20:00:00"], "Night raw, 2020-03-17"),
        (
            "raw",
            ["2020-03-18T02:00:00", "2020-03-17T20:00:00"],
            "Night raw, 2020-03-17 to 2020-03-18",
        ),
        ("2020-03-17", ["2020-03-17T20:00:00"], "Night 2020-03-17"),
        ("raw", ["", "soon", "0001-01-01T00:00:00+14:00"], "Night raw"),
        ("raw", ["2020-03-17"], "Night raw, 2020-03-17"),
    ],
)
def test_the_title_is_folder_and_date(folder, dates, title):
    rows = Table({"type": ["science"] * len(dates), "date": dates})
    assert _title(folder, rows) == title
    assert Structure(page(table(1, date=dates[0]), folder)).title.startswith(f"Night {folder}")


def test_the_title_is_of_the_science_frames_where_there_are_some():
    rows = Table(
        {"type": ["dark", "science"], "date": ["2019-01-01T00:00:00", "2020-03-17T20:00:00"]}
    )
    assert _title("raw", rows) == "Night raw, 2020-03-17"
    assert _title("raw", rows[:1]) == "Night raw, 2019-01-01"


def test_a_short_page_is_open_and_a_long_one_folds():
    assert Structure(page(table(3))).folds == [True]
    assert Structure(page(table(60))).folds == [False, False]
    assert Structure(page(table(60, "set aside"))).folds == [False] * 3


def test_every_verdict_has_a_table_of_its_own():
    rows = table(4)
    rows["verdict"] = ["used", "set aside", "ignored", "used"]
    text = page(rows)
    assert re.findall(r"<summary>(.*?)</summary>", text) == [
        "ignored: 1 row",
        "set aside: 1 row",
        "used: 2 rows",
    ]


def test_a_page_of_20000_frames_is_small_and_says_where_the_rest_is():
    text = page(table(20_000, "set aside"))
    assert len(text) < 3e6
    structure = Structure(text)
    assert structure.rows < 3100
    assert structure.folds == [False] * 3
    assert text.count("19,000 rows more; night.ecsv has every file.") == 3
    assert "<summary>set aside: 20,000 rows</summary>" in text


MEASURE = """<!DOCTYPE html><body><iframe id="f" srcdoc="{}" style="width:{}px;height:900px;border:0">
</iframe><script>document.getElementById("f").onload = function () {{
  var page = this.contentDocument.documentElement;
  document.title = page.scrollWidth + " " + page.clientWidth;
}};</script></body>"""


def test_the_page_does_not_run_off_at_400_pixels_in_a_browser(tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium is installed")
    text = page(table(3, "set aside"), folder="a" * 200)
    wrapper = tmp_path / "wrapper.html"
    quoted = text.replace("&", "&amp;").replace('"', "&quot;")
    wrapper.write_text(MEASURE.format(quoted, 400), "utf-8")
    done = subprocess.run(
        [
            browser,
            *("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"),
            *(f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", wrapper.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    scroll, client = map(int, re.search(r"<title>(\d+) (\d+)</title>", done.stdout).groups())
    assert client <= 400
    assert scroll <= client


def test_science_frames_that_were_not_made_are_not_listed_as_made(tmp_path):
    products = tuple(Product(f"science/f{n}_cal.fits", Input(f"f{n}.fits")) for n in range(3))
    plan = Plan(masters=(), products=products)
    there = {p.name: tmp_path / p.name for p in products[:2]}
    failed = {
        "f2.fits": Reason("f2.fits", "killed-worker", "the process that worked on it died twice.")
    }
    text = written_page(plan, Made(products=there, failed=failed), tmp_path)
    assert "science/f0_cal.fits" in text
    assert "science/f1_cal.fits" in text
    assert "science/f2_cal.fits" not in text
    assert "_cal.fits" not in written_page(plan, Made(failed=failed), tmp_path)


def written_page(plan, made, folder):
    Report((), plan, made).write(Places.of(folder), "night")
    return (folder / "report" / "index.html").read_text("utf-8")
