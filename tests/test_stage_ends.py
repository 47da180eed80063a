"""Where a stage's last unit ends: at its addition, where the activation behind it is the next unit's."""

from __future__ import annotations

import cases
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import gradflow
from gradflow.stage_ends import ending_at_additions
from gradflow.statistics import depth_trends, with_shares
from gradflow.units.runs import ending_at_additions as of_graph


def units_of(name: str, **options: str) -> pd.DataFrame:
    """Probe an untrained network of the zoo with a batch of two."""
    model = gradflow.build_model(name, width=4, **options)
    return gradflow.probe(model, cases.images(2, 3, 8, 8)(), torch.tensor([1, 2])).units


def test_it_is_the_units_that_the_graph_says() -> None:
    """The record and the graph tell the same units; of those alone the norms are other ones."""
    from gradflow.probing.capture import captured

    model = gradflow.build_model("preact26", width=4)
    with captured(model, cases.images(2, 3, 8, 8)(), torch.tensor([1, 2])) as capture:
        pairs = zip(capture.units, of_graph(capture.units), strict=True)
        moved = [unit.index for unit, ending in pairs if ending.out != unit.out]
    units = units_of("preact26")
    ending = ending_at_additions(units)
    assert moved == [3, 7]
    for end, addition in (("out_norm", "sum_norm"), ("grad_out_norm", "grad_sum_norm")):
        changed = units["unit"][ending[end] != units[end]]
        assert changed.tolist() == moved
        assert ending.loc[changed, end].tolist() == units.loc[changed, addition].tolist()


@pytest.mark.parametrize(
    ("name", "options"), [("resnet20", {}), ("resnet20", {"activation": "bn-after"}), ("preact8", {})]
)
def test_an_f_of_the_units_own_stays(name: str, options: dict[str, str]) -> None:
    """Where every unit has an activation behind its addition, or is alone, nothing tells that it is not f."""
    units = units_of(name, **options)
    pd.testing.assert_frame_equal(ending_at_additions(units), units)


def test_seeds_and_blocks_are_kept_apart() -> None:
    """A pass ends where the next begins, and blocks that a user named have no addition."""
    units = units_of("preact20")
    both = pd.concat([units.assign(seed=0), units.assign(seed=1)], ignore_index=True)
    closed = ending_at_additions(both)["grad_out_norm"] != both["grad_out_norm"]
    assert both[closed][["seed", "unit"]].values.tolist() == [[0, 2], [0, 5], [1, 2], [1, 5]]
    blocks = both.assign(shortcut="none")
    pd.testing.assert_frame_equal(ending_at_additions(blocks), blocks)


def test_a_branch_of_nothing_gains_nothing() -> None:
    """With F = 0 a unit hands on what arrives at its addition: every gain is 1, the stages' ends included."""
    model = gradflow.build_model("preact20", width=4)
    for stage in (model.stage1, model.stage2, model.stage3):
        for unit in stage:
            nn.init.zeros_([m for m in unit.branch.modules() if isinstance(m, nn.Conv2d)][-1].weight)
    units = gradflow.probe(model, cases.images(2, 3, 8, 8)(), torch.tensor([1, 2])).units
    gains = with_shares(units)["backward_gain"]
    identity = units["shortcut"] == "identity"
    assert np.allclose(gains[identity], 1, rtol=1e-6)
    # As the next unit reads it, the activation's gain is part of the last unit's.
    assert not np.allclose((units["grad_in_norm"] / units["grad_out_norm"])[identity], 1, rtol=1e-2)
    stages = depth_trends(units)
    assert np.allclose(stages[stages["stage"].notna()]["ratio"].astype(float), 1, rtol=1e-6)
