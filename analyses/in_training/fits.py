"""The prediction beside the measurement, at each time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gradflow.theory import LAWS, judge, slope


def judge_all(found: pd.DataFrame) -> pd.DataFrame:
    """Hold the ratios against Zaeemzadeh's prediction at each time of the training.

    Args:
        found: `runs.ratios`.

    Returns:
        `theory.judge` by `at` (the iteration) and `layers` (null: over all depths): the ratio of identity
        units, and the slope of ln |ratio − 1| against ln depth, fitted in each seed.
    """
    rows = [
        _row("identity_gain", row, row["layers"], row["identity"], 1.0) for row in found.to_dict("records")
    ]
    for _, part in found.groupby(["iteration", "seed"]):
        layers = part["layers"].to_numpy(float)
        if len(layers) > 1:
            distance = np.log(np.abs(part["identity"].to_numpy(float) - 1))
            first = part.iloc[0].to_dict()
            rows.append(_row("gain_nears_one", first, None, slope(np.log(layers), distance), 0.0))
    frame = pd.DataFrame(rows).astype({"layers": "Int64", "at": "int64"})
    return judge(frame, LAWS, by=("at", "layers"))


def _row(law: str, of: dict[Any, Any], layers: Any, value: float, predicted: float) -> dict[str, Any]:
    setting = {"trained": of["iteration"] > 0, "shortcut": "identity"}
    outside = LAWS[law].outside(setting)
    same = {"law": law, "at": of["iteration"], "layers": layers, "seed": of["seed"], "outside": outside}
    return same | {"value": value, "predicted": predicted}
