"""Mistakes of an observer or of a capture program that the pixels of a night show.

Each check compares numbers that were measured when the frames were read, so that it costs no time.
No frame is set aside, because each mistake has two possible causes; the note names the frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import gcd

import numpy as np

from ..camera.recipe import Flat
from ..pixels.measure import Measured
from ..pixels.quality import light_of
from ..plan.frames import Frame
from ..plan.plan import Input, Master
from ..plan.setup_reader import SetupReader
from .runstate import RunState

__all__ = ["mistakes"]

_DARKER = 30.0
"""Adu by which the median of a frame may be below its dark because of drift or noise."""
_SCATTERS = 5.0
"""The level of a frame may be below that of its darks by so many times the range of their levels."""
_LEAST = 3.0
"""Adu that no check of levels can be sure of."""
_NOISE = 1.25
"""The noise of frames with the same settings differs by less than this factor."""
_OTHERS = 2
"""The smallest number of other frames with which the first one after a change is compared."""
_FLAT_CORNER, _OVER = 0.97, 1.03
"""Corner over centre of a flat that shows a pedestal, and of a sky that was divided by too much."""
_BITS = (2, 4, 8, 16, 32, 64)
_LARGEST = 65535
_AVERAGED = 2.0
"""Noise that is not from light only lowers a measured gain; above this factor it was averaged."""
_COLOUR, _CHEQUERED = 0.1, 0.03
"""The range of the levels of even and odd rows and columns in units of their mean, and the difference
between the diagonals; what rows or columns alone explain is no pattern of colours."""


def mistakes(state: RunState, settings: Mapping[str, str]) -> list[str]:
    """Return a note on each mistake that the measured frames show.

    Parameters
    ----------
    state : RunState
    settings : mapping
        A label for each file; frames of a profile with the same settings share it.
    """
    return [
        *_darker_than_dark(state),
        *_first_after_change(state, settings),
        *_kept_pedestal(state),
        *_shifted_bits(state, settings),
        *_averaged_in_software(state),
        *_unnoticed_colours(state),
    ]


def _and_more(found: Sequence) -> str:
    return f" and {len(found) - 1} more" if len(found) > 1 else ""


def _members(state: RunState, masters: Mapping[str, Master], name: str | None) -> list[Measured]:
    """Return the measured frames of a master; none of one of another night."""
    master = None if name is None else masters.get(name)
    files = [i.file for i in master.inputs] if master else []
    return [state.measured[file] for file in files if file in state.measured]


def _masters(state: RunState) -> dict[str, Master]:
    return {m.name: m for m in state.plan.masters}


def _levels(measured: Iterable[Measured], which: str) -> np.ndarray:
    """Return a level of frames above their overscan, of shape (frames, amplifiers)."""
    return np.array([light_of(getattr(m.quality, which), m.level) for m in measured])


def _darker_than_dark(state: RunState) -> Iterator[str]:
    """Note science frames whose level is below that of their bias and dark.

    Above a dark of the same offset and mode the median, and that of the darker half of the pixels,
    are not negative, but for the drift from frame to frame, which the range of the darks shows.
    """
    masters = _masters(state)
    known = {name: _members(state, masters, name) for name in masters}
    odd: dict[tuple[str | None, str], list[tuple[str, float, float]]] = {}
    for product in state.plan.products:
        chosen = product.input
        darks = known.get(chosen.dark or "")
        biases = known.get(chosen.master_bias or "", [])
        if chosen.file not in state.measured or not darks or (chosen.master_bias and not biases):
            continue
        depth, error = _depth(state.measured[chosen.file], darks, biases, chosen)
        if depth > error and chosen.dark:
            odd.setdefault((chosen.master_bias, chosen.dark), []).append(
                (chosen.file, depth, error)
            )
    for (_, name), found in odd.items():
        file, depth, error = max(found, key=lambda f: f[1])
        first = min(i.file for i in masters[name].inputs if i.file in state.measured)
        yield (
            f"{file}{_and_more(found)}: its sky is {depth:.4g} adu below {name} (error {error:.2g} "
            f"adu; made of {first} and others), but light is never negative; check the darks for "
            "light, and that they were read out with the offset and mode of this frame."
        )


def _depth(
    light: Measured, darks: Sequence[Measured], biases: Sequence[Measured], chosen: Input
) -> tuple[float, float]:
    """Return by how much a frame is below its dark in adu, and what drift and noise explain."""
    constant = chosen.bias if isinstance(chosen.bias, float) else 0.0
    found = []
    for which in ("level", "quarter"):
        own, of_darks = _levels([light], which)[0], _levels(darks, which)
        zero = np.median(_levels(biases, which), axis=0) if biases else np.full(len(own), constant)
        net = own - zero - chosen.dark_scale * (np.median(of_darks, axis=0) - zero)
        drift = np.ptp(of_darks, axis=0)
        if biases:
            drift = np.maximum(drift, np.ptp(_levels(biases, which), axis=0))
        found.append((np.nan_to_num(-net), drift))
    (below, _), (below_half, drift) = found
    scatter = np.nan_to_num(light.quality.scatter)
    rough = np.maximum(_DARKER, scatter)
    if (below > rough).any():
        place = int(np.argmax(below - rough))
        return float(below[place]), float(rough[place])
    # Only darks that were not scaled, and of which several show their drift, allow more precision.
    if len(darks) < 3 or chosen.dark_scale != 1:
        return 0.0, 0.0
    fine = np.maximum(_LEAST, _SCATTERS * np.nan_to_num(drift))
    # A sky as dark as this must not have more noise than its darks, or its lower half is darker.
    of_dark = np.median([m.quality.scatter for m in darks], axis=0)
    fine = fine + np.nan_to_num(np.maximum(0, np.array(light.quality.scatter) - of_dark))
    both = np.minimum(below, below_half)
    place = int(np.argmax(both - fine))
    return float(both[place]), float(fine[place])


def _first_after_change(state: RunState, settings: Mapping[str, str]) -> Iterator[str]:
    """Note the first frame after a change of settings whose level or noise is not that of the others.

    Some cameras read the first frame out with the settings that were valid before.
    """
    ordered: dict[tuple, list[Frame]] = {}
    for file in state.measured:
        frame = state.frames[file]
        if frame.date and not frame.origin:
            key = frame.profile.name, frame.amplifiers.shape
            ordered.setdefault(key, []).append(frame)
    for frames in ordered.values():
        frames.sort(key=lambda f: (f.date or "", f.file))
        if len({settings[f.file] for f in frames}) < 2:
            continue
        for before, frame in pairwise(frames):
            if settings[before.file] != settings[frame.file] and frame.type != "flat":
                others = [f for f in frames if f is not frame and _alike(f, frame, settings)]
                yield from _apart(state, before, frame, others)


def _alike(one: Frame, other: Frame, settings: Mapping[str, str]) -> bool:
    """Return True if two frames should have the same level and noise."""
    if (one.type, settings[one.file]) != (other.type, settings[other.file]):
        return False
    shared = ("exposure",) if one.type in ("bias", "dark") else ("exposure", "filter", "object")
    return all(getattr(one, field) == getattr(other, field) for field in shared)


def _apart(state: RunState, before: Frame, frame: Frame, others: Sequence[Frame]) -> Iterator[str]:
    """Note a frame whose level or noise differs from that of all others."""
    if len(others) < _OTHERS:
        return
    own = state.measured[frame.file].quality
    rest = [state.measured[f.file].quality for f in others]
    levels, noises = np.array([q.dark for q in rest]), np.array([q.scatter for q in rest])
    usual, noise = np.median(levels, axis=0), np.median(noises, axis=0)
    limit = np.maximum(_DARKER, np.maximum(_SCATTERS * np.ptp(levels, axis=0), 3 * noise))
    far = np.abs(np.array(own.dark) - usual) > limit
    ratio = np.array(own.scatter) / np.where(noise > 0, noise, np.nan)
    spread = noises.max(axis=0) / np.maximum(noises.min(axis=0), 1e-9)
    odd = (np.maximum(ratio, 1 / ratio) > _NOISE * spread) & (ratio > 0)
    place = int(np.argmax(far | odd))
    if not (far | odd)[place]:
        return
    reader = SetupReader(frame.profile)
    change = _changes(reader, before, frame)
    yield (
        f"{frame.file}: the first frame after {before.file} with other settings{change}: its darkest "
        f"pixels have {own.dark[place]:.5g} adu and its noise is {own.scatter[place]:.4g} adu, but "
        f"{usual[place]:.5g} adu and {noise[place]:.4g} adu are those of {others[0].file} and others "
        "with the same cards; it may have been read out with the settings before; compare it, and "
        "reject it."
    )


def _changes(reader: SetupReader, before: Frame, frame: Frame) -> str:
    old, new = reader.read(before.header), reader.read(frame.header)
    differ = [
        f"{card} {a} to {b}"
        for card, a, b in zip(new.cards, old.values, new.values, strict=True)
        if a != b and a is not None and b is not None and "TEMP" not in card
    ]
    return f" ({', '.join(differ[:2])})" if differ else ""


def _kept_pedestal(state: RunState) -> Iterator[str]:
    """Note science frames whose corners, darker than the centre, become brighter by the flat.

    A pedestal that was not removed is not vignetted, so that the flat corrects it too much; a sky
    with a gradient is brighter in some corners only.
    """
    masters = _masters(state)
    zones = {
        name: np.median([m.quality.zones for m in members], axis=0)
        for name in masters
        if (members := _members(state, masters, name))
    }
    odd: dict[tuple[str, str], list[tuple[str, float, float]]] = {}
    for product in state.plan.products:
        chosen = product.input
        flat = masters.get(chosen.flat or "")
        if chosen.file not in state.measured or flat is None or flat.name not in zones:
            continue
        frame = state.frames[chosen.file]
        # The median of a few pixels of several colours may lie in the gap between two of them.
        no_zones = frame.amplifiers.has_overscan or frame.mosaic is not None
        if no_zones or not isinstance(frame.recipe.flat, Flat):
            continue
        sky = _without_masters(state.measured[chosen.file].quality.zones, chosen, zones)
        light = _without_masters(zones[flat.name], flat.inputs[0], zones)
        if sky is None or light is None or not (sky[4] > 0 and light[4] > 0):
            continue
        before, response = sky[:4] / sky[4], light[:4] / light[4]
        after = before / np.maximum(response, 1e-6)
        shaded = (response < _FLAT_CORNER) & (before < 1)
        if shaded.all() and (after > _OVER).all():
            pair = (chosen.file, float(before.mean()), float(after.mean()))
            odd.setdefault((chosen.dark or str(chosen.bias or ""), flat.name), []).append(pair)
    for (dark, name), found in odd.items():
        file, before_flat, after_flat = max(found, key=lambda f: f[2])
        off = f"{dark} was" if dark else "bias and dark were"
        yield (
            f"{file}{_and_more(found)}: its corners have {before_flat:.3g} of the centre's sky once {off} "
            f"subtracted, but {after_flat:.3g} once it is divided by {name}, which corrects a pedestal "
            "too much; check that its dark or bias has the same offset and mode as this frame."
        )


def _without_masters(
    zones: Sequence[float] | np.ndarray, chosen: Input, known: Mapping[str, np.ndarray]
) -> np.ndarray | None:
    """Return the corners and the centre without bias and dark; None if one is not known."""
    bias: np.ndarray | float = chosen.bias if isinstance(chosen.bias, float) else 0.0
    if chosen.master_bias is not None:
        if chosen.master_bias not in known:
            return None
        bias = known[chosen.master_bias]
    light = np.array(zones) - bias
    if chosen.dark is not None:
        if chosen.dark not in known:
            return None
        light = light - chosen.dark_scale * (known[chosen.dark] - bias)
    return light if chosen.dark is not None or chosen.bias is not None else None


def _shifted_bits(state: RunState, settings: Mapping[str, str]) -> Iterator[str]:
    """Note cameras whose values are all multiples of a power of two, as of 12 bits in 16."""
    steps: dict[tuple[str, str], list[str]] = {}
    common: dict[tuple[str, str], int] = {}
    for file, measured in sorted(state.measured.items()):
        frame = state.frames[file]
        key = frame.profile.name, settings[file]
        # In few values of a bias a divisor may be chance, and a frame of one step shows nothing.
        if frame.raw.images[0].bitpix == 16:
            steps.setdefault(key, []).append(file)
            common[key] = gcd(common.get(key, 0), measured.quality.step)
    for key, files in steps.items():
        step = common[key]
        if step in _BITS:
            top = _LARGEST + 1 - step
            bits = 16 - step.bit_length() + 1
            yield (
                f"{files[0]}{_and_more(files)}: all values are multiples of {step}, as of {bits} bits "
                f"stored in 16; the largest is then {top} adu, and {_about_saturation(state, files[0], top)}"
            )


def _about_saturation(state: RunState, file: str, top: int) -> str:
    given = [r.saturation for r in state.frames[file].amplifiers.readouts]
    name = state.frames[file].profile.name
    if any(level is not None and level > top for level in given):
        return f"no pixel reaches the saturation of {name}; write saturation={top} * u.adu."
    if None in given:
        return f"it counts as saturated in the checks, as {name} has no saturation; add it."
    return f"the saturation of {name} is below it."


def _averaged_in_software(state: RunState) -> Iterator[str]:
    """Note binned flats with less noise than their gain allows, because pixels were averaged."""
    masters = _masters(state)
    for master in masters.values():
        if master.type != "flat" or master.binning == (1, 1):
            continue
        odd = []
        for chosen in master.inputs:
            measured = state.measured.get(chosen.file)
            frame = state.frames[chosen.file]
            if measured is None or frame.mosaic is not None:
                continue
            dark = _members(state, masters, chosen.dark) or _members(
                state, masters, chosen.master_bias
            )
            constant = chosen.bias if isinstance(chosen.bias, float) else None
            if not dark and constant is None and not frame.amplifiers.has_overscan:
                continue
            zero = np.median(_levels(dark, "level"), axis=0) if dark else (constant or 0.0)
            noise = np.median([d.quality.scatter for d in dark], axis=0) if dark else 0.0
            light = _levels([measured], "level")[0] - zero
            of_light = np.array(measured.quality.scatter) ** 2 - np.square(noise)
            gains = np.array([r.gain or np.nan for r in frame.amplifiers.readouts])
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(of_light > 0, light / of_light, np.nan) / gains
            if light.min() > 1000 and np.isfinite(ratio).all() and (ratio > _AVERAGED).all():
                odd.append((chosen.file, float(np.median(ratio * gains)), float(np.median(gains))))
        if odd and len(odd) == len([i for i in master.inputs if i.file in state.measured]):
            file, measured_gain, gain = odd[0]
            x, y = master.binning
            yield (
                f"{file}{_and_more(odd)}: the noise of these flats corresponds to a gain of "
                f"{measured_gain:.3g} e/adu, but that of the profile or header is {gain:.3g}; pixels "
                f"binned {x}x{y} were probably averaged in software; the uncertainty is too large; "
                "write the gain of binned frames into the profile."
            )


def _unnoticed_colours(state: RunState) -> Iterator[str]:
    """Note flats of a monochrome camera that show a pattern of colours, and patterns read wrongly."""
    for master in state.plan.masters:
        files = [i.file for i in master.inputs if i.file in state.measured]
        if master.type != "flat" or not files:
            continue
        frame = state.frames[files[0]]
        if not isinstance(frame.recipe.flat, Flat):
            continue
        four = np.median([state.measured[f].quality.phases for f in files], axis=0)
        mean = four.mean(axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = four / mean
        if not np.isfinite(share).all():
            continue
        chequered = np.abs(share[:, 0] + share[:, 3] - share[:, 1] - share[:, 2]) / 2
        texts = ", ".join(f"{level:.4g}" for level in four[0])
        if frame.mosaic is None:
            if (np.ptp(share, axis=1) > _COLOUR).all() and (chequered > _CHEQUERED).all():
                yield (
                    f"{master.name} ({files[0]}{_and_more(files)}): the pixels in even and odd rows "
                    f"and columns have four levels ({texts} adu), as of a colour camera taken for a "
                    "monochrome one; write BAYERPAT into the headers, as its flats change the colours "
                    "otherwise."
                )
        elif sorted(frame.mosaic.pattern) == ["B", "G", "G", "R"]:
            yield from _misread_pattern(master.name, files, frame, share[0], texts)


def _misread_pattern(
    name: str, files: Sequence[str], frame: Frame, share: np.ndarray, texts: str
) -> Iterator[str]:
    """Note a pattern whose two greens differ, while the two others agree."""
    mosaic, readout = frame.mosaic, frame.amplifiers.readouts[0]
    if mosaic is None:
        return
    down, across = (s.start for s in readout.place.slices())
    here = [mosaic.pattern[2 * ((i + down) % 2) + (j + across) % 2] for i in (0, 1) for j in (0, 1)]
    greens = [s for s, c in zip(share, here, strict=True) if c == "G"]
    others = [s for s, c in zip(share, here, strict=True) if c != "G"]
    if abs(greens[0] - greens[1]) > _COLOUR > 2 * abs(others[0] - others[1]):
        yield (
            f"{name} ({files[0]}{_and_more(files)}): its two green levels differ, and red and blue "
            f"agree ({texts} adu in even and odd rows and columns), so that the pattern "
            f"{mosaic.pattern} is probably shifted by a row or column; check ROWORDER, XBAYROFF and "
            "YBAYROFF."
        )
