"""`probe`: what a record says beside its numbers, and which models are looked through or refused."""

from __future__ import annotations

import re
from typing import Any

import cases
import pandas as pd
import pytest
import torch
from small_networks import Chain, branch, labels, rows, seeded
from torch import Tensor, nn

import gradflow
from gradflow import build_model, probe
from gradflow.record.schema import PARAMETERS, STEPS, UNITS
from gradflow.tolerances import sum_of_terms

IMAGES = cases.images(2, 3, 8, 8)
TARGETS = torch.tensor([1, 2])


def test_tables_have_the_columns_of_the_schema() -> None:
    """A probe fills units, parameters and steps, and leaves the checks to `check`."""
    record = probe(build_model("preact8", width=4), IMAGES(), TARGETS)
    for table, columns in ((record.units, UNITS), (record.parameters, PARAMETERS), (record.steps, STEPS)):
        assert table.columns.tolist() == [column.name for column in columns]
    assert (len(record.units), len(record.steps), len(record.checks)) == (3, 1, 0)


@cases.each([*cases.TORCHVISION, *cases.COUNTED])
def test_networks_from_elsewhere_are_measured(case: cases.Case | cases.Counted) -> None:
    """Every unit has its norms, and the parts of every gradient add up to it, to float32's rounding."""

    def loss(outputs: Any) -> Tensor:
        logits = outputs if isinstance(outputs, Tensor) else outputs.logits
        return logits.square().mean() + logits.mean()

    model = case.build()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():  # a head that starts at zero lets no gradient through
                parameter.fill_(0.01)
    units = probe(model, case.inputs(), loss=loss).units
    for column in ("x_norm", "branch_norm", "grad_in_norm", "grad_branch_norm", "grad_shortcut_norm"):
        assert units[column].notna().all(), column
    assert (units["additivity_error"].fillna(0) <= sum_of_terms("float32", 2)).all()
    assert (units["nonfinite"] == 0).all()


def test_every_parameter_has_a_row() -> None:
    """Stem and head are covered too, and belong to no unit."""
    model = build_model("preact29-bottleneck", width=4)
    parameters = probe(model, IMAGES(), TARGETS).parameters
    assert parameters["name"].tolist() == [name for name, _ in model.named_parameters()]
    units = parameters.set_index("name")["unit"]
    assert units[["stem.conv.weight", "head.weight", "final_activation.bn.weight"]].isna().all()
    assert units["stage2.0.branch.conv1.weight"] == 3
    assert units["stage2.0.shortcut.conv.weight"] == 3
    # The activation before the split of a stage's first unit is the end of the unit before.
    assert pd.isna(units["stage1.0.pre_activation.bn.weight"])


def test_norms_of_parameters_are_those_of_autograd() -> None:
    """Norms and gradient norms of all parameters are those of an ordinary backward pass."""
    model = build_model("resnet14", width=4)
    record = probe(model, IMAGES(), TARGETS)
    nn.functional.cross_entropy(model(IMAGES()), TARGETS).backward()
    for row in record.parameters.itertuples():
        parameter = model.get_parameter(row.name)
        assert row.norm == pytest.approx(float(parameter.detach().double().norm()), rel=1e-6)
        assert row.grad_norm == pytest.approx(float(parameter.grad.double().norm()), rel=1e-6)
    whole = torch.cat([parameter.grad.flatten().double() for parameter in model.parameters()]).norm()
    assert record.steps["param_grad_norm"][0] == pytest.approx(float(whole), rel=1e-6)


def test_frozen_and_unused_parameters_have_no_gradient() -> None:
    """A parameter that needs no gradient, or that the loss does not use, has a null gradient norm."""
    model = seeded(Chain)
    model.unused = nn.Linear(2, 2)
    model.stem.weight.requires_grad_(False)
    parameters = probe(model, rows(), labels()).parameters.set_index("name")
    null = parameters["grad_norm"].isna()
    assert set(null.index[null]) == {"stem.weight", "unused.weight", "unused.bias"}
    assert parameters["norm"].notna().all()


