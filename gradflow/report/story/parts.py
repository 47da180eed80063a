"""The pieces of the story: chapters, and in them the parts that an analysis must have been made for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gradflow.report.story.sources import Analysis

Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Picture:
    """A figure that an analysis wrote.

    Attributes:
        name: of its file, without the ending.
        shows: what a reader sees in it, for those who do not.
        caption: how to read it.
    """

    name: str
    shows: str
    caption: str


@dataclass(frozen=True)
class Part:
    """What one analysis has to say in a chapter.

    Attributes:
        key: the analysis's.
        template: the text, which has gaps for numbers.
        measure: fills the gaps.
        pictures: of the analysis.
        title: what it tells, where that is not what the whole analysis is about.
    """

    key: str
    template: str
    measure: Callable[[Analysis], Numbers]
    pictures: tuple[Picture, ...] = ()
    title: str = ""


@dataclass(frozen=True)
class Chapter:
    """One step of the argument.

    Attributes:
        key: its anchor.
        title: its heading.
        template: what the paper says, with formulas.
        parts: what was measured.
    """

    key: str
    title: str
    template: str
    parts: tuple[Part, ...] = field(default=())
