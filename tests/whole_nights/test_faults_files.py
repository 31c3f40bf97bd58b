"""A good night and one fault: the fault has its row, and everything else is as without it."""

import ast
import dataclasses
import errno
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import socket
import stat
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import by_hand
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from ccdprofiles import Amplifier, Profile, Recipe, known_profiles, night, reduce_night
from ccdprofiles.camera import registry
from ccdprofiles.camera.registry import Registry
from ccdprofiles.cli.command import main
from ccdprofiles.errors import OutputError
from ccdprofiles.files.hdus import HDU_LIMIT, HEADER_LIMIT
from ccdprofiles.files.pixels import Pixels
from ccdprofiles.plan import request
from ccdprofiles.plan.scan import Scanner
from ccdprofiles.products.product import write_text
from ccdprofiles.run import making, run
from ccdprofiles.simulate import Exposures, simulate_night, windowed

SMALL = windowed("cg16m", 16, 24)
SHAPE = (16, 37)
TWINS = Profile(
    instrument="Twins",
    amplifiers=[
        Amplifier(
            name=name,
            extension=name,
            data="[1:8, 1:8]",
            overscan=None,
            detector=f"[{first}:{first + 7}, 1:8]",
            gain=lambda header: float(header["GAIN"]) * u.electron / u.adu,
        )
        for name, first in (("LEFT", 1), ("RIGHT", 9))
    ],
    recipe=Recipe(bias=True, dark=None),
)
EXPOSURES = [
    Exposures("bias", 4),
    Exposures("dark", 3, 90.0),
    Exposures("flat", 3, 1.0, filter="r"),
    Exposures("science", 2, 90.0, filter="r", object="m31"),
]

