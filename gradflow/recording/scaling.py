"""Dividing the scale of a mixed-precision loss out of a record."""

from __future__ import annotations

import numpy as np

from gradflow.record import Record

_UNITS = (
    "grad_sum_norm",
    "grad_out_norm",
    "grad_shortcut_norm",
    "grad_branch_norm",
    "grad_other_norm",
    "grad_in_norm",
    "param_grad_norm",
)


def unscaled(record: Record, scale: float) -> Record:
    """Return the record of the loss itself, from one of the loss times `scale`.

    Cosines, cancellations and survivals are ratios, and stay. Where the scaled gradient of a parameter
    is not finite, the scaler lets the optimiser skip the step, and a note says so.

    Args:
        record: of one backward pass.
        scale: what `torch.amp.GradScaler` multiplied its loss by.
    """
    units, parameters, steps = record.units.copy(), record.parameters.copy(), record.steps.copy()
    units[list(_UNITS)] = units[list(_UNITS)] / scale
    parameters["grad_norm"] /= scale
    steps[["loss", "param_grad_norm"]] /= scale
    value = record.meta["loss"]["value"]
    notes = list(record.meta["notes"])
    if not np.isfinite(steps["param_grad_norm"]).all():
        iteration = int(steps["iteration"].iloc[0])
        notes.append(
            f"at iteration {iteration} the scaled gradient was not finite: the scaler skips this step"
        )
    loss = {**record.meta["loss"], "value": None if value is None else value / scale}
    return Record(
        units=units, parameters=parameters, steps=steps, meta={**record.meta, "loss": loss, "notes": notes}
    )
