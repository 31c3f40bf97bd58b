"""Determine which products of an earlier run are up to date, and why the others are remade."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import count, takewhile
from pathlib import Path, PurePosixPath

from .. import __version__
from ..camera.changes import concerning
from ..camera.frame_types import STEPS
from ..files.layout import MASTERS
from ..plan.plan import Input
from ..products.header import ascii_text
from ..products.saved import CheckedProduct, check_product
from ..reduce.inputs import omitted_steps
from ..reduce.keywords import setting_card
from .runstate import RunState

__all__ = ["still_holds"]

log = logging.getLogger(__name__)

_MASTER = "master "


def still_holds(
    state: RunState,
    name: str,
    path: Path,
    key: str,
    inputs: Sequence[Input],
    settings: object = None,
) -> CheckedProduct | None:
    """Return a product of an earlier run if it is up to date; if not, note why.

    Parameters
    ----------
    state : RunState
        ``state.made.anew`` gets the reason.
    name : str
        Of the product in the plan.
    path : Path
    key : str
        The hash of everything that determines it now.
    inputs : sequence of Input
        The raw frames from which it is to be made.
    settings : object
        For a science frame how cosmic rays are detected, or None.
    """
    if not path.exists():
        return None
    state.note_identity(name)
    if state.settings.overwrite:
        why = "as requested"
    else:
        # The bytes of a master affect other products, so all of them are checked.
        saved = check_product(path, pixels=name.startswith(f"{MASTERS}/"))
        if not saved.faults and saved.header.get("CPKEY") == key:
            return saved
        why = "; ".join(saved.faults or _changes(state, saved, inputs, settings))
    state.made.anew[name] = why
    log.info("%s is remade: %s", name, why)
    return None


def _changes(
    state: RunState, saved: CheckedProduct, inputs: Sequence[Input], settings: object
) -> list[str]:
    """Return what has changed since a product was made."""
    found = [
        *_program(state, saved, inputs[0]),
        *_frames(state, saved, inputs),
        *_masters(state, saved, inputs),
        *_steps(state, saved, inputs[0]),
        *_settings(state, saved, inputs[0]),
    ]
    switched_off = state.cosmic_rays_off(inputs[0].file)
    if switched_off != ("NOCRAYS" in saved.header):
        verb = "" if switched_off else "no longer "
        found.append(f"its settings changed: cosmic rays {verb}switched off on purpose")
    elif bool(settings) != ("CRAYS" in saved.header):
        found.append("its settings changed: cosmic rays")
    if found:
        return found
    if settings:
        return ["its settings changed: how cosmic rays are detected"]
    levels = any(any(state.measured[i.file].level_from_night) for i in inputs)
    if levels or "OSNIGHT1" in saved.header:
        return ["the nightly median of the overscan level changed"]
    return ["its settings changed"]


def _program(state: RunState, saved: CheckedProduct, chosen: Input) -> Iterator[str]:
    version, profile = saved.header.get("CPVERS"), state.profile(chosen)
    if version != __version__:
        yield f"it was made by version {version}, this is {__version__}"
    name = saved.header.get("CPPROF")
    if name != ascii_text(profile.name):
        yield f"the profile is {profile.name} instead of {name}"
    elif saved.header.get("CPHASH") != profile.hash[:16]:
        yield f"the profile {profile.name} changed"


def _frames(state: RunState, saved: CheckedProduct, inputs: Sequence[Input]) -> Iterator[str]:
    was = {file: sha for file, sha, role in saved.provenance if not role.startswith(_MASTER)}
    now = {ascii_text(i.file): state.measured[i.file].sha256 for i in inputs}
    kind = state.frames[inputs[0].file].type
    for verb, files in (
        ("changed", [f for f in now if f in was and was[f] != now[f]]),
        ("added", [f for f in now if f not in was]),
        ("removed", [f for f in was if f not in now]),
    ):
        helper = "" if verb == "changed" else "was "
        if len(files) == 1:
            yield f"its {kind} {files[0]} {helper}{verb}"
        elif files:
            helper = helper and "were "
            yield f"{len(files)} of its {kind} frames {helper}{verb} ({files[0]} … {files[-1]})"


def _masters(state: RunState, saved: CheckedProduct, inputs: Sequence[Input]) -> Iterator[str]:
    """Return which masters changed, replace another, or are new, by their names and bytes."""
    was = {f: (sha, role) for f, sha, role in saved.provenance if role.startswith(_MASTER)}
    used = {name for i in inputs for name in i.masters}
    now = {ascii_text(f): (sha, role) for f, sha, role in state.used(sorted(used))}
    for file, (sha, role) in now.items():
        stem = PurePosixPath(file).stem
        others = [f for f, (_, r) in was.items() if r == role and f not in now]
        if file in was and was[file][0] != sha:
            yield f"its {role} {stem} changed"
        elif file not in was and others:
            before = PurePosixPath(others[0]).stem
            if before == stem:
                # Of another folder of calibrations.
                stem, before = file, others[0]
            yield f"the {role} is {stem} instead of {before}"
        elif file not in was:
            yield f"the {role} {stem} is available now"


def _settings(state: RunState, saved: CheckedProduct, chosen: Input) -> Iterator[str]:
    """Compare the settings that were changed for the earlier run with those of this run."""
    kind = state.frames[chosen.file].type
    cards = (str(saved.header.get(f"CPSET{n}", "")) for n in count(1))
    was = dict(card.split("=", 1) for card in takewhile(lambda card: "=" in card, cards))
    texts = (setting_card(*change) for change in concerning(state.plan.changes, kind))
    now = dict(text.split("=", 1) for text in texts)
    for name in now:
        if was.get(name) != now[name]:
            before = was.get(name, "the recipe's value")
            yield f"its settings changed: {name}={now[name]} instead of {before}"
    for name in was:
        if name not in now:
            yield f"its settings changed: {name} from the recipe instead of {was[name]}"


def _steps(state: RunState, saved: CheckedProduct, chosen: Input) -> Iterator[str]:
    frame = state.frames[chosen.file]
    now = omitted_steps(state.plan.without, frame, frame.type)
    for step in STEPS:
        was = f"NO{step.upper()}" in saved.header
        if was != (step in now):
            yield f"its settings changed: {step} {'no longer ' if was else ''}omitted on purpose"
