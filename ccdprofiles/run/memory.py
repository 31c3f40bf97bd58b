"""The record of a large night for the next run, so that it need not be read again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.layout import LOG, PRODUCTS, TABLES
from ..files.places import seen_from
from ..plan.request import NightRequest
from ..plan.scan import files_of
from .state import Listing, Outcome, listing_of, outputs_of, recall, remember, request_of

# A plan must not import modules that work on pixels.
if TYPE_CHECKING:
    from ..reduce.made import Made

__all__ = ["Memory"]


@dataclass(frozen=True)
class Memory:
    """What determined a run, by which the next one recognises that nothing has changed.

    Parameters
    ----------
    output : Path
    key : str or None
        A hash of all options; None for a small night, which is read again.
    raw : Listing or None
        The files of the night before any of them is read.
    """

    output: Path
    key: str | None
    raw: Listing | None

    @classmethod
    def of(
        cls,
        request: NightRequest,
        output: Path,
        leave_out: Sequence[Path],
        asked: Mapping[str, object],
    ) -> Memory:
        """List the files of a night; if it is large, hash the options that change a result."""
        folders = (request.folder, *request.calibrations)
        raw = listing_of(
            (path, f"{number} {file}")
            for number, folder in enumerate(folders)
            for path, file in files_of(folder, leave_out)
        )
        if raw is None or not raw.large:
            return cls(output, None, raw)
        places = {
            "names": [folder.resolve().name for folder in folders],
            "seen": [seen_from(output, folder) for folder in folders],
            "here": os.getcwd(),
        }
        profiles = [request.forced, *request.registry.profiles]
        return cls(output, request_of(profiles, {**asked, **places}), raw)

    def recall(self) -> Outcome | None:
        """Return the outcome of the last run if nothing has changed since."""
        return recall(self.output, self.key, self.raw, partial(_left, self.output))

    def remember(self, made: Made, ok: bool, summary: str, codes: Iterable[str]) -> None:
        """Record that the next run need not read this night again if nothing changes.

        ``summary`` is what it then reports; ``codes`` are those of all faults.
        """
        # An `Outcome` does not contain products that were not selected.
        if self.key is None or made.earlier:
            return
        output = self.output
        present = made.masters | made.products
        outcome = Outcome(
            ok=ok,
            summary=summary,
            paths={
                n: n if path == output / n else os.path.relpath(path, output)
                for n, path in present.items()
            },
            masters=len(made.masters),
            failed=made.failed,
            overruled=made.overruled,
            notes=made.notes,
        )
        seen = {n: made.seen.get(n) for n, path in present.items() if path == output / n}
        remember(output, self.key, self.raw, partial(_left, output), seen, outcome, codes)


def _left(output: Path) -> Listing | None:
    """List what runs have left in the output."""
    return outputs_of(output, PRODUCTS, (*TABLES, LOG))
