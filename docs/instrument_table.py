"""Sphinx directives that generate the instruments page from the shipped profiles.

``.. instrument-table::`` writes the table of the profiles, ``.. instrument-notes::`` the notes
of each profile, with the sources of its numbers.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ccdprofiles import Amplifier, Dated, Profile, Recipe, Setting, SpectralFlat
from ccdprofiles.camera.header_values import card_names
from ccdprofiles.camera.profile_file import read_profiles
from ccdprofiles.camera.registry import shipped_folder
from ccdprofiles.camera.section import is_card
from ccdprofiles.camera.settings import period_text

COLUMNS = (
    *("profile", "status", "telescope", "chosen by"),
    *("data", "overscan", "gain, read noise", "recipe"),
)


def shipped() -> list[Profile]:
    """Return the profiles that come with the package, sorted by name."""
    files = [p for p in shipped_folder().glob("*.py") if not p.name.startswith("_")]
    return sorted((p for file in files for p in read_profiles(file)), key=lambda p: p.name)


def table(profiles: Iterable[Profile]) -> list[str]:
    """Return the lines of a reST table with one row per profile."""
    lines = [".. list-table::", "   :header-rows: 1"]
    lines += ["   :class: instruments", "   :widths: 8 8 13 16 14 14 12 15", ""]
    for row in (COLUMNS, *(_row(profile) for profile in profiles)):
        lines += [f"   {'-' if n else '* -'} {cell}" for n, cell in enumerate(row)]
    # In a list-table only the first cell of a row has the star; the others are indented below it.
    return [line.replace("   - ", "     - ", 1) for line in lines]


def notes(profiles: Sequence[Profile]) -> list[str]:
    """Return the notes of the profiles as reST lines, one section per profile file."""
    lines = []
    for path in dict.fromkeys(p.file for p in profiles):
        of_file = [p for p in profiles if p.file == path]
        title = ", ".join(p.name for p in of_file)
        lines += [title, "~" * len(title), "", *of_file[0].notes.splitlines(), ""]
        lines += [f"File: ``profiles/{Path(path).name}``", ""]
    return lines


def _row(profile: Profile) -> tuple[str, ...]:
    return (
        f"``{profile.name}``",
        profile.status,
        profile.telescope,
        _chosen_by(profile),
        _each(profile, "data"),
        _overscan(profile),
        f"{_number(profile, 'gain')}; {_number(profile, 'read_noise')}",
        _recipe(profile.recipe),
    )


def _chosen_by(profile: Profile) -> str:
    names = " or ".join(f"``{name}``" for name in profile.instruments)
    cards = [f"{card} {_values(value)}" for card, value in profile.where.items()]
    cards += [period_text(profile.valid)] if profile.valid else []
    return ", ".join([names, *cards])


def _values(value: object) -> str:
    values = value if isinstance(value, tuple) else (value,)
    return " or ".join("missing" if v is None else f"``{v}``" for v in values)


def _amplifiers(profile: Profile) -> Sequence[Amplifier]:
    """Return the amplifiers, or none if they are those of a header."""
    return () if callable(profile.amplifiers) else profile.amplifiers


def _each(profile: Profile, field: str) -> str:
    shown = dict.fromkeys(_sections(getattr(a, field)) for a in _amplifiers(profile))
    return ", ".join(shown) or "from the header"


def _sections(value: str | tuple[str, ...]) -> str:
    """Return a section, or several that are taken together, or the card that has it."""
    texts = (value,) if isinstance(value, str) else value
    return " + ".join(f"from ``{t}``" if is_card(t) else f"``{t}``" for t in texts)


def _overscan(profile: Profile) -> str:
    """Return the overscan, and the parallel one that is corrected after it."""
    amplifiers = _amplifiers(profile)
    if amplifiers and not amplifiers[0].overscan:
        return "none"
    parallel = any(a.parallel_overscan for a in amplifiers)
    then = f", then {_each(profile, 'parallel_overscan')}" if parallel else ""
    return _each(profile, "overscan") + then


def _number(profile: Profile, field: str) -> str:
    values = (_quantity(getattr(a, field)) for a in _amplifiers(profile))
    return ", ".join(dict.fromkeys(values)) or "from the header"


def _quantity(value: object) -> str:
    if value is None:
        return "not known"
    if isinstance(value, str):
        return f"from ``{value}``"
    if isinstance(value, Setting):
        return f"by ``{card_names(value.card)}``"
    if isinstance(value, Dated):
        return "by date"
    if callable(value):
        return "from the header"
    unit = "e/adu" if "adu" in str(value.unit) else "e"
    return f"{value.value:g}\N{NO-BREAK SPACE}{unit}"


def _recipe(recipe: object) -> str:
    if not isinstance(recipe, Recipe):
        return "differs by frame"  # a function of the header
    steps = ["bias"] if recipe.bias else []
    if recipe.dark:
        steps.append({"match": "matched dark", "scale": "scaled dark"}[recipe.dark])
    if isinstance(recipe.flat, SpectralFlat):
        steps.append(f"spectral flat along {recipe.flat.dispersion}")
    elif recipe.flat:
        steps.append(f"flat normalised by its {recipe.flat.scale}")
    return f"{', '.join(steps)}; products in {'electrons' if recipe.electrons else 'adu'}"


def setup(app):
    """Register the two directives with Sphinx."""
    from docutils import nodes
    from docutils.parsers.rst import Directive
    from docutils.statemachine import StringList

    def directive(lines_of):
        class Lines(Directive):
            def run(self):
                profiles = shipped()
                environment = self.state.document.settings.env
                for profile in profiles:
                    environment.note_dependency(profile.file)
                holder = nodes.section()
                holder.document = self.state.document
                self.state.nested_parse(
                    StringList(lines_of(profiles), "profiles"), 0, holder, match_titles=1
                )
                return holder.children

        return Lines

    app.add_directive("instrument-table", directive(table))
    app.add_directive("instrument-notes", directive(notes))
    return {"parallel_read_safe": True}
