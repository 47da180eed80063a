"""Sentences about what shortcut and branch carry, in units and in samples."""

from __future__ import annotations

import numpy as np

from gradflow.findings.measured import Measured, Row, extreme
from gradflow.statistics import last_iteration
from gradflow.wording import format_number as number
from gradflow.wording import format_percent as percent
from gradflow.wording import name_unit


def describe_shares(measured: Measured) -> list[str]:
    """Return how energy and cancellation are shared out, as far as that is finite."""
    return [*_energies(measured), *_samples(measured)]


def _energies(measured: Measured) -> list[str]:
    whole, sentences = measured.whole, []
    column = "backward_shortcut_share"
    if np.isfinite(whole[column]):
        most, least, every, median = _spread(measured, column)
        where = (
            f"in {every}"
            if percent(most[column]) == percent(least[column])
            else f"in {median}, and least in {name_unit(least)}: {percent(least[column])}"
        )
        energy = "of the gradient's energy, ‖s‖² / (‖s‖² + ‖b‖²),"
        sentences.append(f"The shortcut carries {percent(whole[column])} {energy} {where}.")
    column = "forward_branch_share"
    if np.isfinite(whole[column]):
        most, least, every, median = _spread(measured, column)
        where = (
            f"in {every}"
            if percent(most[column]) == percent(least[column])
            else f"in {median}: most in {name_unit(most)}, {percent(most[column])}, and least in "
            f"{name_unit(least)}, {percent(least[column])}"
        )
        sentences.append(f"Forward, the branch adds {percent(whole[column])} of the signal's energy {where}.")
    return sentences


def _spread(measured: Measured, column: str) -> tuple[Row, Row, str, str]:
    """Return the units with the most and the least of `column`, and what all and the median are called.

    Units that have none of it, for a gradient of 0 say, are not among those that a sentence is about.
    """
    having = measured.units[measured.units["shortcut"] != "none"]
    known = having[np.isfinite(having[column])]
    most, least = (extreme(known, column, least=least) for least in (False, True))
    if len(known) == len(having):
        return most, least, "every unit", "the median unit"
    number_of = f"the {len(known)} of {len(having)} units that have one"
    return most, least, f"each of {number_of}", f"the median of {number_of}"


def _samples(measured: Measured) -> list[str]:
    # Extremes of all seeds and batches, not the averages that are drawn.
    units = last_iteration(measured.record.units)
    known = units[np.isfinite(units["cancellation_min"])]
    if known.empty:
        return []
    worst = extreme(known, "cancellation_min", least=True)
    below = len(known.loc[known["cancellation_min"] <= -1, "unit"].unique())
    medians = known["cancellation_p50"]
    slices = (
        "slice of the batch's gradient by sample" if measured.record.meta["samples_coupled"] else "sample"
    )
    reached = (
        f"at least one {slices} reaches −1 in {below} of {len(known['unit'].unique())} units"
        if below
        else f"no {slices} reaches −1 in any unit"
    )
    sentence = (
        f"The paper's argument is that ρ = ⟨b, s⟩ / ‖s‖² is not −1 for every sample: {reached}; the least is "
        f"{number(worst['cancellation_min'])} in {name_unit(worst)}, and a unit's median lies between "
        f"{number(medians.min())} and {number(medians.max())}"
    )
    if np.isfinite(known["survival_min"]).any():
        least = extreme(known, "survival_min", least=True)
        sentence += (
            f". The least survival ‖s + b‖ / ‖s‖ is {number(least['survival_min'])}, in {name_unit(least)}; "
            "0 would be full cancellation"
        )
    return [f"{sentence}."]
