"""Sinistro, the cameras fa01 to fa20 of the 1 m telescopes of Las Cumbres Observatory.

Four amplifiers in four extensions, all named SCI, whose sections, gains and positions are in
their own headers. DETSEC is written backwards where an amplifier reads from the far end; which
amplifier reads which corner differs from camera to camera, so nothing is assumed here. Frames of
the mode "central_2k_2x2" are the middle of the chip, binned 2 by 2, and need calibrations
of the same mode. In a raw frame of fa05 of 2021 the stars continue across the borders of the four, the
sky agrees within 2 %, and the overscan scatters by the 7 electrons of RDNOISE.

The primary header contains sections and a gain that are not valid (GAIN = 0, TRIMSEC =
'[1:1024,1:1024]'); those of the extensions count. RDNOISE, SATURATE and MAXLIN are in the
primary header only. SATURATE = 0 means that it is not known.

Bright stars appear as faint ghosts in the other quadrants: the header has the fractions in
CRSTLK12 … CRSTLK43, of 5 to 14 in 10000. They are not removed by this profile.

Not known: the layout of frames of the older cameras, fl01 to fl16, which are cubes and are refused.
"""

from astropy import units as u

from ccdprofiles import Amplifier, Profile, Recipe, Setting


def binning(header):
    """CCDSUM holds both numbers in one text, columns first."""
    return str(header.get("CCDSUM", "1 1")).split()


def level(card):
    """Return the level in a card of the header, in which 0 stands for an unknown one."""
    return Setting(card, {0: None}, unit=u.adu, else_card=card)


def quadrant(number):
    """Return one of the four amplifiers; its numbers are those of its header."""
    return Amplifier(
        name=f"Q{number}",
        extension=number,
        data="DATASEC",  # in the frame
        overscan="BIASSEC",  # in the frame
        detector="DETSEC",  # on the chip, unbinned
        gain="GAIN",  # of the extension
        read_noise="RDNOISE",  # of the primary header, as the two below
        saturation=level("SATURATE"),  # see above
        linear=level("MAXLIN"),  # see above
    )


profile = Profile(
    instrument="fa??",
    where={"ORIGIN": "LCOGT"},
    telescope="Las Cumbres Observatory 1 m",
    amplifiers=[quadrant(number) for number in (1, 2, 3, 4)],
    binning=binning,
    temperature="CCDATEMP",
    frame_type="OBSTYPE",
    match=("CONFMODE",),
    # As banzai: one level of the overscan for each amplifier, biases, darks scaled by the exposure,
    # electrons because the gains differ.
    recipe=Recipe(overscan="level", bias=True, dark="scale", electrons=True),
    status="headers seen",
)
