"""The sentence about a stream that is normalised in every branch and not at its end.

Where branches normalise x before they use it and nothing stands on the sums (pre-LN, pre-activation), x grows
with depth unseen by the branches, and a last normalisation behind the last unit (Xiong et al. 2020,
arXiv:2002.04745, figure 1; He et al. 2016, arXiv:1603.05027, section 5) brings it back for the head.
"""

from __future__ import annotations

import numpy as np

from gradflow.findings.measured import Measured, Row, rows_of
from gradflow.wording import format_times as times
from gradflow.wording import name_unit

NORMALISATIONS = ("batch_norm", "layer_norm", "group_norm", "rms_norm", "normalisation")
"""What normalisations are called in `branch_start` and `head_start`."""

_LEAST_UNITS = 2


def describe_last_normalisation(measured: Measured) -> list[str]:
    """Return the sentence, if the last normalisation is missing.

    It is about the network's last unit and the units of its stage before it, and said only where all of these
    with an identity shortcut normalise first and add last.
    """
    units = rows_of(measured.units.sort_values("unit"))
    last = units[-1]
    behind = last["head_start"]
    stream = [row for row in units if row["stage"] == last["stage"] and row["shortcut"] == "identity"]
    if not _is_text(behind) or last["shortcut"] != "identity" or len(stream) < _LEAST_UNITS:
        return []
    normalising = all(_is_text(row["branch_start"]) and _normalises(row["branch_start"]) for row in stream)
    adding_last = all(row["post_activation"] == "identity" for row in stream)
    if not (normalising and adding_last) or _normalises(behind):
        return []
    sentence = (
        f"The last normalisation is missing: {name_unit(stream[0])} to {name_unit(last)} normalise x at the "
        f"beginning of their branches ({last['branch_start']}) and not their sums, and what follows the last "
        f"one ({behind}) takes its sum as it is{_grown(stream)}. So the scale of what the head sees, and "
        "with it loss and gradient, depends on depth."
    )
    return [sentence]


def _normalises(words: str) -> bool:
    return any(word in NORMALISATIONS for word in words.split("+"))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _grown(stream: list[Row]) -> str:
    """Return by how much ‖x‖ grows over the units."""
    first, last = stream[0]["x_norm"], stream[-1]["sum_norm"]
    if not (np.isfinite(first) and np.isfinite(last) and first > 0):
        return ""
    return f"; over them ‖x‖ is multiplied by {times(last / first).removeprefix('×')}"
