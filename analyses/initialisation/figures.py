"""All figures of the analysis, by the names of their files."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from initialisation.depth_figures import draw_depths, draw_plain
from initialisation.law_figures import draw_laws, draw_shares
from initialisation.measuring import Measurement


def draw_all(measurements: Sequence[Measurement], verdicts: pd.DataFrame) -> dict[str, Figure]:
    """Return the figures by file name; one that its networks were not measured for is left out."""
    found = {measurement.case.network for measurement in measurements}
    figures = {"gradient-norm-by-depth": draw_depths(measurements)}
    if "preact" in found:
        figures["pre-activation-laws"] = draw_laws(measurements, verdicts)
        figures["shares-and-gains"] = draw_shares(measurements, verdicts)
    if "plain" in found:
        figures["plain-networks"] = draw_plain(measurements, verdicts)
    return figures
