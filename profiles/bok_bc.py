"""B&C, the Boller & Chivens long-slit spectrograph at the Bok 90-inch (2.3 m), Kitt Peak.

An STA chip of 1200 x 800 pixels, one amplifier. The program of the camera, azcam, writes the
sections into the header. The wavelength runs along the rows.

Sources: mplesser/azcam-bcspec (server.py and the header template: 1.5 electrons per adu, 3.0
electrons), mplesser/azcam (image_headers.py, exposure.py: "zero", "flat", "comp", "object"),
and PypeIt's bok_bc, which agrees on the numbers and takes no overscan. No header was
available. Many observers type "Dome Flat" into OBJECT and leave IMAGETYP as it is: frames
are then typed by OBJECT, as PypeIt does.

Not known: where it ceases to be linear.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Card, Profile, Recipe, SpectralFlat


def frame_type(header):
    """COMPLAMP is there only if a lamp is on; OBJECT tells biases and dome flats."""
    word = str(header.get("IMAGETYP", "")).strip().lower()
    if header.get("COMPLAMP"):
        return "comp"
    if word == "object":
        name = str(header.get("OBJECT", "")).lower()
        word = "zero" if "bias" in name else "flat" if "dome flat" in name else word
    return word or None


def date(header):
    """DATE-OBS holds the day only, and UT the time of day."""
    day, time = header.get("DATE-OBS"), header.get("UT")
    return f"{day}T{time}" if day and time and "T" not in day else day


profile = Profile(
    instrument="Bok B&C Spectrograph",
    telescope="Bok 90-inch, Steward Observatory",
    amplifiers=[
        Amplifier(
            data="DATASEC",  # azcam: 1200 x 800 unbinned
            overscan="BIASSEC",  # azcam: 20 columns, binned or not
            gain=1.5 * u.electron / u.adu,  # azcam-bcspec, PypeIt
            read_noise=3.0 * u.electron,  # azcam-bcspec, PypeIt
            saturation=65535 * u.adu,  # PypeIt: 16 bits
        )
    ],
    binning=("CCDBIN1", "CCDBIN2"),
    overscan_bins=False,
    filter="INSFILTE",
    date=date,
    temperature="CAMTEMP",
    frame_type=frame_type,
    match={"flat": ("DISPERSE", Card("TILTPOS", relative=0.001), "APERTURE")},  # as PypeIt
    recipe=Recipe(
        bias=True,
        dark=None,  # 5.4 electrons an hour: azcam-bcspec
        flat=SpectralFlat(dispersion="x"),
        electrons=True,
    ),
    status="from documents only",
)
