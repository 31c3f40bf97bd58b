"""ZWO cameras: a family, whatever program takes the frames (NINA, SGP, APT, ASIAIR, INDI, SharpCap).

One camera has several names: "ZWO ASI2600MM Pro" by its ASCOM or native driver, "ZWO CCD
ASI2600MM Pro" by INDI. Most have no useful overscan, no shutter, and a bias that differs from that of
longer exposures; every frame is calibrated with darks of its own exposure, flats with
dark-flats. Gain, offset, read mode and temperature are always compared.

GAIN is a setting (0, 100, 120 …), not electrons per adu. EGAIN cannot be trusted for the
whole family: for one camera at one setting, an ASI294MC Pro at GAIN = 120, NINA 1.10 and APT
3.54 write 1.002, and SGP 3.1 writes 3.99. The camera has 14 bits, which the driver multiplies by 4
to fill 16; 1.002 is per count of the camera, and 3.99 is about its value in adu per electron
of the file. So only cameras of 16 bits, whose counts are those of the file, use EGAIN here.

SharpCap writes no type of frame; its frames are recognised by their folders, "darks", "flats" ….

Not known: gain and read noise of each model and setting, and where it ceases to be linear. For your
camera, make a profile from this one: ``zwo.but(instrument="ZWO ASI…", amplifiers=[…])``.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Card, Profile, Recipe, Setting

zwo = Profile(
    instrument=("ZWO *", "ASI???M*", "ASI????M*"),
    telescope="any",
    amplifiers=[
        Amplifier(
            data="[:, :]",  # the whole frame
            overscan=None,  # none in the files
            gain=None,  # differs with model and setting, see above
            read_noise=None,  # as the gain
            # Cameras of 12 bits end at 65504 (an ASI290MM, bbs.zwoastro.com, d/8396), those of
            # 14 and 16 bits above it.
            saturation=65504 * u.adu,
        )
    ],
    binning=("XBINNING", "YBINNING"),
    exposure=("EXPTIME", "EXPOSURE"),  # SGP writes EXPOSURE only
    file_types={  # SharpCap; the deepest folder of such a name decides
        **dict.fromkeys(("*/dark/*", "*/darks/*", "*/flat?dark/*", "*/flat?darks/*"), "dark"),
        **dict.fromkeys(
            ("*/dark?flat/*", "*/dark?flats/*", "*/darkflat/*", "*/darkflats/*"), "dark"
        ),
        **dict.fromkeys(("*/bias/*", "*/biases/*"), "bias"),
        **dict.fromkeys(("*/flat/*", "*/flats/*"), "flat"),
        **dict.fromkeys(("*/light/*", "*/lights/*"), "science"),
    },
    # A choice, not a measured limit.
    match={"flat": (Card("ROTATOR", "ROTATANG", within=2 * u.deg, absent="agrees"),)},
    # The same: enough for programs that write the exposure to the millisecond.
    recipe=Recipe(bias=False, dark="match", exposure_tolerance=(0.05 * u.s, 0.001)),
    status="headers seen",
)

asi2600 = zwo.but(
    instrument=(
        *("ZWO ASI2600MM Pro", "ZWO ASI2600MC Pro", "ASI2600MM", "ASI2600MC"),
        *("ZWO CCD ASI2600MM Pro", "ZWO CCD ASI2600MC Pro"),  # INDI
        *("ZWO ASI2600MC Pro(2600)", "ZWO CCD ASI2600MC Pro(2600)"),
    ),
    amplifiers=[
        Amplifier(
            data="[:, :]",  # as above
            overscan=None,  # as above
            # 50000 electrons in 65536 adu at GAIN = 0: bbs.zwoastro.com, d/10979
            gain=Setting("GAIN", {0: 0.76}, unit=u.electron / u.adu, else_card="EGAIN"),
            read_noise=None,  # only plots are published
            saturation=65535 * u.adu,  # 16 bits
        )
    ],
    status="from documents only",
)
