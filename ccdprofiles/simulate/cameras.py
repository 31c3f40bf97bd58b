"""How the instruments write their files, and the chip and nights of each, for the simulator.

Nothing here is used to reduce a frame; a header card is what the instrument
writes, right or wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .exposures import Exposure, Exposures

__all__ = ["CAMERAS", "Camera"]


def _no_cards(shot: Exposure) -> dict:
    return {}


def _plain_name(shot: Exposure) -> str:
    band = "".join(filter(str.isalnum, shot.filter or ""))
    return f"{shot.type}{'-' if shot.filter else ''}{band}-{shot.number:03d}.fits"


@dataclass(frozen=True, kw_only=True)
class Camera:
    """How one instrument writes its files, and what its chip and its nights are like.

    Parameters
    ----------
    cards, file : callable
        The header and the name of a frame.
    night : tuple of Exposures
        The frames of a usual night; empty: what the recipe needs.
    date : str
        The noon at which the night begins.
    objects : dict
        The OBJECT card for each type.
    binning : tuple of int
    shape : tuple of int
        Rows and columns of the unbinned raw frame, where sections reach to the edge.
    pedestals : tuple of float
        The level of each amplifier in adu.
    dark, glow : float
        Dark current in electron / s: of every pixel, and of a glow in a corner.
    hot : float
        The fraction of hot pixels.
    hot_rates : tuple of float
        Their least and largest dark current, in electron / s.
    flat, sky : float
        The level of a flat, and of the sky in the longest science frame, in adu.
    leak, reach : float
        The fraction of the light that leaks into columns without a useful overscan,
        and the number of columns over which it falls off.
    offsets : tuple of float
        The level of those columns above the pedestal in adu, with the shutter closed
        and open.
    backwards : bool
        True if the wavelength decreases along the columns or rows.
    """

    cards: Callable[[Exposure], dict] = _no_cards
    file: Callable[[Exposure], str] = _plain_name
    night: tuple[Exposures, ...] = ()
    date: str = "2020-03-17T12:00:00"
    objects: Mapping[str, str] = field(default_factory=lambda: {"science": "field"})
    binning: tuple[int, int] = (1, 1)
    shape: tuple[int, int] = (512, 512)
    pedestals: tuple[float, ...] = (1000.0, 1013.0, 987.0, 1021.0)
    dark: float = 0.02
    glow: float = 0.1
    hot: float = 4e-4
    hot_rates: tuple[float, float] = (1.0, 80.0)
    flat: float = 20000.0
    sky: float = 600.0
    leak: float = 0.03
    reach: float = 2.5
    offsets: tuple[float, float] = (0.0, 0.0)
    backwards: bool = False


def _lfc(shot: Exposure) -> dict:
    """Write the cards of January 2016, BIASSEC as wrong as they have it."""
    rows, columns = shot.size[2:]
    words = {"bias": "BIAS", "dark": "DARK", "flat": "FLATFIELD", "science": "OBJECT"}
    return {
        "DATE": shot.day,
        "ORIGIN": "California Institute of Technology",
        "LATITUDE": 33.4,
        "LONGITUD": -116.9,
        "TELESCOP": "Hale 5m Telescope",
        "FRATIO": 7.5,
        "INSTRUME": "LFC",
        "DETECTOR": "SITe SI002 x 6",
        "FRAME": _lfc_frame(shot),
        "CCDPICNO": _lfc_frame(shot),
        "OBJECT": shot.object,
        "IMAGETYP": words.get(shot.type, shot.type.upper()),
        "EXPTIME": shot.exposure,
        "DARKTIME": round(shot.exposure + 0.672, 3),
        "DATE-OBS": shot.day,
        "UT": f"{shot.time}.00",
        "JD": round(shot.julian, 6),
        "RA": "04:08:58.50",
        "DEC": "33:25:12.69",
        "EQUINOX": 2000.0,
        "EPOCH": 2000.0,
        "AIRMASS": 1.0,
        "FILTER": shot.filter or "r'",
        "GAIN": 1.1,
        "SECPIX1": 0.182,
        "SECPIX2": 0.182,
        "CCDBIN1": shot.binning[0],
        "CCDBIN2": shot.binning[1],
        "ROTANGLE": 0.0,
        "DATASEC": f"[1:{columns},1:{rows}]",
        "CCDSEC": f"[1:{columns},1:{rows}]",
        "BIASSEC": f"[{columns + 1}:{columns + 32},1:{rows - 1}]",
        "LOGINFO": "Status=0x00000000",
        "CHIPID": 0,
    }


def _lfc_frame(shot: Exposure) -> int:
    """Count the frames of a folder so that the names of two folders meet, as they did."""
    return shot.running + (7 if shot.exposures.folder else 13)


def _cg16m(shot: Exposure) -> dict:
    """Write what MaxIm DL does, and BIASSEC and TRIMSEC as the observatory adds them."""
    columns = shot.size[3]
    cards = {
        "DATE-OBS": f"{shot.day}T{shot.time}",
        "EXPTIME": shot.exposure,
        "EXPOSURE": shot.exposure,
        "SET-TEMP": -20.0,
        "CCD-TEMP": -20.0225025,
        "XPIXSZ": 9.0 * shot.binning[0],
        "YPIXSZ": 9.0 * shot.binning[1],
        "XBINNING": shot.binning[0],
        "YBINNING": shot.binning[1],
        "XORGSUBF": 0,
        "YORGSUBF": 0,
        "READOUTM": "Monochrome",
        "IMAGETYP": "LIGHT" if shot.type == "science" else shot.type.upper(),
        "FOCALLEN": 3200.0,
        "APTDIA": 400.0,
        "SWCREATE": "MaxIm DL Version 6.18",
        "SITELAT": "+46:52:00.408",
        "SITELONG": "-96:27:11.8008",
        "JD": round(shot.julian, 6),
        "TELESCOP": "",
        "INSTRUME": "AspenCG16",
        "NOTES": "",
        "FLIPSTAT": "",
        "DATE": f"{shot.when:%d/%m/%y}",
        "TIME-OBS": shot.time,
        "UT": shot.time,
        "TIMESYS": "UTC",
        "RADECSYS": "FK5",
        "PURGED": True,
        "BIASSEC": f"[{columns}:{columns + 13}]",
        "TRIMSEC": f"[1:{columns}, :]",
        "BUNIT": "adu",
    }
    if shot.lit and shot.filter:
        cards["FILTER"] = shot.filter
    if shot.type == "science":
        cards |= {"OBJECT": shot.object, "AIRMASS": 1.34}
        cards["TELESCOP"] = "ACP->TCSGalilHybrid.DFM.ASCOM.Telescope"
    return cards


def _cg16m_name(shot: Exposure) -> str:
    number = f"{shot.number:03d}"
    if shot.type == "flat":
        return f"AutoFlat-PANoRot-{shot.filter}-Bin{shot.binning[0]}-{number}.fit"
    if shot.type == "science":
        return f"{shot.object}-S001-R001-C{number}-{shot.filter}.fit"
    return f"{shot.type.capitalize()}-S001-R001-C{number}-NoFilt.fit"


def _proem(shot: Exposure) -> dict:
    """Write the nineteen cards that there are; none names the type, the gain or a section."""
    whole = shot.exposure == int(shot.exposure)
    return {
        "EXPTIME": (int(shot.exposure) if whole else shot.exposure, "exposure time"),
        "DATE-OBS": (f"{shot.day}T{shot.time}", "date of the observation"),
        "OBJECT": (shot.object, "name of observed object"),
        "RA_OBJ": ("", "R.A. of the observation"),
        "DEC_OBJ": ("", "declination of the observed object"),
        "OBSERVER": ("ZPV", "observer who acquired the data"),
        "TELESCOP": ("McDonald 2.1m", "name of telescope"),
        "INSTRUME": ("ProEM", "name of instrument"),
        "FILTER": (shot.filter or "blocking", "name of filter used during the observation"),
        "SHUTTER": ("open" if shot.lit else "closed", "shutter status during the observation"),
        "XBIN": (shot.binning[0], "binning in x pixels"),
        "YBIN": (shot.binning[1], "binning in y pixels"),
    }


def _proem_name(shot: Exposure) -> str:
    if shot.type == "dark":
        return f"dark_{shot.exposure:g}s-{shot.rank:02d}.fits"
    if shot.type == "flat":
        return f"flat-{shot.number:02d}.fits"
    return f"{shot.object}-{shot.number:04d}.fits"


def _pt5m(shot: Exposure) -> dict:
    words = {"bias": "BIAS", "dark": "DARK", "flat": "SKY", "science": "SCIENCE"}
    return {
        "TYPE": words.get(shot.type, shot.type.upper()),
        "OBJECT": shot.object,
        "TELESCOP": "pt5m",
        "INSTRUME": "QSI 532",
        "DATE-OBS": (f"{shot.day}T{shot.time}", "start of the exposure, UTC"),
        "EXPTIME": (shot.exposure, "seconds"),
        "EXPOSURE": (shot.exposure, "seconds"),
        "FILTER": shot.filter or "V",
        "EGAIN": (1.3, "electrons per ADU"),
        "SET-TEMP": -20.0,
        "CCD-TEMP": -19.9,
        "XPIXSZ": 6.8 * shot.binning[0],
        "YPIXSZ": 6.8 * shot.binning[1],
        "XBINNING": shot.binning[0],
        "YBINNING": shot.binning[1],
    }


def _kosmos(shot: Exposure) -> dict:
    """Write the cards of 2021: no gain, no section, no OBJECT, and the last target's name."""
    x, y = shot.binning
    words = {"bias": "Bias", "dark": "Dark", "flat": "Flat"}
    lamps = {"QUARTZ": shot.type == "flat", "NEON": shot.type == "arc"}
    cards = {
        "OBSERVAT": ("APO", "Per the IRAF observatory list."),
        "TELESCOP": "3.5m",
        "INSTRUME": ("kosmos", "Instrument name"),
        "LATITUDE": (32.780361, "Latitude of telescope base"),
        "LONGITUD": (-105.820417, "Longitude of telescope base"),
        "UTC-TAI": (-37.0, "UTC = TAI + UTC_TAI(seconds)"),
        "OBJNAME": ("Gp013_parad", "Object name, per TCC ObjName"),
        "RADECSYS": ("FK5", "Coordinate system, per TCC ObjSys"),
        "RA": ("23:36:40.30", "RA hours, extrapolated from TCC ObjNetPos"),
        "DEC": ("8:49:55.13", "Dec degrees, extrapolated from TCC ObjNetPos"),
        "AIRMASS": (1.1776303102377, "1/cos(ZD)"),
        "FILENAME": (_kosmos_name(shot), "original filename"),
        "DATE-OBS": (
            f"{shot.day}T{shot.time}.543483",
            "TAI time at the start of the exposure",
        ),
        "BINX": (x, "column bin factor"),
        "BINY": (y, "row bin factor"),
        "CCDBIN1": (x, "column bin factor"),
        "CCDBIN2": (y, "row bin factor"),
        "IMAGETYP": (f"{words.get(shot.type, 'Object'):8s}", "exposure type"),
        "EXPTIME": (shot.exposure, "exposure time (sec)"),
        "CCDTEMP": (162.0, "detector temp (K)"),
        "KRYPTON": "off",
        "DISPERSR": "red",
        "QUARTZ": "on" if lamps["QUARTZ"] else "off",
        "CALSTAGE": 100,
        "NEON": "on" if lamps["NEON"] else "off",
        "ARGON": "off",
        "SLIT": "2.0-low",
        "FILTER2": "empty3",
        "FILTER1": shot.filter or "empty2",
    }
    if shot.type == "science":
        cards["OBJNAME"] = (shot.object, "Object name, per TCC ObjName")
    return cards