def test_metadata_says_what_was_run() -> None:
    """Model, loss, mode, dtype, device, threads, versions and time are found without being told."""
    model = build_model("preact8", width=4)
    meta = probe(model, IMAGES(), TARGETS, bn="frozen").meta
    assert meta["model"] == {
        "name": "ResidualNetwork",
        "options": {},
        "class": "gradflow.models.network.ResidualNetwork",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    assert meta["gradflow_version"] == gradflow.__version__
    assert meta["batch_size"] == 2
    assert (meta["bn"], meta["dtype"], meta["device"]) == ("frozen", "float32", "cpu")
    assert meta["threads"] == torch.get_num_threads()
    assert torch.__version__.startswith(meta["versions"]["torch"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", meta["created"])
    assert meta["checkpoint"] is None
    assert meta["skipped"] == []


def test_what_the_caller_knows_wins() -> None:
    """Metadata that is given replaces what was found, key by key, inside `model` too."""
    meta = {
        "model": {"name": "preact8", "options": {"width": 4}},
        "checkpoint": {"name": "a.pt", "iteration": 700},
        "seeds": [3],
        "batch_index": 2,
        "extra": "kept",
    }
    given = {key: value.copy() if isinstance(value, dict) else value for key, value in meta.items()}
    record = probe(build_model("preact8", width=4), IMAGES(), TARGETS, meta=meta)
    assert meta == given
    assert record.meta["model"]["name"] == "preact8"
    assert record.meta["model"]["class"].endswith("ResidualNetwork")
    assert record.meta["extra"] == "kept"
    for table in (record.units, record.parameters, record.steps):
        assert set(table["iteration"]) == {700}
        assert set(table["seed"]) == {3}
        assert set(table["batch_index"]) == {2}


def test_what_was_passed_over_is_in_the_record() -> None:
    """Additions that are no unit are named with the reason, equal ones together."""
    case = cases.GPT2
    skipped = probe(case.build(), case.inputs(), case.targets()).meta["skipped"]
    assert {entry["what"] for entry in skipped} >= {"addition in transformer.h.0.mlp.act"}
    assert all(entry["why"] for entry in skipped)


def test_a_value_that_could_not_be_read_is_said() -> None:
    """Where x_l is only used out of sight, its norm is null and the record says why."""

    class Concatenated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.f = nn.Linear(4, 3), branch(3)
            self.wide = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            padded = torch.cat([x, x.new_zeros(len(x), 1)], dim=1)  # a tensor in a list is out of sight
            return padded + self.wide(self.f(x))

    record = probe(Concatenated(), rows(), loss=torch.sum)
    assert record.units["shortcut"].tolist() == ["padding"]
    if record.units["x_norm"].isna()[0]:
        assert "x_norm of unit 0 ()" in {entry["what"] for entry in record.meta["skipped"]}
    else:
        assert record.units["x_norm"][0] == pytest.approx(record.units["shortcut_norm"][0])


def test_inputs_of_several_kinds_are_measured_alike() -> None:
    """A tensor, a tuple and a dict of the same arguments give the same record."""
    model = seeded(Chain)
    tables = [probe(model, inputs, labels()).units for inputs in (rows(), (rows(),), [rows()], {"x": rows()})]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0])


def test_a_probe_repeats() -> None:
    """Two probes of one model give the same bits, dropout included, and no random number is used up."""
    model = build_model("resnet14", width=4, shortcut="dropout:0.5")
    first, second = (probe(model, IMAGES(), TARGETS).units for _ in range(2))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_an_altered_gradient_shows_in_the_additivity() -> None:
    """A hook that makes ∂E/∂x_1 a tenth larger is seen there and nowhere else: parts no longer add up."""

    class Altered(Chain):
        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            for index, f in enumerate(self.branches):
                if index == 1:
                    x.register_hook(lambda gradient: 1.1 * gradient)
                x = x + f(x)
            return self.head(x)

    errors = probe(seeded(Altered), rows(), labels()).units["additivity_error"]
    assert errors[1] == pytest.approx(0.1 / 1.1, rel=1e-5)
    assert errors[0] <= 1e-7
    assert errors[2] <= 1e-7


def test_gradients_may_be_off_around_it() -> None:
    """A probe works under `torch.no_grad`, with the same numbers."""
    model = seeded(Chain)
    with torch.no_grad():
        inside = probe(model, rows(), labels()).units
    pd.testing.assert_frame_equal(inside, probe(model, rows(), labels()).units)


@pytest.mark.parametrize("first", ["frozen stem", "prepared input"])
def test_the_first_unit_is_measured_with_no_parameter_below_it(first: str) -> None:
    """Where nothing below a fork needs a gradient, ∂E/∂x_l and its parts are read all the same."""

    class Prepared(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x - 0.1) / 2

    model = seeded(Chain).double()
    if first == "frozen stem":
        model.stem.requires_grad_(False)
    else:
        model.stem = Prepared()
    record = probe(model, rows(dtype=torch.float64), labels())
    assert record.meta["skipped"] == []
    for column in ("grad_in_norm", "grad_shortcut_norm", "grad_branch_norm", "backward_cosine"):
        assert record.units[column].notna().all(), column
    if first == "frozen stem":
        model.stem.requires_grad_(True)
        pd.testing.assert_frame_equal(
            record.units, probe(model, rows(dtype=torch.float64), labels()).units, check_exact=False
        )


def test_one_sample_is_a_batch() -> None:
    """A batch of one has its statistics: all quantiles are that sample's value."""
    units = probe(seeded(Chain), rows(1), labels(1)).units
    assert units["batch"].tolist() == [1, 1, 1]
    assert units["survival_min"].tolist() == units["survival_max"].tolist()


def test_sequences_before_the_batch() -> None:
    """Where the first dimension is no sample's, whole-batch columns stand and per-sample ones are null."""

    class SequenceFirst(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.f = nn.Linear(4, 4), branch()

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x).transpose(0, 1)
            return x + self.f(x)

    units = probe(SequenceFirst(), torch.randn(3, 5, 4), loss=torch.sum).units
    assert units["grad_in_norm"].notna().all()
    assert units.filter(regex="cancellation|survival").isna().all(axis=None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision(dtype: torch.dtype) -> None:
    """A model in half precision is measured; norms agree with float32's to its own rounding."""
    model = seeded(Chain)
    expected = probe(model, rows(), labels()).units
    measured = probe(model.to(dtype), rows(dtype=dtype), labels()).units
    for column in ("x_norm", "grad_in_norm", "grad_branch_norm"):
        assert measured[column].tolist() == pytest.approx(expected[column].tolist(), rel=0.1)
    assert (measured["additivity_error"] < 2.0**-7).all()
