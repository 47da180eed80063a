"""Findings in plain words: true of networks that were built to have them, and absent from others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from _records import make_record
from small_networks import Chain, LinearBranches, labels, rows, seeded
from torch import Tensor, nn

import gradflow
from gradflow.findings import findings, locate_nonfinite
from gradflow.record import Record


def said_of(model: nn.Module) -> str:
    """Return the findings about a probe of `model`."""
    return "\n".join(findings(gradflow.probe(model, rows(), labels())))


def scaling(*factors: float) -> str:
    """Return the findings about units y = x + a x with the loss Σ y."""
    model = LinearBranches(*(factor * torch.eye(4) for factor in factors))
    return "\n".join(findings(gradflow.probe(model, rows(), loss=torch.sum)))


TROUBLES = ("next to nothing", "cancel:", "Nothing comes back", "NaN or infinite")


def test_a_healthy_network_has_no_troubles() -> None:
    """Only rates and shares are said of a network in which all is well."""
    said = said_of(seeded(Chain))
    assert "the gradient norm" in said
    assert not any(trouble in said for trouble in TROUBLES)


def test_rates_are_those_of_the_network() -> None:
    """Growth by 1.5 a unit with one of 3 among them: the rate, and the unit in which it is most."""
    said = scaling(0.5, 0.5, 2.0, 0.5)
    assert "It grows most in unit 2 (identity): ×3." in said
    assert "it grows to ×10.1" in said  # 1.5³ · 3
    assert "It shrinks most in unit 1 (identity): ×0.5." in scaling(0.0, -0.5, 0.0)


def test_ends_and_slope_that_disagree_are_no_direction() -> None:
    """Five units that grow by 1.3 and one that shrinks to a fifth: it falls to ×0.743 and its slope rises."""
    said = scaling(0.5, -0.8, *[0.3] * 5)
    assert "the gradient norm changes: stage 0 (units 0 to 6) to ×0.743, that is ×1.0" in said
    assert "the gradient norm grows: stage 0 (units 0 to 6) to ×3.71" in scaling(0.5, *[0.3] * 5, 0.0)


def test_units_that_do_nothing() -> None:
    """A branch of a thousandth of the norm does nothing, one of a tenth does something."""
    said = scaling(0.5, 1e-3, 0.5, 0.0)
    assert "2 units do next to nothing: the branch has at most 10⁻⁴ % of the signal's energy" in said.replace(
        "\u00a0", " "
    )
    assert "in unit 1 (identity), unit 3 (identity)." in said
    assert "1 unit does next to nothing" in scaling(0.5, 1e-3)
    assert "next to nothing" not in scaling(0.5, 0.1)


def test_units_that_cancel() -> None:
    """At a = −0.9 a tenth of signal and gradient is left; at −0.4 it is more than half, and not said."""
    said = scaling(0.1, -0.9, -0.7)
    assert "Backward, shortcut and branch cancel" in said
    assert (
        "in unit 1 (identity), unit 2 (identity); least in unit 1 (identity), where ‖s + b‖ / ‖s‖ is 0.1"
        in said
    )
    assert "ρ = ⟨b, s⟩ / ‖s‖² is −0.9." in said
    assert "Forward, shortcut and branch cancel" in said
    assert "where ‖y‖ / ‖h‖ is 0.1 at a cosine of −1." in said
    assert "cancel:" not in scaling(0.1, -0.4)


class Branched(Chain):
    """A chain whose branches end in a ReLU between two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)) for _ in range(3)
        )


def test_dead_relus_and_zero_layers_are_told_apart() -> None:
    """A ReLU that is off for the whole batch is dead, a last layer of zeros learns, a half is neither."""
    dead = seeded(Branched)
    with torch.no_grad():
        dead.branches[1][0].bias.fill_(-1e3)
    said = said_of(dead)
    assert "Nothing comes back through the branch of unit 1 (identity), although a gradient arrives" in said
    assert "3 of 4 parameter tensors get a gradient of exactly 0" in said
    zero = seeded(Branched)
    with torch.no_grad():
        zero.branches[2][2].weight.zero_()
    said = said_of(zero)
    assert "through the branch of unit 2 (identity): a parameter in it is 0 (branches.2.2.weight)" in said
    assert "dead" not in said
    half = seeded(Branched)
    with torch.no_grad():
        half.branches[1][0].bias[:2] = -1e3
    assert "Nothing comes back" not in said_of(half)


class Spoilt(nn.Module):
    """Passes on its input, with an infinity forward or a NaN backward."""

    def __init__(self, *, backward: bool) -> None:
        super().__init__()
        self.backward = backward

    def forward(self, x: Tensor) -> Tensor:
        if not self.backward:
            return x * float("inf")
        x = x * 1
        if x.requires_grad:
            x.register_hook(lambda gradient: gradient * float("nan"))
        return x


@pytest.mark.parametrize(
    ("backward", "began"),
    [(False, "going forward, it began in unit 1"), (True, "going backward, it began in unit 1")],
)
def test_where_numbers_stop_being_finite(backward: bool, began: str) -> None:
    """The unit in which it began is named: the first forward, or else the last backward."""
    model = seeded(Chain)
    model.branches[1].append(Spoilt(backward=backward))
    record = gradflow.probe(model, rows(), labels())
    assert began in locate_nonfinite(record)
    assert began in "\n".join(findings(record))


def test_inputs_that_are_not_finite() -> None:
    """NaN from the input on is NaN in every unit, and began in the first one."""
    record = gradflow.probe(seeded(Chain), rows() * float("nan"), labels())
    assert "going forward, it began in unit 0" in locate_nonfinite(record)


def test_weights_that_are_not_finite() -> None:
    """A parameter that is not finite is what is named, before what it does to the units."""
    model = seeded(Chain)
    with torch.no_grad():
        model.branches[1][0].weight[0, 0] = float("inf")
    assert "the parameter branches.1.0.weight is not finite" in said_of(model)


def test_the_last_iteration_is_described() -> None:
    """Of a recording with several iterations the findings are the last one's."""
    records = [make_record(stages=(4,), growth=growth, iteration=at) for at, growth in ((0, 2.0), (10, 0.5))]
    assert "the gradient norm shrinks" in "\n".join(findings(Record.concat(records)))
    assert "the gradient norm grows" in "\n".join(findings(Record.concat(records[::-1][1:])))


def test_nothing_finite_is_said_so() -> None:
    """A record without a number says that, and not nothing."""
    record = make_record(stages=(2,), checks=False)
    floats = [name for name in record.units if record.units[name].dtype == np.float64]
    units = record.units.assign(**dict.fromkeys(floats, np.nan))
    assert findings(Record(units, meta=record.meta)) == ["Nothing was finite, so there is nothing to say."]


def test_findings_need_no_torch() -> None:
    """They are read from a record where torch is not installed."""
    code = "import gradflow.findings, sys; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    root = Path(gradflow.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "False False"
