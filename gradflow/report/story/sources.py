"""What the analyses wrote: which there are, where each says how it was made, and its tables."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd

from gradflow.errors import RecordError
from gradflow.report.story.values import Sheet, Value

PROVENANCE = "provenance.json"


@dataclass(frozen=True)
class Source:
    """An analysis that may have been made.

    Attributes:
        key: the name of its directory.
        title: what it is about.
        command: what makes it.
        inside: the JSON file that holds its provenance under the key `provenance`, where it has no file of
        its own.
    """

    key: str
    title: str
    command: str
    inside: str | None = None


@dataclass(frozen=True)
class Analysis:
    """An analysis that was made.

    Attributes:
        source: which.
        folder: where it is.
        link: where it is, seen from the page.
        provenance: how it was made.
    """

    source: Source
    folder: Path
    link: str
    provenance: Mapping[str, Any]

    def table(
        self, name: str, *, text: Sequence[str] = (), numbers: Sequence[str] = (), keys: Sequence[str] = ()
    ) -> Sheet:
        """Return the table in the CSV file `name`.

        Args:
            name: of the file.
            text: columns of text, in which nothing is an empty text.
            numbers: columns of numbers, of which some may be null.
            keys: columns of numbers that every row must have.

        Raises:
            RecordError: if it cannot be read, is empty, has no such column, or a number in it is none.
        """
        path = self.folder / name
        try:
            frame = pd.read_csv(path, dtype=dict.fromkeys(text, str))
        except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
            raise self.damaged(name, _reason(error)) from error
        for column in (*text, *numbers, *keys):
            if column not in frame:
                raise self.damaged(name, f"no column '{column}'")
        if frame.empty:
            raise self.damaged(name, "no row")
        for column in text:
            frame[column] = frame[column].fillna("")
        for column in (*numbers, *keys):
            try:
                frame[column] = pd.to_numeric(frame[column]).astype(float)
            except (ValueError, TypeError) as error:
                raise self.damaged(name, f"column '{column}' holds something that is no number") from error
        for column in keys:
            if not np.isfinite(frame[column]).all():
                raise self.damaged(name, f"column '{column}' has a row without a number")
        return Sheet(self.source.key, name, frame)

    def number(self, name: str, *keys: str) -> Value:
        """Return the number under `keys` in the JSON file `name`; of a list of numbers, their median.

        Raises:
            RecordError: if the file cannot be read or has no number there.
        """
        found: Any = read_json(self, name)
        for key in keys:
            if not isinstance(found, dict) or key not in found:
                raise self.damaged(name, f"nothing under '{' / '.join(keys)}'")
            found = found[key]
        several = found if isinstance(found, list) else [found]
        if not several or not all(type(one) in {int, float} for one in several):
            raise self.damaged(name, f"'{' / '.join(keys)}' is no number")
        how = f"“{' / '.join(keys)}”"
        return Value.of(
            self.source.key, name, f"median of {how}" if several is found else how, statistics.median(several)
        )

    def damaged(self, name: str, why: str) -> RecordError:
        """Return the error that says what is wrong with the file `name`."""
        return RecordError(
            f"'{self.folder / name}' is damaged: {why}; make it again with: {self.source.command}"
        )


def find_analyses(sources: Sequence[Source], place: Path, out: Path) -> dict[str, Analysis]:
    """Return the analyses that were made, by key.

    Args:
        sources: those that may be.
        place: the directory of their directories.
        out: the page's directory; links are relative to it.

    Raises:
        RecordError: if there is none, or one does not say how it was made.
    """
    found = {}
    for source in sources:
        folder = place / source.key
        if folder.is_dir():
            link = PurePath(os.path.relpath(folder.resolve(), out.resolve())).as_posix()
            analysis = Analysis(source, folder, link, {})
            found[source.key] = Analysis(source, folder, link, _provenance(analysis))
    if not found:
        raise RecordError(
            f"no analysis in '{place}': expected directories such as "
            f"{', '.join(one.key for one in sources[:3])}; "
            f"make one with: {sources[0].command}"
        )
    return found


def read_json(analysis: Analysis, name: str) -> dict[str, Any]:
    """Return the object in the JSON file `name` of `analysis`.

    Raises:
        RecordError: if there is none.
    """
    try:
        read = json.loads((analysis.folder / name).read_bytes())
    except (OSError, ValueError) as error:
        raise analysis.damaged(name, _reason(error)) from error
    if not isinstance(read, dict):
        raise analysis.damaged(name, "not an object")
    return read


def _provenance(analysis: Analysis) -> dict[str, Any]:
    inside = analysis.source.inside
    name = inside or PROVENANCE
    read = read_json(analysis, name)
    told = read.get("provenance") if inside else read
    if not isinstance(told, dict) or not isinstance(told.get("command"), str):
        raise analysis.damaged(name, "it does not say by which command it was made")
    return told


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is missing"
    if isinstance(error, OSError):
        return error.strerror or "it cannot be read"
    return (str(error).splitlines() or ["it cannot be read"])[0]
