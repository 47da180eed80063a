"""Reports: records into one self-contained HTML page, and each figure as SVG, PNG and PDF. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gradflow.errors import IncompleteReportError
from gradflow.report.changes import compare_alike
from gradflow.report.comparability import find_mixed_versions
from gradflow.report.emptiness import find_empty
from gradflow.report.figures import draw_figures
from gradflow.report.output import write_files
from gradflow.report.page import render_page
from gradflow.report.runs import load_usable

__all__ = ["write_report"]

PAGE = "report.html"


def write_report(runs: Sequence[Path], out: Path) -> Path:
    """Write a report on `runs` into the directory `out`.

    It writes `report.html`, the figures as `report/<figure>.svg`, `.png` and `.pdf`, and
    `report/manifest.json`, by which a later report knows which files it may replace. Anything else in
    `out` is left alone.

    Args:
        runs: directories of records, or directories of such.
        out: where; it is made.

    Returns:
        The path of the page.

    Raises:
        IncompleteReportError: if a run could not be read (it is damaged, or a later gradflow wrote it), all
            that a figure draws of it is null, or the records are of different versions. The page is
            written all the same, and says so.
        RecordError: if there is no run that can be read, a file in the way is not an earlier report's, or
            `out` cannot be written. Nothing is written then.
    """
    loaded, problems = load_usable(runs)
    problems += [*find_empty(loaded), *find_mixed_versions(loaded)]
    changes, groups = compare_alike(loaded)
    figures = list(draw_figures(loaded, changes))
    # What several comparisons have a reservation in common about need not be read again.
    said = dict.fromkeys(sentence for change in changes for sentence in change.sentences)
    compared = [*groups, *said]
    files = {PAGE: render_page(loaded, figures, compared, problems).encode(errors="replace")}
    for figure in figures:
        files[f"report/{figure.kind.key}.svg"] = figure.svg
        files[f"report/{figure.kind.key}.png"] = figure.png
        files[f"report/{figure.kind.key}.pdf"] = figure.pdf
    write_files(out, files)
    if problems:
        raise IncompleteReportError(out / PAGE, problems)
    return out / PAGE