def _kosmos_name(shot: Exposure) -> str:
    return f"{shot.object}.{shot.running:04d}.fits"


def _dis(shot: Exposure, detector: str) -> dict:
    rows, columns = shot.size[2:]
    words = {"bias": "zero", "arc": "comp", "science": "object"}
    cards = {
        "OBSERVAT": "APO",
        "TELESCOP": "3.5m",
        "INSTRUME": "DIS",
        "DETECTOR": detector,
        "OBJNAME": shot.object,
        "IMAGETYP": words.get(shot.type, shot.type),
        "EXPTIME": shot.exposure,
        "DATE-OBS": f"{shot.day}T{shot.time}.000000",
        "ZD": 21.5,
        "AIRMASS": 1.07,
        "RADECSYS": "FK5",
        "GRATING": "B400" if detector == "blue" else "R300",
        "SLITMASK": "1.5",
        "DISPDW": 1.83 if detector == "blue" else 2.31,
        "DISPWC": 4400.0 if detector == "blue" else 7500.0,
        "DATASEC": f"[1:{columns},1:{rows}]",
        "CCDSUM": f"{shot.binning[0]} {shot.binning[1]}",
    }
    if shot.type == "arc":
        cards["LAMP"] = "HeNeAr"
    return cards


def _dis_camera(detector: str) -> Camera:
    red = detector == "red"
    return Camera(
        cards=lambda shot: _dis(shot, detector),
        file=lambda shot: f"{shot.object}.{shot.running:04d}{detector[0]}.fits",
        night=(
            Exposures("bias", 11),
            Exposures("dark", 5, 300.0),
            Exposures("dark", 5, 60.0),
            Exposures("flat", 6, 60.0),
            # over-exposed red flats put light of their own into the overscan
            *(
                [Exposures("dark", 5, 120.0), Exposures("flat", 3, 120.0, overscan_light=40.0)]
                * red
            ),
            Exposures("arc", 3, 20.0),
            Exposures("science", 2, 300.0),
        ),
        date="2019-10-19T12:00:00",
        objects={"flat": "quartz", "arc": "henear", "science": "bd284211"},
        pedestals=(120.0,) if red else (100.0,),
        dark=0.003,
        glow=0.01,
        hot=1e-4,
        hot_rates=(0.1, 10.0),
        backwards=red,
    )


