"""What is not finite anywhere in a network fails its checks, also where no checked term sees it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import pytest
import torch
from small_networks import Chain, ConvolutionalChain, labels, pictures, rows, seeded
from torch import Tensor, nn

from gradflow import Record, build_model, check


def failed(record: Record) -> pd.DataFrame:
    """Return the rows that whoever asserts on a record looks at."""
    return record.checks.query("expected_to_hold and not holds")


def zoo(name: str, bad: str | None) -> nn.Module:
    """Return a small network of the zoo with one NaN in the parameter `bad`."""
    model = build_model(name, width=4, seed=0)
    if bad is not None:
        with torch.no_grad():
            model.get_parameter(bad).view(-1)[0] = math.nan
    return model


@pytest.mark.parametrize(
    ("name", "bad", "options"),
    [
        ("resnet14", "stage2.1.branch.conv1.weight", {"equations": "9"}),
        ("preact14", "head.weight", {"equations": "1234"}),
        ("preact14", "stage3.1.branch.conv1.weight", {"equations": "4", "spans": [(0, 2)]}),
    ],
    ids=["nothing is evaluated", "in the head alone", "in another branch"],
)
def test_a_nan_that_no_term_sees_fails_every_check(name: str, bad: str, options: dict) -> None:
    """The network is not finite, whatever the terms are: all rows fail, and name the parameter."""
    images, classes = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    honest = check(zoo(name, None), images, classes, **options)
    assert failed(honest).empty
    assert not any("not finite" in note for note in honest.meta["notes"])
    record = check(zoo(name, bad), images, classes, **options)
    assert len(failed(record)) == len(record.checks) == len(honest.checks)
    assert record.checks["finding"].str.contains(f"{bad} and the loss are not finite", regex=False).all()
    said = f"{bad} and the loss are not finite in float32 and float64"
    assert [note for note in record.meta["notes"] if note.startswith(said)]


def test_a_loss_that_is_not_finite_fails() -> None:
    """Its gradients may be finite all the same, and every term with them."""
    whole = check(seeded(Chain), rows(), loss=lambda outputs: outputs.square().sum())
    assert failed(whole).empty
    record = check(seeded(Chain), rows(), loss=lambda outputs: outputs.square().sum() + math.nan)
    assert len(failed(record)) == len(record.checks)
    assert (record.checks["error"].dropna() <= record.checks["tolerance"].max()).all()
    assert failed(record)["finding"].str.contains("the loss is not finite").all()


def test_what_is_finite_in_one_dtype_only_fails_in_the_other() -> None:
    """A weight of 10³⁰⁰ is infinite in float32, though the loss does not see it."""
    model = seeded(Chain).double()
    model.unused = nn.Parameter(torch.full((1,), 1e300, dtype=torch.float64))
    given = rows(dtype=torch.float64), labels()
    checks = check(model, *given, dtypes=[torch.float64, torch.float32]).checks
    single = checks["dtype"] == "float32"
    assert not checks[single]["holds"].any()
    assert checks[~single & checks["expected_to_hold"]]["holds"].all()


def test_running_statistics_count_where_they_are_used() -> None:
    """A NaN in them is no part of a pass that normalises by the batch."""
    model = seeded(ConvolutionalChain)
    model.branches[2][0].running_var[0] = math.nan
    assert failed(check(model, pictures(), labels(2), equations="4")).empty
    record = check(model, pictures(), labels(2), equations="4", spans=[(0, 2)], bn="running")
    assert len(failed(record)) == 2
    assert failed(record)["finding"].str.contains("branches.2.0.running_var", regex=False).all()


class Masked(Chain):
    """A chain with a buffer that the head's input goes through."""

    def __init__(self, fill: float) -> None:
        super().__init__()
        self.register_buffer("mask", torch.tensor([0.0, 0.0, 0.0, fill]))

    def forward(self, x: Tensor) -> Tensor:
        """Take a softmax of the input, of which the mask leaves out the last element."""
        return super().forward(torch.softmax(x + self.mask, dim=1))


@pytest.mark.parametrize(("fill", "fails"), [(-math.inf, False), (math.nan, True)])
def test_masks_of_infinities_are_no_failure(fill: float, fails: bool) -> None:
    """−∞ is how a softmax is told to leave something out; NaN means nothing."""
    build: Callable[[], nn.Module] = lambda: Masked(fill)  # noqa: E731
    assert failed(check(seeded(build), rows(), labels())).empty is not fails
