"""What the page's interactive view reads: units by iteration, in a few quantised columns.

The view shows what the figures show, one quantity at a time, of every measured iteration. What it gets is
data and never markup: `embed_json` escapes it, and its scripts write it as text.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from gradflow.plots.style import diverging_colours
from gradflow.report.quantising import Scale, quantise
from gradflow.report.runs import Run

MOST_CELLS = 150_000
"""Units × iterations that a page holds of all its runs together; beyond, iterations are left out evenly.

A page then stays below 8 MB, and a screen has fewer pixels.
"""


@dataclass(frozen=True)
class Quantity:
    """What can be chosen in the view.

    Attributes:
        column: of averaged units.
        title: in words.
        symbol: as the figures write it.
        scale: of its axis, its colours and its codes.
        middle: the value that says "no change", from which colours go two ways; None if there is none.
    """

    column: str
    title: str
    symbol: str
    scale: Scale
    middle: float | None = None


QUANTITIES = (
    Quantity("grad_in_norm", "gradient norm", "‖∂E/∂xₗ‖", "log"),
    Quantity("backward_gain", "gradient’s growth in a unit", "‖∂E/∂xₗ‖ / ‖∂E/∂xₗ₊₁‖", "log", 1.0),
    Quantity("backward_shortcut_share", "shortcut’s share, backward", "‖s‖² / (‖s‖² + ‖b‖²)", "linear"),
    Quantity("backward_cosine", "cosine, backward", "cos(s, b)", "linear", 0.0),
    Quantity("cancellation_p50", "cancellation, median sample", "ρ = ⟨b, s⟩ / ‖s‖²", "asinh", 0.0),
    Quantity("survival_p50", "survival, median sample", "‖s + b‖ / ‖s‖", "asinh", 1.0),
    Quantity("x_norm", "signal norm", "‖xₗ‖", "log"),
    Quantity("branch_norm", "branch norm", "‖F(xₗ)‖", "log"),
    Quantity("forward_branch_share", "branch’s share, forward", "‖F‖² / (‖h‖² + ‖F‖²)", "linear"),
    Quantity("forward_cosine", "cosine, forward", "cos(h, F)", "linear", 0.0),
    Quantity("param_grad_norm", "gradient norm of the branch’s parameters", "‖∂E/∂θₗ‖", "log"),
)

_DASHES = ("solid", "dash", "dot", "dashdot")
_TOLD = ("name", "stage", "shortcut", "post_activation")


def explore(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what the view reads, ready for JSON.

    Returns:
        `diverging`: colours of a scale with a middle, on light and on dark ground. `quantities`: what can
        be chosen. `runs`: of each its `key` (in links), `label`, `colour` (a
        variable of the page's style), `dash`, `iterations`, how many were `measured`, `units` (what each
        is), `ranges` (what the first and the last code of each quantity mean), and `codes`: little-endian
        16-bit codes by quantity, unit and iteration, gzipped, in base64.
    """
    folders = Counter(run.folder for run in runs)
    cells = sum(len(run.network.history) for run in runs)
    return {
        "diverging": {"light": diverging_colours("light"), "dark": diverging_colours("dark")},
        "quantities": [
            {name: getattr(quantity, name) for name in ("column", "title", "symbol", "scale", "middle")}
            for quantity in QUANTITIES
        ],
        "runs": [
            {
                "key": run.folder if folders[run.folder] == 1 else str(number),
                "label": run.label,
                "colour": f"--network-{number % 8}",
                "dash": _DASHES[number // 8 % len(_DASHES)],
                **_explored(run.network.history, max(1, -(-cells // MOST_CELLS))),
            }
            for number, run in enumerate(runs)
        ],
    }


def embed_json(data: Mapping[str, Any]) -> Markup:
    """Return `data` as JSON that stays data inside a page's script element, whatever its strings hold."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _explored(history: pd.DataFrame, every: int) -> dict[str, Any]:
    measured = np.sort(history["iteration"].unique())
    kept = np.unique([*measured[::every], measured[-1]])
    units = history.drop_duplicates("unit", keep="last").sort_values("unit")
    rows = pd.MultiIndex.from_product([units["unit"], kept])
    indexed = history.set_index(["unit", "iteration"])[[one.column for one in QUANTITIES]].reindex(rows)
    columns = [quantise(indexed[one.column].to_numpy(float), one.scale) for one in QUANTITIES]
    codes = np.concatenate([column.codes for column in columns]).astype("<u2").tobytes()
    return {
        "iterations": [int(iteration) for iteration in kept],
        "measured": len(measured),
        "units": {
            "unit": units["unit"].tolist(),
            **{name: [None if pd.isna(one) else one for one in units[name].tolist()] for name in _TOLD},
        },
        "ranges": [[column.low, column.high] for column in columns],
        # Without a time in it: the same runs give the same page.
        "codes": base64.b64encode(gzip.compress(codes, mtime=0)).decode(),
    }
