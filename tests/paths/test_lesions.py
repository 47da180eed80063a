"""`lesion`: loss and error with units left out or exchanged."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from left_alone import Snapshot
from scipy.stats import kendalltau
from small_networks import LinearBranches, rows
from torch.nn.functional import cross_entropy

import gradflow
from gradflow import build_model, lesion
from gradflow.errors import ProbeError
from gradflow.statistics import summarise_lesions


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Return a batch and its classes."""
    drawn = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return drawn, torch.arange(8)


def test_losses_and_errors_are_the_edited_networks(tmp_path: Path) -> None:
    """Each row has loss and error of the network that was edited by hand; the model is as it was."""
    model = build_model("preact20", width=4)
    before = Snapshot(model)
    record = lesion(model, *images(), bn="running")
    before.assert_unchanged()
    lesions = record.lesions
    assert lesions["lesion"].tolist() == ["none"] + ["remove"] * 9
    assert lesions["units"].tolist()[1:] == [str(unit) for unit in range(9)]
    for unit in (None, 2, 7):
        edited = copy.deepcopy(model).eval()
        if unit is not None:
            torch.nn.init.zeros_(edited.get_submodule(f"stage{unit // 3 + 1}")[unit % 3].branch.conv2.weight)
        with torch.no_grad():
            logits = edited(images()[0])
        row = lesions.iloc[0 if unit is None else unit + 1]
        assert row["loss"] == float(cross_entropy(logits, images()[1]))
        assert row["error"] == float((logits.argmax(1) != images()[1]).double().mean())
    record.save(tmp_path / "run")
    assert gradflow.load_record(tmp_path / "run").lesions.equals(lesions)


def test_several_units_and_pairs() -> None:
    """Random lesions are drawn as often as asked for, of the size asked for, and told by Kendall's τ."""
    model = build_model("resnet20", width=4)
    lesions = lesion(model, *images(), remove=[3], exchange=[1, 4], draws=4).lesions
    removed = lesions[(lesions["lesion"] == "remove") & (lesions["count"] == 3)]
    assert [len(set(units.split())) for units in removed["units"]] == [3] * 4
    reordered = lesions[lesions["lesion"] == "reorder"]
    assert reordered["count"].tolist() == [1] * 4 + [4] * 4
    for row in reordered.to_dict("records"):
        order = list(range(9))
        for word in row["units"].split():
            place, unit = map(int, word.split("<"))
            order[place] = unit
        assert row["kendall_tau"] == pytest.approx(kendalltau(range(9), order).statistic)
    assert len(set(reordered["units"])) > 2
    again = lesion(model, *images(), remove=[3], exchange=[1, 4], draws=4).lesions
    assert again.equals(lesions)


def test_draws_are_averaged_before_batches() -> None:
    """Of two batches of three draws each the interval is over two values, not six."""
    model = build_model("preact20", width=4)
    record = gradflow.Record.concat(
        [lesion(model, *images(), remove=[2], draws=3, meta={"seeds": [seed]}, seed=seed) for seed in (0, 1)]
    )
    summary = summarise_lesions(record.lesions)
    several = summary[(summary["count"] == 2)]
    assert len(several) == 1
    assert several["replicates"].item() == 2
    values = record.lesions[record.lesions["count"] == 2].groupby("seed")["loss"].mean()
    assert several["loss"].item() == pytest.approx(values.mean(), rel=1e-12)
    assert summary.loc[summary["lesion"] == "none", "units"].isna().all()


def test_loss_without_classes_has_no_error() -> None:
    """Where targets are no classes there is a loss and no error; a loss that is not finite is null."""
    model = LinearBranches([[0.5]], [[2.0]])
    lesions = lesion(model, rows(3, 1), rows(3, 1)).lesions
    assert lesions["error"].isna().all()
    assert np.isfinite(lesions["loss"]).all()
    broken = lesion(model, rows(3, 1), loss=lambda outputs: outputs.sum() * float("nan")).lesions
    assert broken["loss"].isna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"remove": [10]}, "10 units cannot be removed: 9 of 9 can be"),
        ({"remove": [0]}, "0 units cannot be removed"),
        ({"exchange": [0]}, "0 pairs of units cannot be exchanged"),
    ],
)
def test_impossible_lesions_are_refused(options: dict[str, list[int]], message: str) -> None:
    """More units than there are, or none, is one line."""
    with pytest.raises(ProbeError, match=message):
        lesion(build_model("preact20", width=4), *images(), **options)
