"""HDI, the Half Degree Imager of the WIYN 0.9 m telescope, Kitt Peak, read by one amplifier.

An e2v 231-84 of 4096 by 4112 pixels, in the extension "xy00" of 4150 by 4150. The overscan
lies in the columns on the right, and in the rows at the top: each row is corrected by its own
columns first, then each column by its rows at the top.

The chip is linear up to 40000 adu only, although the counts go on to 65535 (M. Richmond, HDI
Technical Note 8). FILTER1 and FILTER2 are places in two wheels, so the filter is both, "107,204".
No darks are taken.

Frames by four amplifiers, which were usual in 2013, have another layout and are set aside.

Not known: the header of a frame. Cards are those that Logic-Beach/ccd-pipeline and photometrypipeline
read, INSTRUME is that of the latter; CCDBIN1 and CCDBIN2 are known from it alone.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Profile, Recipe


def binning(header):
    """Return 1 if the header lacks the cards; a binned frame has another size and is set aside."""
    return header.get("CCDBIN1", 1), header.get("CCDBIN2", 1)


def filter(header):
    """Return the places of both wheels, as in "107,204"."""
    places = [str(header.get(card, "")).strip() for card in ("FILTER1", "FILTER2")]
    return ",".join(places) if all(places) else None


profile = Profile(
    instrument="hdi",  # in lower case
    telescope="WIYN 0.9 m, Kitt Peak",
    amplifiers=[
        Amplifier(
            data="[1:4096, 1:4111]",  # THELI, HDI@KPNO_0.9m.ini; DATASEC is [1:4096,1:4112]
            overscan="[4100:4150, 1:4111]",  # THELI; BIASSEC begins at 4097
            parallel_overscan="[1:4096, 4120:4150]",  # THELI
            gain=1.3 * u.electron / u.adu,  # HDI operations manual, one amplifier; THELI
            read_noise=7.3 * u.electron,  # HDI operations manual, one amplifier
            saturation=65535 * u.adu,  # the limit of 16 bits
            linear=40_000 * u.adu,  # HDI Technical Note 8, dome flats of January 2015
        )
    ],
    frame_size=(4150, 4150),
    binning=binning,
    filter=filter,
    frame_type="OBSTYPE",
    frame_types={"BIAS": "bias", "FLAT": "flat", "OBJECT": "science"},
    recipe=Recipe(bias=True, dark=None),
    status="from documents only",
)