CAMERAS = (
    Camera(
        cards=_lfc,
        file=lambda shot: f"ccd.{_lfc_frame(shot):03d}.0.fits",
        # the darks were taken two months later, with another filter in the beam
        night=(
            Exposures("dark", 5, 7.0, "r'", "darks", start=57 * 24 + 3),
            Exposures("dark", 5, 70.0, "r'", "darks", start=57 * 24 + 4),
            Exposures("dark", 6, 300.0, "r'", "darks", start=57 * 24 + 5),
            Exposures("flat", 6, (70.001, 70.011, 70.001), "g'"),
            Exposures("flat", 5, 7.0, "i'"),
            Exposures("science", 2, (300.062, 300.014), "g'"),
            Exposures("science", 2, (300.014, 300.062), "i'"),
        ),
        date="2016-01-15T12:00:00",
        objects={"flat": "flat_{filter}", "science": "vv124_1"},
        shape=(4128, 2080),
        pedestals=(1050.0,),
        dark=0.002,
        glow=0.01,
        hot=2e-4,
        hot_rates=(0.1, 20.0),
        leak=0.05,
    ),
    Camera(
        cards=_cg16m,
        file=_cg16m_name,
        night=(
            Exposures("bias", 15),
            Exposures("dark", 10, 90.0),
            Exposures("flat", 10, (1.0, 1.0, 1.0, 1.0, 1.0, 1.02, 1.06, 1.11, 1.16, 1.21), "r"),
            Exposures("science", 3, 90.0, "r"),
        ),
        date="2018-08-22T12:00:00",
        objects={"science": "kelt-16-b"},
        pedestals=(1000.0,),
        dark=0.02,
        glow=0.04,
        hot=1e-3,
        hot_rates=(0.5, 60.0),
        flat=24000.0,
        sky=400.0,
        leak=0.06,
        reach=6.0,
        offsets=(12.0, 50.0),
    ),
    Camera(
        cards=_proem,
        file=_proem_name,
        night=(
            Exposures("dark", 15, 10.0, folder="dark"),
            Exposures("dark", 15, 3.0, folder="dark"),
            Exposures("flat", 14, 3.0, "BG40", folder="flat"),
            Exposures("science", 3, 10.0, "BG40"),
        ),
        date="2016-10-31T12:00:00",
        objects={"dark": "Dark", "flat": "flat", "science": "ktwo220274129"},
        binning=(4, 4),
        shape=(1024, 1024),
        pedestals=(876.0,),
        dark=20.0,
        glow=15.0,
        hot=1e-3,
        hot_rates=(30.0, 1500.0),
        flat=15000.0,
        sky=250.0,
    ),
    Camera(
        cards=_pt5m,
        file=lambda shot: f"r{500344 + shot.running:07d}.fits",
        night=(
            Exposures("bias", 11),
            Exposures("dark", 7, 60.0),
            Exposures("flat", 5, 2.0, "B"),
            Exposures("flat", 6, 2.0, "V"),
            Exposures("science", 2, 30.0, "B"),
            Exposures("science", 2, 30.0, "V"),
        ),
        date="2015-06-10T12:00:00",
        objects={"bias": "BIAS", "dark": "DARK", "flat": "SKYFLAT", "science": "SDSS_J1730"},
        binning=(2, 2),
        shape=(1472, 2184),
        pedestals=(210.0,),
        dark=0.1,
        glow=0.4,
        hot=1e-3,
        hot_rates=(1.0, 100.0),
    ),
    Camera(
        cards=_kosmos,
        file=_kosmos_name,
        night=(
            Exposures("bias", 10),
            Exposures("dark", 5, 600.0),
            Exposures("dark", 5, 20.0),
            Exposures("flat", 7, 20.0),
            Exposures("arc", 3, 10.0),
            Exposures("science", 2, 600.0),
        ),
        date="2021-10-29T12:00:00",
        objects={"flat": "quartz", "arc": "neon", "science": "GP013_parad"},
        pedestals=(3280.0, 3287.0),
        dark=0.01,
        glow=0.02,
        hot=2e-4,
        hot_rates=(0.1, 20.0),
        flat=50000.0,
    ),
    _dis_camera("blue"),
    _dis_camera("red"),
)
