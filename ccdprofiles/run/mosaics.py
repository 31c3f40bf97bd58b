"""Join the chips of an exposure in one file, once their products exist."""

from __future__ import annotations

import logging
from pathlib import Path

from .. import __version__
from ..errors import FrameRejected
from ..files.places import HeldFolders
from ..plan.plan import Mosaic
from ..products.mosaic import ChipProduct, write_mosaic
from ..products.product import product_key
from ..products.saved import check_product
from .runstate import RunState

__all__ = ["join_chips"]

log = logging.getLogger(__name__)


def join_chips(state: RunState, folders: HeldFolders) -> None:
    """Write the files of the plan that contain all chips of an exposure.

    A chip whose product could not be made is missing in its file, and is noted. A file of which a
    part of the chips was not selected stays as it is.

    Parameters
    ----------
    state : RunState
    folders : HeldFolders
        Those of the output.

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    products = state.made.products
    for mosaic in state.plan.joined:
        made = {chip: products[name] for chip, name in mosaic.parts if name in products}
        if not made:
            continue
        try:
            _join(state, folders, mosaic, made)
        except FrameRejected as error:
            state.fail(mosaic.name, error.code, str(error))
            state.made.notes.append(f"{mosaic.name} could not be made: {error}")
            continue
        if lacking := [chip for chip in mosaic.chips if chip not in made]:
            many = "s" if lacking[1:] else ""
            state.made.notes.append(
                f"{mosaic.name} is without chip{many} {', '.join(lacking)}; see the reason for each."
            )


def _join(state: RunState, folders: HeldFolders, mosaic: Mosaic, made: dict[str, Path]) -> None:
    """Write one file, unless it is up to date."""
    name, output = mosaic.name, state.settings.output
    chips = [ChipProduct.read(chip, path) for chip, path in made.items()]
    key = product_key({"version": __version__, "chips": [(c.chip, c.key) for c in chips]})
    path = output / name
    state.made.products[name] = path
    if path.exists():
        saved = check_product(path, pixels=False)
        if not state.settings.overwrite and not saved.faults and saved.header.get("CPKEY") == key:
            state.note_identity(name)
            state.made.kept.add(name)
            return
        changed = "a product of its chips changed"
        why = "as requested" if state.settings.overwrite else "; ".join(saved.faults) or changed
        state.made.anew[name] = why
        log.info("%s is remade: %s", name, why)
    try:
        write_mosaic(folders.make(name), chips, key)
    except FrameRejected:
        del state.made.products[name]
        raise
    state.note_identity(name)
    log.info("%s made of %d chips", name, len(chips), extra={"made": True})
