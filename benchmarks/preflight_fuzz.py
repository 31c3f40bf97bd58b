"""Fuzz the reading of headers and the first look at pixels, guided by coverage.

Not part of the ordinary tests; needs atheris (``pip install ccdprofiles[fuzz]``). All that
follows FOLDER goes to libFuzzer::

    python benchmarks/preflight_fuzz.py FOLDER -max_total_time=600

FOLDER gets a corpus and, in ``findings``, one input for every way in which a file was
neither read nor refused: another exception, or more than a second. Each of these becomes
a test. Memory beyond ``-rss_limit_mb`` ends the fuzz with its input.
"""

from __future__ import annotations

import gzip
import io
import random
import re
import sys
import time
import traceback
from pathlib import Path

import atheris
import numpy as np
from astropy import units as u
from astropy.io import fits

with atheris.instrument_imports(include=["ccdprofiles"]):
    from ccdprofiles import Amplifier, Profile, Recipe
    from ccdprofiles.camera.registry import Registry
    from ccdprofiles.errors import FrameRejected
    from ccdprofiles.files.pixels import Pixels
    from ccdprofiles.pixels.measure import measure
    from ccdprofiles.plan.frames import ACCEPTED, frames_table
    from ccdprofiles.plan.scan import Scanner

HEADERS = Path(__file__).parents[1] / "tests" / "headers"
SLOW = 1.0

SMALL = Profile(
    instrument="Small",
    amplifiers=[
        Amplifier(
            data="[1:8, 1:6]",
            overscan="[9:10, 1:6]",
            gain=lambda header: header["GAIN"] * u.electron / u.adu,
        )
    ],
    binning=("XBIN", "YBIN"),
    match=("MODE",),
    recipe=Recipe(bias=False, dark="match"),
)


def seeds() -> dict[str, bytes]:
    """Make the corpus to begin with: tiny frames of every kind, and headers of real cameras.

    The first byte of an input tells whether the rest is gzipped before it is read.
    """
    header = fits.Header(
        {"INSTRUME": "Small", "IMAGETYP": "DARK", "EXPTIME": 90.0, "FILTER": "R", "OBJECT": "M 1"}
    )
    header.update({"GAIN": 1.5, "XBIN": 1, "YBIN": 1, "MODE": "fast", "DATE-OBS": "2020-01-01"})
    data = np.arange(60, dtype="u2").reshape(6, 10)
    made = {
        "plain": fits.HDUList([fits.PrimaryHDU(data, header)]),
        "float": fits.HDUList([fits.PrimaryHDU(data.astype("f4"), header)]),
        "cube": fits.HDUList([fits.PrimaryHDU(data[np.newaxis], header)]),
        "mef": fits.HDUList([fits.PrimaryHDU(None, header), fits.ImageHDU(data, name="A")]),
        "tiles": fits.HDUList([fits.PrimaryHDU(None, header), fits.CompImageHDU(data)]),
    }
    corpus = {}
    for name, hdus in made.items():
        stream = io.BytesIO()
        hdus.writeto(stream, checksum=name in ("plain", "tiles"))
        corpus[name] = b"\0" + stream.getvalue()
        corpus[f"{name}-gz"] = b"\1" + stream.getvalue()
    corpus["packed"] = b"\0" + gzip.compress(corpus["plain"][1:], mtime=0)
    for path in sorted(HEADERS.glob("*.header")):
        cards = fits.Header.fromtextfile(path)
        cards.update({"BITPIX": 8, "NAXIS": 2, "NAXIS1": 8, "NAXIS2": 8})
        corpus[path.stem] = b"\0" + cards.tostring().encode("ascii", "replace") + bytes(2880)
    return corpus


