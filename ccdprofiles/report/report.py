"""The report of a night: its table, its summary, and the files that contain them."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from astropy.table import MaskedColumn, Table

from ..errors import OutputError
from ..files.layout import NIGHT, PAGE, PLAN
from ..files.places import Places
from ..plan.frames import IGNORED, NOT_ASKED, NOT_CALIBRATED, NOT_NEEDED, SET_ASIDE, USED, Frame
from ..plan.plan import Plan
from ..plan.reason import Reason
from ..plan.wording import grouped
from ..products.product import sync_folders, write_text
from ..reduce.made import Made
from .page import page_of
from .table import Verdict, night_table, verdicts_of

__all__ = ["Report"]


@dataclass(frozen=True, eq=False)
class Report:
    """The result of a run.

    Parameters
    ----------
    frames : tuple of Frame
    plan : Plan
    made : Made
    folders : mapping, optional
        The folders of the raw frames, relative to the output, by the first part of their names.
    """

    frames: tuple[Frame, ...]
    plan: Plan
    made: Made
    folders: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdict on each frame, in their order."""
        return verdicts_of(self.frames, self.plan, self.made)

    @cached_property
    def table(self) -> Table:
        """One row for each file of the night, with its verdict and the reason."""
        table = night_table(self.frames, self.verdicts)
        table.meta["folders"] = dict(self.folders)
        known = {**self.made.products, **self.made.earlier}
        if joined := [m.name for m in self.plan.mosaics if m.name in known]:
            table.meta["mosaics"] = joined
        return table

    @property
    def ok(self) -> bool:
        """True if everything was made, and no frame was set aside except by hand."""
        pairs = zip(self.frames, self.verdicts, strict=True)
        bad = {f.file for f, v in pairs if v.verdict in (NOT_CALIBRATED, SET_ASIDE)}
        masters = [m.name for m in self.plan.masters] + [m.name for m in self.plan.joined]
        return bad <= set(self.plan.reject) and not any(n in self.made.failed for n in masters)

    @property
    def summary(self) -> str:
        """A few lines: what was made, what was not, and why."""
        return self._summary(self.made.kept, self.made.anew)

    @property
    def summary_of_next(self) -> str:
        """The summary of a second run, for which everything is up to date."""
        return self._summary(self._present, {})

    @property
    def counts(self) -> list[str]:
        """The numbers of files and products, whichever run made them."""
        return self._counts((), {})

    @property
    def codes(self) -> list[str]:
        """The codes of all faults, of frames and of products."""
        return [*self.table["code"].tolist(), *(why.code for why in self.made.failed.values())]

    @property
    def notes(self) -> list[str]:
        """What was omitted on purpose, and what is unusual although it was used."""
        return [*self.plan.on_purpose, *self.plan.notes, *self.made.notes]

    def write(self, places: Places, name: str) -> None:
        """Write ``night.ecsv``, ``plan.json`` and ``report/index.html``.

        Parameters
        ----------
        places : Places
            Of the output.
        name : str
            That of the night, for the title.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        stream = io.StringIO()
        _without_needless_masks(self.table).write(stream, format="ascii.ecsv")
        night, page = places.path(NIGHT), places.path(PAGE)
        write_text(night, stream.getvalue())
        write_text(places.path(PLAN), self.plan.to_json() + "\n")
        try:
            # Only this folder: an output that was removed must not be created again without its
            # lock.
            page.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError.of(page.parent, error) from error
        text = page_of(
            name, self.table, self.plan, self.made, ok=self.ok, counts=self.counts, notes=self.notes
        )
        write_text(page, text)
        sync_folders([night, page])

    @property
    def _present(self) -> dict:
        return self.made.masters | self.made.products

    def _summary(self, kept: Collection[str], remade: Mapping[str, str]) -> str:
        failed, present = self.made.failed, self._present
        remade = {name: why for name, why in sorted(remade.items()) if name in present}
        lists: dict[str, Sequence[str]] = {
            "Remade": grouped(Reason.note(name, f"{why}.") for name, why in remade.items())
        }
        for verdict in (NOT_CALIBRATED, SET_ASIDE):
            lists[verdict.capitalize()] = grouped(
                v.reason for v in self.verdicts if v.verdict == verdict and v.reason
            )
        lists["What helps"] = self.plan.remedies
        lists["Masters that could not be made"] = [
            str(failed[m.name]) for m in self.plan.masters if m.name in failed
        ]
        lists["Notes"] = self.notes
        lines = self._counts(kept, remade)
        for title, entries in lists.items():
            if len(entries):
                lines += ["", title, *(f"  {entry}" for entry in entries)]
        return "\n".join(lines)

    def _counts(self, kept: Collection[str], remade: Mapping[str, str]) -> list[str]:
        table, plan, made = self.table, self.plan, self.made
        new = len(self._present) - len(remade) - len(kept)
        files = {
            USED: sum(table["verdict"] == USED),
            NOT_NEEDED: sum(table["verdict"] == NOT_NEEDED),
            NOT_ASKED: len(plan.not_asked) if plan.only else 0,
            IGNORED: plan.ignored,
        }
        planned = len(plan.products) + len(plan.joined)
        chips = "" if plan.found == len(table) else f" ({len(table)} frames of single chips)"
        products = {
            "already up to date": len(kept),
            "remade": len(remade),
            "new": new if kept or remade else 0,
        }
        return [
            f"{plan.found} file{'' if plan.found == 1 else 's'} found{chips}"
            + "".join(f", {n} {word}" for word, n in files.items() if n or word == USED),
            f"{len(made.masters)} of {len(plan.masters)} masters and {len(made.products)} of "
            f"{planned} planned science frames are there"
            + "".join(f", {n} {word}" for word, n in products.items() if n),
        ]


def _without_needless_masks(table: Table) -> Table:
    """Return a table whose columns have masks only where a value is masked.

    The file is the same, and masked columns take ten times as long to write.
    """
    columns = [
        c.filled() if isinstance(c, MaskedColumn) and not c.mask.any() else c
        for c in table.columns.values()
    ]
    return Table(columns, meta=table.meta, copy=False)
