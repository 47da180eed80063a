"""The story as HTML: chapters, numbers, formulas and figures into one file that needs nothing but itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gradflow import __version__
from gradflow.report.story.formulas import block, equation, inline
from gradflow.report.story.parts import Chapter, Numbers, Part
from gradflow.report.story.pictures import picture
from gradflow.report.story.sources import Analysis, Source
from gradflow.report.story.values import brackets
from gradflow.report.typesetting import typeset

_FORMATS = ("svg", "pdf", "png")
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Told:
    """A part, with what its analysis has to say.

    Attributes:
        part: which.
        source: the analysis that it is about.
        analysis: the same, if it was made.
        numbers: for the gaps of the part's template.
        figures: of each the drawing, its name, its caption, and the formats that it is there in.
    """

    part: Part
    source: Source
    analysis: Analysis | None
    numbers: Numbers
    figures: Sequence[tuple[Markup, str, str, Sequence[str]]]


def render_story(
    chapters: Sequence[Chapter], sources: Sequence[Source], found: Mapping[str, Analysis]
) -> str:
    """Return the page; the same tables give the same page.

    Args:
        chapters: the story.
        sources: every analysis that it may tell of.
        found: those that were made.

    Raises:
        RecordError: if a table or a figure is damaged.
    """
    by_key = {source.key: source for source in sources}
    told = {
        chapter.key: [_tell(part, by_key[part.key], found.get(part.key)) for part in chapter.parts]
        for chapter in chapters
    }
    page: str = (
        _environment()
        .get_template("story.html.j2")
        .render(
            version=__version__,
            chapters=chapters,
            told=told,
            n={one.part.template: one.numbers for parts in told.values() for one in parts if one.analysis},
            sources=sources,
            found=found,
            provenance={key: _facts(analysis) for key, analysis in found.items()},
            data=_images(found),
            devices=_names(found, "devices"),
        )
    )
    return page


def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("gradflow.report.story"), PackageLoader("gradflow.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(equation=equation, math=inline, math_block=block, brackets=brackets)
    environment.filters.update(typeset=typeset)
    return environment


def _tell(part: Part, source: Source, analysis: Analysis | None) -> Told:
    if analysis is None:
        return Told(part, source, None, {}, ())
    figures = [
        (
            picture(analysis, one.name, f"Figure: {one.shows}. The numbers are in the analysis’s tables."),
            one.name,
            one.caption,
            [kind for kind in _FORMATS if (analysis.folder / f"{one.name}.{kind}").is_file()],
        )
        for one in part.pictures
    ]
    return Told(part, source, analysis, part.measure(analysis), figures)


def _facts(analysis: Analysis) -> list[tuple[str, str]]:
    """Return what an analysis says of how it was made, as names and words."""
    told = analysis.provenance
    facts = [("Command", told["command"])]
    for name, key in (
        ("Images", "data"),
        ("Seeds", "seeds"),
        ("Numbers", "dtypes"),
        ("Numbers", "dtype"),
        ("Devices", "devices"),
        ("Cores", "cores"),
        ("Threads", "threads"),
        ("Measured", "measured"),
        ("Written", "written"),
        ("Versions", "versions"),
    ):
        if told.get(key) not in (None, "", [], {}):
            facts.append((name, _seeds(told[key]) if key == "seeds" else _words(told[key])))
    drawn = told.get("drawn")
    if isinstance(drawn, Mapping) and isinstance(drawn.get("command"), str):
        facts += [("Drawn by", drawn["command"]), ("Drawn", _words(drawn.get("written", "")))]
    return facts


def _seeds(value: Any) -> str:
    """Return seeds in words; where all networks have the same, without the networks.

    >>> _seeds({"a": "0-9", "b": "0, 1, 2"}), _seeds({"14,20": "0-9"}), _seeds("0-9")
    ('0–9 (a); 0–2 (b)', '0–9', '0–9')
    """
    if not isinstance(value, Mapping):
        return _range(str(value))
    groups: dict[str, list[str]] = {}
    for name, seeds in value.items():
        groups.setdefault(_range(str(seeds)), []).append(str(name))
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{seeds} ({', '.join(names)})" for seeds, names in groups.items())


def _range(seeds: str) -> str:
    words = seeds.split(", ")
    if len(words) > 1 and words == [str(number) for number in range(len(words))]:
        return f"0–{len(words) - 1}"
    return re.sub(r"(?<=\d)-(?=\d)", "–", seeds)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        groups: dict[str, list[str]] = {}
        for name, item in value.items():
            groups.setdefault(_words(item), []).append(str(name))
        if len(groups) < len(value):  # what many have in common is said once
            return "; ".join(f"{item} ({', '.join(names)})" for item, names in groups.items())
        return ", ".join(f"{name} {_words(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return str(value)


def _images(found: Mapping[str, Analysis]) -> list[str]:
    """Return the data sets that the analyses name, each once, without the part of it that was taken."""
    names = [name.strip() for told in _names(found, "data") for name in told.split(",")]
    return list(dict.fromkeys(name for name in names if name not in SPLITS))


def _names(found: Mapping[str, Analysis], key: str) -> list[str]:
    """Return what the analyses say under `key`, each once; those that do not say are passed by."""
    said: dict[str, None] = {}
    for analysis in found.values():
        value = analysis.provenance.get(key)
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                said[str(one)] = None
    return list(said)