KEYWORDS = re.split(
    " ",
    "SIMPLE XTENSION BITPIX NAXIS NAXIS1 NAXIS2 NAXIS3 PCOUNT GCOUNT EXTNAME BZERO BSCALE BLANK "
    "DATASUM ZIMAGE ZBITPIX ZNAXIS ZNAXIS1 ZNAXIS2 ZTILE1 ZTILE2 ZCMPTYPE ZBLANK ZNAME1 ZVAL1 "
    "TFIELDS TFORM1 TTYPE1 THEAP INSTRUME IMAGETYP EXPTIME EXPOSURE FILTER OBJECT DATE-OBS GAIN "
    "XBIN YBIN XBINNING YBINNING BUNIT CALSTAT CPVERS HISTORY CONTINUE HIERARCH END",
)
VALUES = re.split(
    " ",
    "0 1 2 -1 7 8 16 -32 999 2147483648 99999999999999999999 1.5 -0.0 1E400 NaN T F '' 'INDEF' "
    "'90.0' 'BIAS' 'LIGHT' 'Small' 'LFC' 'kosmos' 'RICE_1' 'GZIP_1' 'PLIO_1' 'HCOMPRESS_1' "
    "'1PB(9)' 'IMAGE' 'BINTABLE' 'x&' 'a''b' 'open / \x1b \xff",
)


def mutate(octets: bytes, most: int, seed: int) -> bytes:
    """Change a card as no accident of single bytes would; or leave it to libFuzzer."""
    chance = random.Random(seed)
    if chance.random() < 0.3 or len(octets) < 161:
        return atheris.Mutate(octets, most)
    first, data = octets[:1], bytearray(octets[1:])
    for _ in range(chance.randint(1, 4)):
        at = 80 * chance.randrange(max(1, min(len(data), 80 * 200) // 80))
        line = f"{chance.choice(KEYWORDS):8}= {chance.choice(VALUES):>20}".ljust(80)
        new = line.encode("latin1")[:80]
        what = chance.randrange(5)
        if what == 0:
            data[at : at + 80] = new
        elif what == 1:
            data[at + 9 : at + 80] = new[9:]
        elif what == 2:
            data[at:at] = new
        elif what == 3:
            del data[at : at + 80]
        else:
            other = 80 * chance.randrange(len(data) // 80 + 1)
            data[at : at + 80] = data[other : other + 80].ljust(80)
    return (first + bytes(data))[:most]


def check(error: FrameRejected) -> None:
    """Hold a refusal against what every refusal has."""
    assert error.code
    assert str(error).endswith(".")


def look(scanner: Scanner, path: Path) -> None:
    """Do with a file all that is done before its pixels are used."""
    frame = scanner.frame(path, path.name)
    frames_table([frame])
    if frame.verdict != ACCEPTED:
        check(FrameRejected(frame.code, frame.reason))
        return
    try:
        measure(frame.raw, frame.amplifiers, frame.recipe)
        with Pixels(frame.raw) as pixels:
            for image in frame.raw.images:
                pixels.rows(image, 0, image.shape[0])
    except FrameRejected as error:
        check(error)


def main() -> None:
    """Fuzz until libFuzzer has enough."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    corpus, findings = folder / "corpus", folder / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    for name, octets in seeds().items():
        (corpus / f"seed-{name}").write_bytes(octets)
    scanner = Scanner(Registry.gather([SMALL]))
    path = folder / "input.fits"
    known: set[str] = set()

    def one(octets: bytes) -> None:
        rest = octets[1:]
        path.write_bytes(gzip.compress(rest, 1) if octets[:1] == b"\1" else rest)
        began = time.monotonic()
        told = ""
        try:
            look(scanner, path)
        except Exception as error:  # every one is a finding
            where = traceback.extract_tb(error.__traceback__)[-1]
            told = f"{type(error).__name__}-{Path(where.filename).stem}-{where.lineno}"
            shown = traceback.format_exc()
        if time.monotonic() - began > SLOW:
            told, shown = "slow", f"{time.monotonic() - began:.1f} s"
        if told and told not in known:
            known.add(told)
            (findings / told).write_bytes(path.read_bytes())
            (findings / f"{told}.txt").write_text(shown)

    options = [a for a in sys.argv[2:] if a.startswith("-")]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
