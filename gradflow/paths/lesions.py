"""`lesion`: how much a network misses units that are left out or exchanged at test time.

Veit et al. 2016 (arXiv:1605.06431), section 3: a residual network hardly notices that a unit is
missing, and its error grows smoothly with the number of units removed or exchanged; a plain
network that lacks a single layer fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau
from torch import nn

from gradflow.errors import ProbeError
from gradflow.probing import BatchNormMode, Loss, probe
from gradflow.probing.lesioning import Lesion, LesionedNetwork, lesionable
from gradflow.probing.loss import error_rate, scalar_loss
from gradflow.record import Record
from gradflow.units import Inputs, UnitSelection

Row = dict[str, Any]


def lesion(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    bn: BatchNormMode = "batch",
    units: UnitSelection | None = None,
    remove: Sequence[int] = (),
    exchange: Sequence[int] = (),
    draws: int = 5,
    seed: int = 0,
    meta: Mapping[str, Any] | None = None,
) -> Record:
    """Measure `model` as `probe` does, and its loss and error with units left out or exchanged.

    Each unit is left out in turn (y = h(x); a named block without shortcut hands on its input).
    Then, `draws` times each, as many random units as `remove` says are left out together, and
    as many random pairs as `exchange` says exchange their places. The model is not edited.

    Args:
        model: any network.
        inputs: as for `probe`.
        targets: as for `probe`.
        loss: as for `probe`.
        bn: as for `probe`; `running` for the test error of a trained network.
        units: as for `probe`.
        remove: numbers of units to leave out together.
        exchange: numbers of pairs to exchange, one after the other.
        draws: random choices of each.
        seed: of the choices.
        meta: as for `probe`.

    Returns:
        the record of `probe`, with its table `lesions` filled.

    Raises:
        ProbeError: if so many cannot be removed or exchanged.
    """
    units = units if units is None or isinstance(units, str) else tuple(units)
    record = probe(model, inputs, targets, loss=loss, bn=bn, units=units, meta=meta)
    rows: list[Row] = []
    with lesionable(model, inputs, bn=bn, units=units) as network:
        for what, change in _lesions(network, remove, exchange, draws, seed):
            outputs = network.run(inputs, change)
            value = float(scalar_loss(outputs, targets, loss))
            rows.append(
                {
                    **what,
                    "batch": record.meta["batch_size"],
                    "loss": value if math.isfinite(value) else None,
                    "error": error_rate(outputs, targets),
                }
            )
    return replace(record, lesions=pd.DataFrame(rows).assign(**record.keys))


def _lesions(
    network: LesionedNetwork, remove: Sequence[int], exchange: Sequence[int], draws: int, seed: int
) -> Iterator[tuple[Row, Lesion]]:
    """Yield each lesion, and what the record says of it; nothing changed comes first.

    Raises:
        ProbeError: if so many cannot be removed or exchanged.
    """
    removable, count = network.removable, len(network.units)
    yield {"lesion": "none", "count": 0, "draw": 0, "kendall_tau": 1.0}, Lesion()
    for unit in removable:
        yield {"lesion": "remove", "units": str(unit), "count": 1, "draw": 0}, Lesion(frozenset([unit]))
    for several in remove:
        if not 1 <= several <= len(removable):
            raise ProbeError(f"{several} units cannot be removed: {len(removable)} of {count} can be")
        for draw in range(draws):
            random = np.random.default_rng((seed, 0, several, draw))
            chosen = sorted(random.choice(removable, several, replace=False).tolist())
            what = {"lesion": "remove", "units": " ".join(map(str, chosen)), "count": several, "draw": draw}
            yield what, Lesion(frozenset(chosen))
    for pairs in exchange:
        if not network.exchangeable or pairs < 1:
            raise ProbeError(
                f"{pairs} pairs of units cannot be exchanged: that takes a positive number, and units of one "
                "stage that are each alone in a module"
            )
        for draw in range(draws):
            order = _reordered(network, pairs, np.random.default_rng((seed, 1, pairs, draw)))
            exchanged = {place: unit for place, unit in enumerate(order) if place != unit}
            what = {
                "lesion": "reorder",
                "units": " ".join(f"{place}<{unit}" for place, unit in exchanged.items()),
                "count": pairs,
                "draw": draw,
                "kendall_tau": float(kendalltau(range(count), order).statistic),
            }
            yield what, Lesion(exchanged=exchanged)


def _reordered(network: LesionedNetwork, pairs: int, random: np.random.Generator) -> list[int]:
    """Return which unit runs in each place after exchanging random pairs, all pairs equally likely."""
    order = list(range(len(network.units)))
    sizes = np.array([math.comb(len(group), 2) for group in network.exchangeable])
    for _ in range(pairs):
        group = network.exchangeable[int(random.choice(len(sizes), p=sizes / sizes.sum()))]
        first, second = random.choice(group, 2, replace=False).tolist()
        order[first], order[second] = order[second], order[first]
    return order
