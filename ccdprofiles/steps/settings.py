"""The settings of frames and masters, compared by the rules of the plan of a night."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from astropy.io import fits

from ..camera.profile import Profile
from ..errors import PlanError
from ..files.cards import Cards
from ..files.raw import RawFile
from ..plan.candidates import Candidate, Settings, match_of, temperature_tolerance
from ..plan.frames import Frame
from ..plan.groups import groups_of, split_by_settings
from ..plan.plan import Master as PlannedMaster
from ..plan.setup_cards import CHIP, SETUP, FrameSetup, mean_setup
from ..plan.setup_reader import SetupReader
from .pipeline import cards_of
from .tracked import Master, Origin

__all__ = ["check_group", "current", "setting_notes"]

_OWN = re.compile(
    r"CP[A-Z]+\d*|CALSTAT|HAS(PED|DARK)|OVERSCAN|OS(LEV|RN|NIGHT|LIT|SEC)\d+|TRIM\d*|"
    r"CCDSEC|DETSEC\d+|(ZERO|DARK|FLAT)COR|(BIAS|DARK|FLAT)SHA|DARKSCAL|FLATNORM|NO(BIAS|DARK|FLAT)|NCOMBINE"
)
"""Cards that this package writes, which are not settings of a camera."""


def current(origin: Origin, meta: fits.Header) -> Origin:
    """Return the origin of a frame with the content of its present header.

    Raises
    ------
    FrameRejected
        If its exposure is not valid.
    """
    frame, header = origin.frame, cards_of(meta)
    profile: Profile = frame.profile
    present = frame.with_(
        raw=RawFile(Path(frame.file), 0, header, ()),
        exposure=profile.exposure_of(header),
        filter=profile.text_of("filter", header),
        date=profile.text_of("date", header),
    )
    return replace(origin, frame=present)


def setting_notes(frame: Frame, masters: Iterable[Master]) -> list[str]:
    """Compare the settings of masters with those of a frame.

    Parameters
    ----------
    frame : Frame
        From `current`.
    masters : iterable of Master

    Returns
    -------
    list of str
        Differences that a night notes.

    Raises
    ------
    PlanError
        If a bias or dark was taken with settings that make it wrong for the frame.
    """
    notes = []
    for master in masters:
        if master.level is not None:  # a constant has no settings
            continue
        setup = SetupReader(frame.profile).read(cards_of(master.meta), master=True)
        planned = PlannedMaster(
            master.name, master.type, (), frame.profile.name, frame.amplifier_key, frame.binning
        )
        settings = Settings()
        own = settings.of(frame)
        compared = settings.compared(Candidate(planned, setup), frame)
        flat = master.type == "flat"
        if compared.blocked and not flat:
            raise _of_other_settings(frame, master, (setup, own), compared.blocked)
        for places, end in (
            (compared.differ, "it was used nevertheless"),
            (compared.lack, "it is not known whether they agree"),
        ):
            noted = [p for p in places if SETUP[p].of_flat or not flat]
            if noted:
                notes.append(
                    f"{master.name} was taken{setup.phrase(noted)}, and the frame{own.phrase(noted)}; "
                    f"{end}"
                )
    return notes


def _of_other_settings(
    frame: Frame, master: Master, setups: tuple[FrameSetup, FrameSetup], places: Sequence[int]
) -> PlanError:
    its, own = (setup.phrase(places) for setup in setups)
    allowed = (
        f" (the recipe allows {temperature_tolerance(frame, master.type):g} °C)"
        if CHIP in places
        else ""
    )
    return PlanError(
        f"{master.name} was taken{its}, but the frame{own}{allowed}; use a {master.type} with the "
        "settings of the frame, or add a card that does not matter to ignore_cards= of the profile."
    )


def check_group(
    sources: Sequence[Origin],
) -> tuple[list[str], tuple[tuple[str, float | str], ...]]:
    """Refuse frames that a night would not combine into one master.

    Parameters
    ----------
    sources : sequence of Origin
        From `current`, of calibration frames of one camera and type.

    Returns
    -------
    list of str
        What a night notes about them.
    tuple of (card, value)
        The settings of their master.

    Raises
    ------
    PlanError
        If they differ in filter, exposure, settings, a card of ``match`` or their recipe.
    """
    frames = [_numbered(origin.frame, n) for n, origin in enumerate(sources, 1)]
    kind = frames[0].type
    groups = groups_of(kind, frames)
    if len(groups) > 1:
        _refuse_groups(kind, frames, groups[0][0], groups[1][0])
    settings = Settings()
    split = split_by_settings(kind, frames, settings)
    if split.refused:
        raise PlanError(split.refused[0].text)
    if len(split.parts) > 1:
        one, other = (part.frames[0].file for part in split.parts[:2])
        raise PlanError(
            f"{one} and {other} do not belong to one master: {split.notes[-1]}; combine those of "
            "each setting by themselves."
        )
    notes = [*split.notes, *split.parts[0].notes]
    return notes, mean_setup(settings.of_all(frames)).known


def _numbered(frame: Frame, number: int) -> Frame:
    """Return a frame whose name is unique in its stack, with the cards of its camera only."""
    file = f"frame {number}" + ("" if frame.file == "frame" else f" ({frame.file})")
    block = frame.header.block
    cards = [block[n : n + 80] for n in range(0, len(block), 80)]
    kept = [card for card in cards if not _OWN.fullmatch(card[:8].decode("ascii").strip())]
    return frame.with_(file=file, raw=RawFile(Path(frame.file), 0, Cards(b"".join(kept)), ()))


def _refuse_groups(kind: str, frames: Sequence[Frame], one: Frame, other: Frame) -> None:
    """Refuse frames of which a night makes two masters."""
    exposures = [f.exposure for f in frames if f.exposure is not None]
    alike = one.filter == other.filter and match_of(kind, one) == match_of(kind, other)
    if kind == "dark" and alike and max(exposures) > min(exposures):
        raise PlanError(
            f"the exposures of the darks are {min(exposures):g} s to {max(exposures):g} s; combine "
            "those of one exposure."
        )
    pairs = [("the filter", one.filter, other.filter)]
    own = zip(match_of(kind, one), match_of(kind, other), strict=True)
    pairs += [(card, value, its) for (card, value), (_, its) in own]
    texts = [
        f"{what} is {value!r} in {one.file} and {its!r} in {other.file}"
        for what, value, its in pairs
        if value != its
    ]
    raise PlanError(
        f"{one.file} and {other.file} do not belong to one master: "
        f"{'; '.join(texts) or 'their recipes differ'}; combine {kind} frames that were taken in the "
        "same way."
    )