AGAIN = "copy it again from the camera."
CORRECT = "copy it again from the camera, or correct its header."
OUT = "remove it from the night."
ALLOW = "grant read permission, copy it again, or remove it from the night."
RAW = "use the raw frame."


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The good night, and the bytes of what is made of it."""
    folder = tmp_path_factory.mktemp("reference")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "user_folder", lambda: folder / "no profiles")
        simulate_night(SMALL, folder / "raw", frames=EXPOSURES)
        for path in (folder / "raw").iterdir():
            path.write_bytes(edited(path.read_bytes(), "GAIN    = 1.5"))
        made = reduced(folder / "raw", folder / "out")
    assert made.ok
    return folder / "raw", products(folder / "out")


@pytest.fixture
def good(reference, tmp_path, monkeypatch):
    """A copy of the good night, by hard links."""
    monkeypatch.setattr(registry, "user_folder", lambda: tmp_path / "no profiles")
    shutil.copytree(reference[0], tmp_path / "raw", copy_function=os.link)
    return tmp_path / "raw"


def reduced(folder, output):
    return reduce_night(folder, output, profiles=[SMALL, TWINS], jobs=1)


def products(output):
    return {p.relative_to(output).as_posix(): p.read_bytes() for p in output.rglob("*.fits")}


def found(folder):
    """Every file below a folder, as it is and as its bytes say; what hangs is not opened."""
    here = {}
    for path in sorted(folder.rglob("*")):
        kind = stat.S_IFMT(path.lstat().st_mode)
        if not stat.S_ISDIR(kind):
            told = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(kind) else ""
            here[os.fsencode(path.relative_to(folder))] = (kind, told, path.lstat().st_mtime_ns)
    return here


# Makers of files.


def edited(octets, *lines, drop=(), at=0):
    """Change cards of a header, or add them: as they are given, whatever FITS would say."""
    end = octets.index(b"END".ljust(80), at)
    cards = [octets[n : n + 80] for n in range(at, end, 80)]
    cards = [c for c in cards if c[:8].decode("latin1").strip() not in drop]
    for line in lines:
        line = (line if isinstance(line, bytes) else line.encode("latin1")).ljust(80)
        same = [n for n, card in enumerate(cards) if card[:8] == line[:8]]
        if same and not line.startswith(b"HISTORY"):
            cards[same[0]] = line
        else:
            cards.append(line)
    block = b"".join(cards) + b"END".ljust(80)
    data = octets[at + -(-(end + 80 - at) // 2880) * 2880 :]
    return octets[:at] + block.ljust(-(-len(block) // 2880) * 2880) + data


def doubled(octets, line):
    """Add a card though there is one of its keyword already."""
    other = edited(octets, "XXXXXXXX" + line[8:])
    return other.replace(b"XXXXXXXX", line[:8].encode())


def header_end(octets):
    return -(-(octets.index(b"END".ljust(80)) + 80) // 2880) * 2880


def with_sum(octets):
    stream = io.BytesIO()
    with fits.open(io.BytesIO(octets), do_not_scale_image_data=True) as hdus:
        hdus.writeto(stream, checksum=True)
    return stream.getvalue()


def flipped(octets, where=-2680):
    return octets[:where] + bytes([octets[where] ^ 4]) + octets[where + 1 :]


def hdus_of(*hdus):
    stream = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(stream)
    return stream.getvalue()


def twins(octets, *names, **cards):
    header = fits.Header({"INSTRUME": "Twins", "IMAGETYP": "BIAS", "GAIN": 1.5} | cards)
    data = np.arange(64, dtype="u2").reshape(8, 8)
    return hdus_of(fits.PrimaryHDU(None, header), *(fits.ImageHDU(data, name=n) for n in names))


def table(octets):
    return hdus_of(
        fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])])
    )


def planes(number):
    def made(octets):
        with fits.open(io.BytesIO(octets)) as hdus:
            data, header = hdus[0].data, hdus[0].header
        return hdus_of(fits.PrimaryHDU(np.stack([data] * number), header))

    return made


def tiled(octets):
    with fits.open(io.BytesIO(octets)) as hdus:
        return hdus_of(fits.PrimaryHDU(), fits.CompImageHDU(hdus[0].data, hdus[0].header))


def bomb(octets):
    """Pack a frame of 8000 x 4000 equal pixels into some tens of thousands of bytes."""
    large = edited(octets, "NAXIS1  = 8000", "NAXIS2  = 4000")
    return gzip.compress(large[: header_end(large)] + bytes(64_000_000), 1, mtime=0)


def cut(octets):
    return octets[: header_end(octets) + 500]


def short_padding(octets):
    return octets[: header_end(octets) + SHAPE[0] * SHAPE[1] * 2]


def packed(octets):
    return gzip.compress(octets, mtime=0)


def cards(*lines, drop=()):
    return lambda octets: edited(octets, *lines, drop=drop)


@dataclasses.dataclass(frozen=True)
class Fault:
    """A file that is laid into the good night, and what is said of it.

    ``make`` turns the bytes of a good frame of a kind into those of the fault, or gets
    the path and lays it there itself. A sentence that begins with ``...`` is compared by
    its end.
    """

    make: Callable
    code: str
    sentence: str
    kind: str = "light"
    name: str = "zz.fits"
    verdict: str = "set aside"
    makes_it: bool = False


FILES = {
    "F1": Fault(
        cut,
        "truncated",
        f"its header requires 6944 bytes, but it has 6260; {AGAIN}",
    ),
    "F1 in gzip": Fault(
        lambda o: packed(cut(o)),
        "truncated",
        f"its header requires 6944 bytes, but it has 6260; {AGAIN}",
    ),
    "F3": Fault(lambda o: o[:1000], "fits", f"its header has no END card; {AGAIN}"),
    "F4": Fault(
        lambda o: o[: header_end(o)],
        "truncated",
        f"its header requires 6944 bytes, but it has 5760; {AGAIN}",
    ),
    "F5": Fault(lambda o: b"", "empty", f"it is empty; {AGAIN}"),
    "F6 text": Fault(
        lambda o: b"hello",
        "not-fits",
        "it does not begin with SIMPLE, so it is not a FITS file despite its name; "
        f"copy it again, or {OUT}",
    ),
    "F6 nuls": Fault(
        lambda o: bytes(5760),
        "not-fits",
        "it does not begin with SIMPLE, so it is not a FITS file despite its name; "
        f"copy it again, or {OUT}",
    ),
    "F6 by name": Fault(
        lambda o: b"21:00 clouds", "not-fits", "not a FITS file.", name="a.log", verdict="ignored"
    ),
    "F8": Fault(
        lambda o: flipped(with_sum(o)),
        "checksum",
        "...of its pixels; copy it again from the camera.",
    ),
    "F8 in gzip": Fault(
        lambda o: packed(flipped(with_sum(o))),
        "checksum",
        "...of its pixels; copy it again from the camera.",
    ),
    "F8 in tiles": Fault(
        lambda o: flipped(with_sum(tiled(o))),
        "checksum",
        "...of its pixels; copy it again from the camera.",
    ),
    "F9 cut": Fault(
        lambda o: packed(o)[:-40],
        "gzip",
        "it cannot be decompressed (Compressed file ended before the end-of-stream marker was "
        f"reached); {AGAIN}",
    ),
    "F9 sum": Fault(
        lambda o: packed(o)[:-8] + bytes(8),
        "gzip",
        f"...); {AGAIN}",
    ),
    "F11": Fault(
        bomb,
        "gzip",
        "...would decompress to 64005760, more than 200 times as many, which is impossible for an image; "
        "remove it from the night, or decompress it by hand.",
    ),
    "F11 in tiles": Fault(
        lambda o: edited(tiled(o), "ZNAXIS1 = 30000", "ZNAXIS2 = 30000", at=2880),
        "tiles",
        "...bytes would decompress to 1800000000 in tiles of 37 x 1 pixels, which is impossible for an image; "
        "remove it from the night, or decompress it by hand.",
    ),
    "F12": Fault(
        cards("NAXIS1  = 200000", "NAXIS2  = 200000"),
        "too-big",
        "it declares 200000 x 200000 pixels, more than the 2147483648 that a frame may have; "
        f"{CORRECT}",
    ),
    "F13": Fault(
        cards("NAXIS   = 999"), "naxis", f"NAXIS = 999 is not a valid number of axes; {CORRECT}"
    ),
    "F14 axis": Fault(
        cards("NAXIS1  = -37"), "naxis", f"an axis of -37 pixels is not possible; {CORRECT}"
    ),
    "F14 bits": Fault(
        cards("BITPIX  = 17"),
        "bitpix",
        f"BITPIX = 17 is not one of [-64, -32, 8, 16, 32, 64]; {CORRECT}",
    ),
    "F14 bits in tiles": Fault(
        lambda o: edited(tiled(o), "ZBITPIX = 15", at=2880),
        "bitpix",
        f"ZBITPIX = 15 is not one of [-64, -32, 8, 16, 32, 64]; {CORRECT}",
    ),
    "F14 scaling": Fault(
        cards("BZERO   = 'many'"),
        "scaling",
        f"BZERO = 'many' does not give valid pixel values; {CORRECT}",
    ),
    "F14 scaling by nothing": Fault(
        cards("BSCALE  = 0.0"),
        "scaling",
        f"BSCALE = 0.0 does not give valid pixel values; {CORRECT}",
    ),
    "F15": Fault(
        cards("EXPTIME = NaN"),
        "exposure",
        "EXPTIME/EXPOSURE = nan is not an exposure between 0 and 86400 s; correct the header, or reject the frame.",
    ),
    "F16": Fault(
        lambda o: doubled(o, "FILTER  = 'B'"),
        "twice",
        "FILTER occurs twice in its header with different values; correct the header.",
    ),
    "F16 instrument": Fault(
        lambda o: doubled(o, "INSTRUME= 'LFC'"),
        "twice",
        "INSTRUME occurs twice in its header with different values; correct the header.",
    ),
    "F16 of the pixels": Fault(
        lambda o: doubled(o, "BZERO   = 0"),
        "twice",
        "BZERO occurs twice in its header with different values; correct the header.",
    ),
    "F18": Fault(table, "no-image", f"it contains no image, only tables or headers; {OUT}"),
    "F19 fifo": Fault(
        lambda path: os.mkfifo(path),
        "not-a-file",
        f"it is not a regular file; {OUT}",
        makes_it=True,
    ),
    "F19 device": Fault(
        lambda path: path.symlink_to("/dev/zero"),
        "not-a-file",
        f"it is not a regular file; {OUT}",
        makes_it=True,
    ),
    "F20 dangling": Fault(
        lambda path: path.symlink_to("nowhere"),
        "unreadable",
        f"it cannot be read (No such file or directory); {ALLOW}",
        makes_it=True,
    ),
    "F20 loop": Fault(
        lambda path: path.symlink_to(path.name),
        "unreadable",
        f"it cannot be read (Too many levels of symbolic links); {ALLOW}",
        makes_it=True,
    ),
    "F22 linked folder": Fault(
        lambda path: path.symlink_to("..", target_is_directory=True),
        "not-a-file",
        f"it is not a regular file; {OUT}",
        makes_it=True,
    ),
    "F23 hidden": Fault(lambda o: o, "hidden", "hidden file.", name="._zz.fits", verdict="ignored"),
    "F23 unfinished": Fault(
        lambda o: o,
        "temporary",
        "a temporary file of an unfinished copy.",
        name="zz.fits.part",
        verdict="ignored",
    ),
    "F24 copy": Fault(
        lambda o: o,
        "duplicate",
        "identical to m31-S001-R001-C001-r.fit, which is used instead.",
        name="a copy of m31-S001-R001-C001-r.fit",
        verdict="ignored",
    ),
    "F24 packed copy": Fault(
        packed,
        "duplicate",
        "identical to m31-S001-R001-C001-r.fit, which is used instead.",
        name="m31-S001-R001-C001-r.fit.gz",
        verdict="ignored",
    ),
    "F24 hard link": Fault(
        lambda path: os.link(path.with_name("m31-S001-R001-C001-r.fit"), path),
        "duplicate",
        "identical to m31-S001-R001-C001-r.fit, which is used instead.",
        name="m31-S001-R001-C001-r (link).fit",
        verdict="ignored",
        makes_it=True,
    ),
    "F24 link": Fault(
        lambda path: path.symlink_to("m31-S001-R001-C001-r.fit"),
        "duplicate",
        "identical to m31-S001-R001-C001-r.fit, which is used instead.",
        name="m31-S001-R001-C001-r (link).fit",
        verdict="ignored",
        makes_it=True,
    ),
    "F25": Fault(
        lambda o: twins(o, "LEFT", "OTHER"),
        "missing-extension",
        "extension 'RIGHT' is missing, but twins expects an amplifier there; the file has [1, 'LEFT', 2, 'OTHER']; it may have been truncated; copy it again from the camera.",
    ),
    "F26": Fault(
        lambda o: twins(o, "A", "B", INSTRUME="AspenCG16", XBINNING=1, YBINNING=1),
        "mef",
        "it contains 2 images, but cg16m expects one; set extension= for each amplifier in the profile.",
    ),
    "F28 packing": Fault(
        lambda o: edited(tiled(o), "ZCMPTYPE= 'ZSTD_9'", at=2880),
        "tiles",
        "ZCMPTYPE = 'ZSTD_9' is not one of RICE_1, RICE_ONE, GZIP_1, GZIP_2, PLIO_1, HCOMPRESS_1, "
        f"NOCOMPRESS; {CORRECT}",
    ),
    "F29": Fault(
        planes(3),
        "cube",
        "it is a cube of 3 planes, probably a colour image that was debayered, but the raw image was expected, as debayering mixes pixels before their dark and flat are removed; save raw frames (RAW16) in the capture program, or write each plane to its own file.",
    ),
    "F31 header": Fault(
        lambda o: o[:2800] + b"HISTORY nothing".ljust(80) * (HEADER_LIMIT // 80 + 800),
        "fits",
        f"its header is longer than {HEADER_LIMIT} bytes, more than any camera writes; "
        f"copy it again, or {OUT}",
    ),
    "F31 HDUs": Fault(
        lambda o: o + hdus_of(fits.PrimaryHDU(), fits.ImageHDU())[2880:] * (HDU_LIMIT + 1),
        "fits",
        f"it contains more than {HDU_LIMIT} HDUs, but a raw frame has only a few; {OUT}",
    ),
}


HEADERS = {
    "H1 unknown": Fault(
        cards("INSTRUME= 'AspenCG17'"),
        "no-profile",
        "no profile fits INSTRUME = 'AspenCG17'; the closest: 'AspenCG16' (cg16m), "
        "'Apogee Aspen CG16M' (cg16m); write a profile for it, or choose one with --profile.",
    ),
    "H1 missing": Fault(
        cards(drop=("INSTRUME",)),
        "no-profile",
        "no profile fits a header without INSTRUME; write a profile with instrument=None and where={...}, or choose one with --profile.",
    ),
    "H2": Fault(
        cards(drop=("IMAGETYP",)),
        "no-type",
        "IMAGETYP is missing, so the type of the frame is not known; change frame_type= in cg16m.",
    ),
    "H3": Fault(
        cards("IMAGETYP= 'LIHGT'"),
        "no-type",
        "IMAGETYP = 'LIHGT' is not a frame type that cg16m knows (did you mean 'light'?); "
        "add the word to its frame_types=.",
    ),
    "H4 unit": Fault(
        cards("EXPTIME = '90s'"),
        "exposure",
        "EXPTIME/EXPOSURE = '90s' is not an exposure between 0 and 86400 s; correct the header, or reject the frame.",
    ),
    "H4 underscore": Fault(
        cards("EXPTIME = '9_0'"),
        "exposure",
        "EXPTIME/EXPOSURE = '9_0' is not an exposure between 0 and 86400 s; correct the header, or reject the frame.",
    ),
    "H4 infinite": Fault(
        cards("EXPTIME = 1E999"),
        "exposure",
        "EXPTIME/EXPOSURE = inf is not an exposure between 0 and 86400 s; correct the header, or reject the frame.",
    ),
    "H5": Fault(
        cards(drop=("EXPTIME", "EXPOSURE")),
        "exposure",
        "the exposure is missing, so no dark can be chosen for this science; correct the header, or change exposure= in cg16m.",
    ),
    "H5 INDEF": Fault(
        cards("EXPTIME = 'INDEF'", drop=("EXPOSURE",)),
        "exposure",
        "the exposure is missing, so no dark can be chosen for this science; correct the header, or change exposure= in cg16m.",
    ),
    "H7": Fault(
        cards("EXPTIME = 0.0"),
        "exposure",
        "the exposure = 0 for a dark; if this camera labels its biases as darks, let frame_type= "
        "in its profile return bias.",
        kind="dark",
    ),
    "H8": Fault(
        cards("EXPTIME = -90.0"),
        "exposure",
        "EXPTIME/EXPOSURE = -90.0 is not an exposure between 0 and 86400 s; correct the header, or reject the frame.",
        kind="dark",
    ),
    "H11": Fault(
        cards("EXPTIME = 90000.0"),
        "exposure",
        "EXPTIME/EXPOSURE = 90000.0 is not an exposure between 0 and 86400 s; correct the header, or reject the frame.",
    ),
    "H14": Fault(
        cards("BUNIT   = 'electron'"),
        "already-reduced",
        f"BUNIT = 'electron', but cg16m expects raw adu; {RAW}",
    ),
    "H14 rate": Fault(
        cards("BUNIT   = 'adu/s'"),
        "already-reduced",
        f"BUNIT = 'adu/s', but cg16m expects raw adu; {RAW}",
    ),
    "H15": Fault(
        lambda o: twins(o, "LEFT", "RIGHT", GAIN=0.0),
        "gain",
        "gain=0.0 electron / adu is not a positive number. A function of the profile returned this value; correct the header, or gain= in the profile.",
    ),
    "H15 negative": Fault(
        lambda o: twins(o, "LEFT", "RIGHT", GAIN=-1.5),
        "gain",
        "gain=-1.5 electron / adu is not a positive number. A function of the profile returned this value; correct the header, or gain= in the profile.",
    ),
    "H15 NaN": Fault(
        lambda o: twins(o, "LEFT", "RIGHT", GAIN="NaN"),
        "gain",
        "gain=nan electron / adu is not a positive number. A function of the profile returned this value; correct the header, or gain= in the profile.",
    ),
    "H15 no number": Fault(
        lambda o: twins(o, "LEFT", "RIGHT", GAIN="high"),
        "profile-function",
        "a function of the profile twins failed on its header (ValueError: could not convert "
        "string to float: 'high'); correct the profile.",
    ),
    "H17 binning": Fault(
        cards("XBINNING= 0"),
        "binning",
        "XBINNING, YBINNING = (0, 1) is not a binning; two positive whole numbers were expected; "
        "correct the header, or binning= in cg16m.",
    ),
    "H18 IRAF": Fault(
        cards("ZEROCOR = 'Zero level correction image is Zero'"),
        "already-reduced",
        f"ZEROCOR shows that it is already calibrated; {RAW}",
    ),
    "H18 MaxIm": Fault(
        cards("CALSTAT = 'BDF'"),
        "already-reduced",
        f"CALSTAT shows that it is already calibrated; {RAW}",
    ),
    "H18 in HISTORY": Fault(
        cards("HISTORY Dark Subtraction (Dark 3, 1024 x 1024, Bin2 x 2, Temp -20C, 90s)"),
        "already-reduced",
        f"HISTORY 'Dark Subtraction' shows that it is already calibrated; {RAW}",
    ),
    "H19": Fault(
        cards("NAXIS1  = 20"),
        "section",
        "...",
    ),
}


USED = {
    "F2": (
        short_padding,
        "zz.fits",
        "zz.fits: its last FITS block is incomplete, but no pixel is missing.",
    ),
    "F10 gzip as fits": (packed, "zz.fits", ""),
    "F10 fits as gzip": (lambda o: o, "zz.fits.gz", ""),
    "F15": (
        cards(b"AIRMASS = 1.\xe9", b"SEEING  = \x1b[31m", "WIND    = NaN", "FOCUS   = 1.2.3"),
        "zz.fits",
        "zz.fits: its header contains bytes that FITS does not allow; they are read as \ufffd.",
    ),
    "F16": (
        lambda o: doubled(o, "SITELAT = 3"),
        "zz.fits",
        "zz.fits: SITELAT occurs twice in its header with different values; the first is used.",
    ),
    "F16 the same": (lambda o: doubled(o, "XBINNING= 1 / again"), "zz.fits", ""),
    "F17": (cards("FILE    = 'a.fits'"), "zz.fits", ""),
    "F21 upper": (lambda o: o, "ZZ.FITS", ""),
    "F21 fit": (lambda o: o, "zz.Fit", ""),
    "F21 new": (lambda o: o, "zz.new", ""),
    "F21 none": (lambda o: o, "zz", ""),
    "F22": (lambda o: o, "sub/zz.fits", ""),
    "F28": (tiled, "zz.fits.fz", ""),
    "F29": (
        planes(1),
        "zz.fits",
        "zz.fits: a cube of one plane, used as an image.",
    ),
    "F33": (lambda o: o, "z \"'[1]%d{0}{stem} ä,b.fits", ""),
    "F33 newline": (lambda o: o, "z\n\x1b[31m.fits", ""),
    "F33 long": (lambda o: o, "z" * 240 + ".fits", ""),
    "F34": (lambda o: o, os.fsdecode(b"z\xff.fits"), ""),
    "F35": (lambda o: o, "z,a.fits", ""),
    "F36": (lambda o: o, "http:/www.example.org/zz.fits", ""),
    "H3 dash": (cards("IMAGETYP= 'Light-Frame'"), "zz.fits", ""),
    "H3 underscore": (cards("IMAGETYP= 'LIGHT_FRAME  '"), "zz.fits", ""),
    "H4": (
        cards("EXPTIME = '90.0'"),
        "zz.fits",
        "zz.fits: EXPTIME = '90.0' is text, read as 90 s.",
    ),
    "H4 INDEF": (cards("EXPTIME = 'INDEF'"), "zz.fits", ""),
    "H4 empty": (cards("EXPTIME = ''"), "zz.fits", ""),
    "H12": (cards(drop=("BUNIT",)), "zz.fits", ""),
    "H13 counts": (cards("BUNIT   = 'COUNTS'"), "zz.fits", ""),
    "H13 bits": (cards("BUNIT   = 'unsigned 16 bit'"), "zz.fits", ""),
    "H13 other": (
        cards("BUNIT   = 'volt'"),
        "zz.fits",
        "zz.fits: BUNIT = 'volt', but the unit adu of cg16m is used.",
    ),
    "H18 planned": (cards("CALSTAT = ''", "HISTORY no Dark Subtraction yet"), "zz.fits", ""),
    "H21": (cards("CTYPE1  = 'RA---NON'", "CTYPE2  = 7", "CRPIX1  = 'x'"), "zz.fits", ""),
    "H23 up": (cards("OBJECT  = '../../x'"), "zz.fits", ""),
    "H23 root": (cards("OBJECT  = '/etc/x'"), "zz.fits", ""),
    "H23 reserved": (cards("OBJECT  = 'CON'"), "zz.fits", ""),
    "H23 empty": (cards("OBJECT  = ''"), "zz.fits", ""),
    "H24": (
        cards(b"HISTORY caf\xe9", b"OBSERVER= 'Am\xe9lie'"),
        "zz.fits",
        "zz.fits: its header contains bytes that FITS does not allow; they are read as \ufffd.",
    ),
    "H25": (cards("OBSERVER= 'x&'", "CONTINUE  '" + "y" * 60 + "'"), "zz.fits", ""),
    "H26": (cards(drop=("DATE-OBS",)), "zz.fits", ""),
    "S2": (cards("OBJECT  = '<script>alert(1)</script>'"), "zz.fits", ""),
    "S3": (
        cards(b"OBJECT  = 'a\x1b[31m\x07b'"),
        "zz.fits",
        "zz.fits: its header contains bytes that FITS does not allow; they are read as \ufffd.",
    ),
}
"""What is odd and yet used: how it is made of a science frame, its name, and what is noted."""


def first_of(folder, kind):
    return next(
        p for p in sorted(folder.glob("*.fit")) if kind in fits.getheader(p)["IMAGETYP"].lower()
    )


def same_as_without(output, reference):
    """Hold every product of the good night against its bytes; return what is there besides."""
    made = products(output)
    assert [n for n, octets in reference.items() if made.get(n) != octets] == []
    return sorted(set(made) - set(reference))


def row_of(made, name):
    (row,) = (row for row in made.frames if row["file"] == name)
    return row


def test_the_good_night_is_the_reference(good, reference, tmp_path):
    assert reduced(good, tmp_path / "out").ok
    assert same_as_without(tmp_path / "out", reference[1]) == []


@pytest.mark.parametrize("id_", [*FILES, *HEADERS])
def test_a_fault_costs_its_frame_only(id_, good, reference, tmp_path):
    fault = (FILES | HEADERS)[id_]
    path = good / fault.name
    origin = first_of(good, fault.kind)
    octets = fault.make(path if fault.makes_it else origin.read_bytes())
    if not fault.makes_it:
        path.write_bytes(octets)
    good.chmod(0o555)
    before = found(good)
    made = reduced(good, tmp_path / "out")
    assert found(good) == before
    assert len(made.frames) == len(before)
    assert same_as_without(tmp_path / "out", reference[1]) == []
    row = row_of(made, fault.name)
    assert (row["verdict"], row["code"]) == (fault.verdict, fault.code)
    assert made.ok is (fault.verdict == "ignored")
    reason = row["reason"].removeprefix(f"{fault.name}: ")
    assert reason != row["reason"]
    if fault.sentence.startswith("..."):
        assert reason.endswith(fault.sentence.removeprefix("..."))
    else:
        assert reason == fault.sentence


@pytest.mark.parametrize("id_", USED)
def test_what_is_odd_and_can_be_used_is_used(id_, good, reference, tmp_path):
    make, name, note = USED[id_]
    path = good / name
    path.parent.mkdir(parents=True, exist_ok=True)
    # Other pixels than those of the frame that it is made of, which would be said.
    path.write_bytes(make(flipped(first_of(good, "light").read_bytes())))
    before = found(good)
    made = reduced(good, tmp_path / "out")
    assert found(good) == before
    assert len(made.frames) == len(before)
    (more,) = same_as_without(tmp_path / "out", reference[1])
    assert more.startswith("science/")
    assert (
        (tmp_path / "out" / more).resolve().is_relative_to((tmp_path / "out" / "science").resolve())
    )
    assert made.ok
    notes = [
        n for n in (*made.plan.notes, *made._report.made.notes) if "made of one frame" not in n
    ]
    assert notes == ([note] if note else [])
    with fits.open(tmp_path / "out" / more, checksum=True) as hdus:
        hdus.verify("exception")
        assert "CONTINUE" not in hdus[0].header or "LONGSTRN" in hdus[0].header
    for said in ("night.ecsv", "ccdprofiles.log", "report/index.html"):
        text = (tmp_path / "out" / said).read_text("utf-8")
        assert all(c.isprintable() or c == "\n" for c in text)
        assert "<script" not in text or said != "report/index.html"


# Faults that no single file laid into the night can show.


@pytest.mark.parametrize("where", ["header", "pixels"])
def test_the_same_pixels_under_another_header_are_said_and_used(where, good, reference, tmp_path):
    octets = first_of(good, "light").read_bytes()
    change = edited(octets, "OBJECT  = 'm33'") if where == "header" else packed(octets[:-1] + b"x")
    (good / "zz.fits").write_bytes(change)
    made = reduced(good, tmp_path / "out")
    assert len(same_as_without(tmp_path / "out", reference[1])) == 1
    assert made.ok
    assert (
        "zz.fits: the same pixels as m31-S001-R001-C001-r.fit, but another header; both are used according to their headers; remove the wrong one from the night."
    ) in made._report.made.notes


def test_sums_that_agree_by_chance_are_not_enough(good, tmp_path):
    octets = bytearray(first_of(good, "light").read_bytes())
    start = header_end(octets)
    words = octets[start : start + 8]
    octets[start : start + 8] = words[4:] + words[:4]
    assert words[4:] != words[:4]
    (good / "zz.fits").write_bytes(octets)
    made = reduced(good, tmp_path / "out")
    assert row_of(made, "zz.fits")["verdict"] == "used"
    assert not any("same pixels" in note for note in made._report.made.notes)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-100])


def put_in_its_place(path):
    octets = path.read_bytes()
    path.unlink()
    path.write_bytes(flipped(octets))


def fifo_in_its_place(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (cut_short, "changed"),
        (put_in_its_place, "changed"),
        (Path.unlink, "unreadable"),
        (fifo_in_its_place, "not-a-file"),
    ],
)
def test_a_file_that_changes_after_its_header_was_read_costs_itself(
    change, code, good, reference, tmp_path, monkeypatch
):
    path = good / "zz.fits"
    path.write_bytes(flipped(first_of(good, "light").read_bytes()))
    os.utime(path, ns=(1, 1))
    scan = request.scan

    def scanned(*args, **more):
        frames = scan(*args, **more)
        change(path)
        return frames

    monkeypatch.setattr(request, "scan", scanned)
    made = reduced(good, tmp_path / "out")
    assert same_as_without(tmp_path / "out", reference[1]) == []
    row = row_of(made, "zz.fits")
    assert (row["verdict"], row["code"]) == ("set aside", code)
    assert len(made.frames) == len(reference[1]) - 5 + 13


def test_a_file_that_changes_while_it_is_read_costs_itself(good, reference, tmp_path, monkeypatch):
    path = good / "zz.fits"
    path.write_bytes(flipped(first_of(good, "light").read_bytes()))
    bands = Pixels.bands

    def touched(pixels, digest):
        yield from bands(pixels, digest)
        if pixels.raw.path == path:
            os.utime(path, ns=(1, 1))

    monkeypatch.setattr(Pixels, "bands", touched)
    made = reduced(good, tmp_path / "out")
    assert same_as_without(tmp_path / "out", reference[1]) == []
    row = row_of(made, "zz.fits")
    assert (row["verdict"], row["code"]) == ("set aside", "changed")


def test_a_socket_and_a_folder_named_like_a_frame_are_not_opened(
    good, reference, tmp_path, monkeypatch
):
    (good / "folder.fits").mkdir()
    # The path of a socket must be short.
    monkeypatch.chdir(good)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("zz.fits")
        made = reduced(good, tmp_path / "out")
    assert same_as_without(tmp_path / "out", reference[1]) == []
    assert row_of(made, "zz.fits")["code"] == "not-a-file"
    assert "folder.fits" not in made.frames["file"]


def test_two_names_that_are_written_alike_have_two_rows(good, reference, tmp_path):
    octets = first_of(good, "light").read_bytes()
    (good / "z\n.fits").write_bytes(flipped(octets))
    (good / "z\\n.fits").write_bytes(flipped(octets, -2700))
    made = reduced(good, tmp_path / "out")
    assert len(made.frames) == len(set(made.frames["file"])) == len(found(good))
    (good / "z\n.fits").write_bytes(b"")
    (row,) = (row for row in reduced(good, tmp_path / "out").frames if row["code"] == "empty")
    assert row["reason"].startswith(f"{row['file']}: ")
    assert len(same_as_without(tmp_path / "out", reference[1])) == 2


@pytest.mark.parametrize("name", ["a\nnight", "a \x1b[31mnight", os.fsdecode(b"n\xffght")])
def test_the_folder_of_the_night_may_have_any_name(name, good, reference, tmp_path):
    good.rename(tmp_path / name)
    assert reduced(tmp_path / name, tmp_path / "out").ok
    assert same_as_without(tmp_path / "out", reference[1]) == []
    for said in ("ccdprofiles.log", "report/index.html"):
        text = (tmp_path / "out" / said).read_text("utf-8")
        assert all(c.isprintable() or c == "\n" for c in text)


def test_a_name_like_a_url_is_a_file(good, reference, tmp_path, monkeypatch):
    """The parts of astropy that would fetch it are given open files only."""
    monkeypatch.chdir(tmp_path)
    good.rename(tmp_path / "http:")
    (tmp_path / "http:" / "zz.fits.fz").write_bytes(
        tiled(flipped(first_of(tmp_path / "http:", "light").read_bytes()))
    )
    for _ in range(2):
        assert reduced("http:", "ftp:/out").ok
        assert len(same_as_without(tmp_path / "ftp:" / "out", reference[1])) == 1


# The output.


def test_a_product_replaces_a_link_of_its_name(good, reference, tmp_path):
    reduced(good, tmp_path / "out")
    (made,) = (tmp_path / "out" / "masters").glob("*bias*")
    made.unlink()
    made.symlink_to(first_of(good, "bias"))
    before = found(good)
    reduce_night(good, tmp_path / "out", profiles=[SMALL], jobs=1, overwrite=True)
    assert found(good) == before
    assert not made.is_symlink()
    assert same_as_without(tmp_path / "out", reference[1]) == []


# What a package that reads other people's files must not do.


def test_a_profile_in_the_folder_of_a_night_is_not_run(good, reference, tmp_path):
    (good / "cg16m.py").write_text("raise SystemExit('it ran')")
    (good / "profiles").mkdir()
    (good / "profiles" / "cg16m.py").write_text("raise SystemExit('it ran')")
    assert reduced(good, tmp_path / "out").ok
    assert same_as_without(tmp_path / "out", reference[1]) == []


def test_a_pattern_of_a_profile_takes_no_time_on_any_card():
    slow = dataclasses.replace(SMALL, where={"OBJECT": "*a" * 30 + "b"})
    began = time.process_time()
    assert slow.disagreement({"OBJECT": "a" * 1000}) is not None
    assert time.process_time() - began < 1


def test_a_temporary_file_is_never_one_that_was_there(good, tmp_path):
    target = first_of(good, "bias")
    (tmp_path / f".plan.json.{os.getpid()}.tmp").symlink_to(target)
    before = found(good)
    with pytest.raises(OutputError):
        write_text(tmp_path / "plan.json", "{}")
    assert found(good) == before


FORBIDDEN_MODULES = {
    *("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"),
    *("urllib", "http", "requests", "ftplib", "socketserver", "ssl", "subprocess"),
}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "urlopen"}
SOURCES = sorted(Path(night.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_module_runs_text_unpickles_or_fetches(path):
    tree = ast.parse(path.read_text("utf-8"))
    imported, called, fetched = set(), set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call):
            function = node.func
            name = getattr(function, "id", None) or getattr(function, "attr", "")
            if name == "compile" and ast.unparse(function) == "re.compile":
                continue
            if ast.unparse(function) in ("np.load", "numpy.load", "np.save", "numpy.save"):
                called.add(ast.unparse(function))
            if re.fullmatch(r"fits\.(open|get\w+)|CCDData\.read", ast.unparse(function)):
                fetched.append(ast.unparse(node.args[0]))
            called.add(name)
            words = {k.arg: ast.unparse(k.value) for k in node.keywords}
            # W12: opened for update, a file may be written although no one asked.
            assert words.get("mode") not in ("'update'", "'append'")
            assert words.get("cache") is None
            assert words.get("shell") in (None, "False")
    # astropy fetches a path that looks like a URL; an open file it cannot.
    assert set(fetched) <= {"file"}
    assert imported.isdisjoint(FORBIDDEN_MODULES)
    assert called.isdisjoint(FORBIDDEN_CALLS | {"np.load", "numpy.load"})


@pytest.mark.parametrize("command", ["info", "plan", "reduce"])
def test_scripts_get_a_row_with_its_code_for_every_file(command, good, tmp_path, capsys):
    (good / "empty.fits").write_bytes(b"")
    (good / "z\n\x1b[31m.fits").write_bytes(b"")
    (good / "a.log").write_text("21:00 clouds")
    camera = tmp_path / "cg16m.py"
    camera.write_text(
        "from ccdprofiles import load_profile\nfrom ccdprofiles.simulate import windowed\n"
        "profile = windowed(load_profile('cg16m'), 16, 24)\n"
    )
    output = ["-o", str(tmp_path / "out")] if command == "reduce" else []
    assert main([command, str(good), "--profiles", str(camera), "--json", *output]) == 1
    told = json.loads(capsys.readouterr().out)
    rows = told["frames"] if command == "plan" else told
    assert len(rows) == len(found(good))
    wrong = {row["file"]: (row["verdict"], row["code"]) for row in rows if row["code"]}
    assert wrong == {
        "empty.fits": ("set aside", "empty"),
        "z\\n\\x1b[31m.fits": ("set aside", "empty"),
        "a.log": ("ignored", "not-fits"),
    }
    assert all(row["reason"].startswith(f"{row['file']}: ") for row in rows if row["code"])
    assert main([command, str(good), "--profiles", str(camera), *output]) == 1
    said = capsys.readouterr()
    assert all(c.isprintable() or c == "\n" for c in said.out)


@pytest.mark.parametrize(
    "id_", ["F11", "F11 in tiles", "F12", "F31 header", "F31 HDUs", "F19 device"]
)
def test_a_fault_takes_neither_time_nor_memory(id_, good):
    fault = FILES[id_]
    made = fault.make(good / "zz.fits" if fault.makes_it else first_of(good, "light").read_bytes())
    if not fault.makes_it:
        (good / "zz.fits").write_bytes(made)
    scanner = Scanner(Registry((SMALL,)))
    [*scanner.frames(first_of(good, "light"), "a.fits")]
    tracemalloc.start()
    began = time.process_time()
    (frame,) = scanner.frames(good / "zz.fits", "zz.fits")
    took, (_, most) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert frame.code == fault.code
    assert took < 1
    assert most < 4 * HEADER_LIMIT


@pytest.mark.parametrize("kind", ["gzip", "tiles"])
def test_a_full_temporary_disk_is_no_fault_of_packed_frames(good, tmp_path, monkeypatch, kind):
    for path in sorted(good.iterdir()):
        octets = path.read_bytes()
        path.unlink()
        if kind == "gzip":
            path.write_bytes(packed(octets))
        else:
            with fits.open(io.BytesIO(octets)) as hdus:
                fits.CompImageHDU(hdus[0].data, hdus[0].header).writeto(path)

    class Full(io.BytesIO):
        def write(self, octets):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("tempfile.TemporaryFile", lambda **options: Full())
        with pytest.raises(
            OutputError,
            match=r"cannot be decompressed in .* \(No space left on device\); free some space",
        ):
            reduced(good, tmp_path / "out")
    assert reduced(good, tmp_path / "out").ok


@pytest.mark.parametrize("kind", ["dark", "science"])
def test_a_disk_error_at_the_second_reading_costs_that_frame(tmp_path, monkeypatch, kind):
    profile = windowed(known_profiles()["lfc"], 64, 80)
    truth = simulate_night(profile, tmp_path / "raw", seed=1)
    rows = truth.frames[truth.frames["type"] == kind]
    bad = sorted(rows["file"].tolist())[0]
    stored = Pixels.stored

    def broken(self, image, first, stop, **place):
        if self.raw.path.name == Path(bad).name:
            raise OSError(errno.EIO, "Input/output error")
        return stored(self, image, first, stop, **place)

    monkeypatch.setattr(Pixels, "stored", broken)
    night = by_hand.reduce_night(tmp_path / "raw", tmp_path / "out", profile=truth.known)
    (row,) = [r for r in night.frames if r["file"] == bad]
    assert row["code"] == "unreadable"
    assert "(Input/output error); check the disk" in row["reason"]
    assert list(night.set_aside["file"]) == [bad]
    assert len(night.masters) == len(night.plan.masters)


@pytest.mark.parametrize("fault", ["flipped", "gone", "gone after its check"])
def test_a_master_of_another_night_is_held_against_its_checksums(tmp_path, monkeypatch, fault):
    camera = windowed(known_profiles()["cg16m"], 16, 24)
    every = [
        Exposures("bias", 3),
        Exposures("dark", 3, 90.0),
        Exposures("flat", 3, 1.0, filter="r"),
    ]
    simulate_night(camera, tmp_path / "first", frames=every)
    by_hand.reduce_night(tmp_path / "first", tmp_path / "lent", profiles=[camera])
    science = [Exposures("science", 2, 90.0, filter="r", object="m31")]
    simulate_night(camera, tmp_path / "second", frames=science)
    flat = next((tmp_path / "lent" / "masters").glob("*flat*"))
    if fault == "flipped":
        octets = bytearray(flat.read_bytes())
        with fits.open(flat) as hdus:
            octets[hdus[0].fileinfo()["datLoc"] + 400] ^= 0x40
        flat.write_bytes(octets)
    elif fault == "gone after its check":
        check = making.check_product

        def checked(path, *args):
            result = check(path, *args)
            if path.name == flat.name:
                path.unlink()
            return result

        monkeypatch.setattr(making, "check_product", checked)
    else:  # taken away once the plan is made
        begin = run.run_plan
        monkeypatch.setattr(run, "run_plan", lambda *a: (flat.unlink(), begin(*a))[1])
    lent = tmp_path / "lent" / "masters"
    night = by_hand.reduce_night(
        tmp_path / "second", tmp_path / "out", profiles=[camera], calibrations=[lent]
    )
    assert not night.products
    assert not night.ok
    assert "remake it, or remove it from the calibrations" in str(night)
