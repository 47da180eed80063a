"""The sentence about units whose gradient is exactly 0: from where on, and what is known about why."""

from __future__ import annotations

import math

import pandas as pd

from gradflow.findings.measured import Measured, Row, rows_of
from gradflow.findings.passes import of_pass, passes_of
from gradflow.findings.zeros import zero_factors
from gradflow.statistics import last_iteration
from gradflow.wording import format_number as number
from gradflow.wording import name_unit

_LEAST = {"float16": 6.0e-8, "bfloat16": 9.2e-41, "float32": 1.4e-45, "float64": 4.9e-324}
"""The smallest positive number of each type."""


def describe_vanished(measured: Measured) -> list[str]:
    """Return the sentence, if the gradient is 0 in a unit."""
    units = last_iteration(measured.record.units)
    zero = units[units["grad_in_norm"] == 0]
    if zero.empty:
        return []
    one = passes_of(zero)[0]
    here = of_pass(units, one)
    vanished = rows_of(of_pass(zero, one).sort_values("unit"))
    top = vanished[-1]
    below = here[(here["unit"] <= top["unit"]) & here["grad_in_norm"].notna()]
    every = len(below) == len(vanished)
    alone = (
        f"in {name_unit(top)}" if len(below) == 1 else f"from {name_unit(top)} downwards, to the first unit"
    )
    where = alone if every else f"nearest to the loss in {name_unit(top)}"
    count, total = len(passes_of(zero)), len(passes_of(units))
    passes = f" (in {count} of {total} passes, here the first of them)" if total > 1 else ""
    parameters = of_pass(last_iteration(measured.record.parameters), one)
    silent, known = int((parameters["grad_norm"] == 0).sum()), int(parameters["grad_norm"].notna().sum())
    learns = f" {silent} of {known} parameter tensors get a gradient of exactly 0." if known else ""
    sentence = (
        f"The gradient is exactly 0 in {len(vanished)} of {len(here)} units, {where}{passes}: "
        f"{_why(top, here, parameters, str(measured.record.meta.get('dtype')))}.{learns} "
        "What is said of gradients from here on leaves these out."
    )
    return [sentence]


def _why(top: Row, here: pd.DataFrame, parameters: pd.DataFrame, dtype: str) -> str:
    """Return what is known of why nothing reaches x of unit `top`, the one nearest to the loss.

    Args:
        top: its row.
        here: all units of the pass.
        parameters: of the pass.
        dtype: in which it ran.
    """
    index = top["unit"]
    above = rows_of(here[here["unit"] == index + 1])
    if top["grad_sum_norm"] > 0:
        return (
            f"‖∂E/∂y_{index}‖ at its addition is {number(top['grad_sum_norm'])}, and neither its shortcut "
            f"nor its branch hands anything on{_underflow(top['grad_sum_norm'], top, here, dtype)}"
        )
    if top["grad_out_norm"] > 0:
        f = top["post_activation"]
        said = f"‖∂E/∂x_{index + 1}‖ behind it is {number(top['grad_out_norm'])}, and ‖∂E/∂y_{index}‖ is 0: "
        dead = (
            f"f, which is {f}, lets nothing through for the whole batch, as a dead ReLU does"
            if "relu" in f
            else f"what stands between its addition and x_{index + 1} ({f}) hands nothing on"
        )
        return said + dead + _underflow(top["grad_out_norm"], top, here, dtype)
    if above and above[0]["grad_in_norm"] > 0:
        return (
            f"‖∂E/∂x_{index + 1}‖ in {name_unit(above[0])} is {number(above[0]['grad_in_norm'])}, and "
            "nothing comes from there to its addition"
        )
    if above:
        return "nothing arrives at its addition"
    outside = zero_factors(parameters[parameters["unit"].isna()])
    learning = outside[outside["grad_norm"] > 0]
    if len(learning):
        return (
            f"nothing comes back to the last unit, for a factor behind it is 0 ({learning['name'].iloc[0]}); "
            "it gets a gradient itself, so this ends when it is trained"
        )
    return "nothing comes back to the last unit from what follows it, the head or the loss"


def _underflow(norm: float, row: Row, here: pd.DataFrame, dtype: str) -> str:
    """Return a remark where 0 is what another factor as in the units above would round to.

    Args:
        norm: of the last gradient that is not 0.
        row: of the unit in which it becomes 0.
        here: all units of the pass.
        dtype: in which it ran.
    """
    above = here[(here["unit"] > row["unit"]) & (here["grad_in_norm"] > 0) & (here["grad_out_norm"] > 0)]
    gain = min([1.0, *(above["grad_in_norm"] / above["grad_out_norm"])])
    size = norm / math.sqrt(max(int(row["numel"]), 1))
    if size * gain > _LEAST.get(dtype, 0.0):
        return ""
    return f"; numbers this small become 0 in {dtype}, so that it may be no more than that"
