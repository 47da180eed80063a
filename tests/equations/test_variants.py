"""Shortcuts, masks and rewritten networks: computed by hand, and spoilt by a thousandth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import replace

import cases
import pandas as pd
import pytest
import torch
from small_networks import Chain, LinearBranches, labels, rows, seeded
from torch import Tensor, nn

from gradflow import build_model, check
from gradflow.determinism import seeded as seed
from gradflow.equations import flows, held, rewriting, shortcut_gains, tensors
from gradflow.equations.contributions import contribution_norms
from gradflow.equations.evaluation import evaluate
from gradflow.probing.capture import Capture, captured

THOUSANDTH = 1e-3

A = torch.tensor([[0.5, 0.0], [0.25, 0.0]], dtype=torch.float64)
B = torch.tensor([[0.0, 2.0], [1.0, -1.0]], dtype=torch.float64)
EYE = torch.eye(2, dtype=torch.float64)
X = torch.tensor([[1.0, 2.0], [-4.0, 8.0]], dtype=torch.float64)


def total(outputs: Tensor) -> Tensor:
    """Return a loss whose gradient at the output is one everywhere."""
    return outputs.sum()


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_linear_network_of_width_two(scale: float) -> None:
    """x_2 = (λ + B)(λ + A) x_0, so ∂E/∂x_0 = (λ + A)ᵀ(λ + B)ᵀ ∂E/∂x_2; what is captured is exactly that."""
    model = LinearBranches(A, B, shortcut=scale).double()
    with captured(model, X, loss=total) as capture:
        ones = torch.ones_like(X)
        first, second = scale * EYE + A, scale * EYE + B
        assert torch.equal(capture.values[capture.units[1].out], X @ first.T @ second.T)
        assert torch.equal(capture.gradients[capture.units[0].fork], ones @ second @ first)
        sums = capture.branch_sum_vjps(0, [ones * scale, ones])
        jacobian = second @ first - scale**2 * EYE
        assert torch.equal(sums[0], ones @ jacobian)
        checks = pd.DataFrame(evaluate(capture, "12345678", None, "float64"))
    assert checks[checks["expected_to_hold"]]["error"].max() == 0
    assert checks["expected_to_hold"].all() == (scale == 1.0)
    assert len(checks[checks["expected_to_hold"] & (checks["equation"] == "8")]) > 3


@pytest.mark.parametrize("scale", [0.5, 2.0, -0.25])
def test_the_gradient_ratio_is_a_power_of_lambda(scale: float) -> None:
    """With the branches blocked, and with branches of zeros, ‖∂E/∂x_l‖ / ‖∂E/∂x_L‖ is |λ|^(L−l) exactly."""
    for branches in ([A, B, A], [0 * A] * 3):
        gains = shortcut_gains(LinearBranches(*branches, shortcut=scale).double(), X, loss=total)
        expected = [abs(scale) ** power for power in (3, 2, 1)]
        assert gains["blocked_gain"].tolist() == expected
        assert gains["predicted_gain"].tolist() == expected
        assert gains["units_between"].tolist() == [3, 2, 1]
        assert (gains["whole_gain"].tolist() == expected) is (branches[0] is not A)


def test_gains_of_dropout_by_hand() -> None:
    """With torch's dropout every element arrives times 2^k or not at all; nothing is predicted."""
    with seed(0):
        model = Chain(lambda x, f: nn.functional.dropout(x, 0.5) + f(x), units=3).double()
        gains = shortcut_gains(model, rows(dtype=torch.float64), labels())
    assert gains["predicted_gain"].isna().all()
    assert (gains["blocked_gain"] <= 2.0 ** gains["units_between"]).all()
    assert (gains["blocked_gain"] > 0).all()


def test_gains_that_are_not_finite_are_null() -> None:
    """A NaN among the weights takes away what it reaches."""
    model = seeded(Chain)
    with torch.no_grad():
        model.head.weight[0] = math.nan
    gains = shortcut_gains(model, rows(), labels())
    assert gains[["whole_gain", "blocked_gain"]].isna().all(axis=None)


def scaled(x: Tensor, f: nn.Module) -> Tensor:
    """Combine with λ = ½ on the shortcut."""
    return 0.5 * x + f(x)


def masked(x: Tensor, f: nn.Module) -> Tensor:
    """Combine with ReLU after the addition."""
    return torch.relu(x + f(x))


def gated(x: Tensor, f: nn.Module) -> Tensor:
    """Combine with a gate on the shortcut."""
    return (1 - torch.sigmoid(x)) * x + f(x)


def dropped(x: Tensor, f: nn.Module) -> Tensor:
    """Combine with dropout on the shortcut."""
    return nn.functional.dropout(x, 0.5) + f(x)


def failures(combine: Callable, numbers: str) -> dict[tuple[str, str], set[tuple[int, int]]]:
    """Return the spans on which what is expected to hold on a chain of four units does not."""
    with seed(0):
        model = Chain(combine, units=4).double()
        # ReLU ends where the head begins, so the last unit has the f of the others.
        checks = check(model, rows(dtype=torch.float64), labels(), equations=numbers).checks
    failed = checks[checks["expected_to_hold"] & ~checks["holds"]]
    found: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for row in failed.itertuples():
        found.setdefault((row.equation, row.form), set()).add((row.span_start, row.span_end))
    return found


def holding(spans: set[tuple[int, int]], unit: int) -> bool:
    """Whether every one of the spans, of which there are some, holds the unit."""
    return bool(spans) and all(first <= unit < end for first, end in spans)


@pytest.mark.parametrize("combine", [scaled, gated, dropped, masked], ids=lambda combine: combine.__name__)
def test_nothing_fails_unspoilt(combine: Callable) -> None:
    """The control of the controls."""
    assert failures(combine, "12345678") == {}


@pytest.mark.parametrize("unit", [0, 2, 3])
@pytest.mark.parametrize("combine", [scaled, dropped], ids=["λ", "a dropout's mask"])
def test_a_changed_factor_is_caught(combine: Callable, unit: int, monkeypatch) -> None:
    """One λ, or one mask, off by a thousandth fails eq. 6 to 8 where it is in them."""
    real = held.held_shortcut

    def spoilt(traced, dtype):
        found = real(traced, dtype)
        if traced.index != unit:
            return found
        off = held.multiplication_by(1 + THOUSANDTH, dtype)
        return held.Held((*found.steps, off))

    monkeypatch.setattr(tensors, "held_shortcut", spoilt)
    found = failures(combine, "678")
    assert found["6", "forward"] == {(unit, unit + 1)}
    for statement in (("7", "forward"), ("8", "telescoped"), ("8", "blocked")):
        assert holding(found[statement], unit), statement


@pytest.mark.parametrize("unit", [0, 2, 3])
def test_a_changed_relu_mask_is_caught(unit: int, monkeypatch) -> None:
    """One D off by a thousandth fails the masked forms where it is in them, and nothing else."""
    real = tensors.Tensors.mask

    def spoilt(self, index):
        mask = real(self, index)
        return mask * (1 + THOUSANDTH) if index == unit else mask

    monkeypatch.setattr(tensors.Tensors, "mask", spoilt)
    found = failures(masked, "12345678")
    for statement in (("4", "masked"), ("5", "masked telescoped"), ("8", "masked blocked")):
        assert holding(found[statement], unit), statement
    assert all(form.startswith("masked") for _, form in found)


def test_a_mask_that_is_left_out_is_caught(monkeypatch) -> None:
    """The masks stand in front of F_i with the unit's own included: eq. 7's indices would not do."""
    real = flows.Flow.after
    monkeypatch.setattr(
        flows.Flow, "after", lambda self, unit: flows.UNCHANGED if self.forward else real(self, unit)
    )
    monkeypatch.setattr(
        flows.Flow, "before", lambda self, unit: self._mask(unit) if self.forward else self._shortcut(unit)
    )
    assert ("4", "masked") in failures(masked, "4")


def test_a_gate_without_its_own_derivative_is_caught(monkeypatch) -> None:
    """h′ of a gate is more than 1 − g(x): without the g′(x)·x term eq. 8 fails."""
    monkeypatch.setattr(held.Held, "gated", False)
    found = failures(gated, "678")
    assert ("8", "blocked") in found
    assert ("8", "telescoped") in found
    assert ("7", "forward") not in found


@pytest.mark.parametrize("element", ["weight", "bias"])
def test_a_changed_convolution_is_caught(element: str, monkeypatch) -> None:
    """A 1×1 convolution on the shortcut with another gain or shift behind it is another h."""
    model = build_model("preact26", width=4, shortcut="conv").double()
    images, targets = cases.images(2, 3, 8, 8)().double(), torch.tensor([1, 2])
    assert not failed(check(model, images, targets, equations="67").checks)
    real = held.held_shortcut

    def spoilt(traced, dtype):
        found = real(traced, dtype)
        change = (lambda u: u * (1 + THOUSANDTH)) if element == "weight" else (lambda u: u + THOUSANDTH)
        *steps, last = found.steps
        apply = last.apply
        return held.Held((*steps, dataclasses.replace(last, apply=lambda u: change(apply(u)))))

    monkeypatch.setattr(tensors, "held_shortcut", spoilt)
    assert failed(check(model, images, targets, equations="67").checks) == {"6", "7"}


def failed(checks: pd.DataFrame) -> set[str]:
    """Return the equations that were expected to hold and did not."""
    return set(checks[checks["expected_to_hold"] & ~checks["holds"]]["equation"])


@pytest.mark.parametrize("form", ["outputs", "gradients"])
def test_eq_9_off_by_a_thousandth_is_caught(form: str) -> None:
    """Outputs, or one gradient of one weight, that differ by a thousandth are not the same network's."""
    model = build_model("preact20", width=4).double()
    images, targets = cases.images(2, 3, 8, 8)().double(), torch.tensor([1, 2])
    given = {"loss": None, "bn": "batch", "dtype": "float64"}
    with captured(model, images, targets) as capture:
        original = rewriting.Original.of(capture)
    for spoilt in (False, True):
        if spoilt and form == "outputs":
            original = replace(original, outputs=original.outputs * (1 + THOUSANDTH))
        elif spoilt:
            first, second, *others = original.gradients
            original = replace(original, gradients=(first, second * (1 + THOUSANDTH), *others))
        verdicts = rewriting.asymmetric_writing(model, original, images, targets, **given)
        held_by_form = {row["form"]: row["holds"] for row in (verdict.row("float64") for verdict in verdicts)}
        assert held_by_form == {"outputs": True, "gradients": True} | ({form: False} if spoilt else {})


@pytest.mark.parametrize("change", [lambda _: None, lambda gradient: gradient[:1]], ids=["none", "cut"])
@pytest.mark.parametrize("form", ["outputs", "gradients"])
def test_eq_9_fails_where_only_one_writing_has_something(form: str, change: Callable) -> None:
    """A gradient that only one of the writings has, or has in another shape, is not left out."""
    model = build_model("preact14", width=4).double()
    images, targets = cases.images(2, 3, 8, 8)().double(), torch.tensor([1, 2])
    with captured(model, images, targets) as capture:
        original = rewriting.Original.of(capture)
    if form == "outputs":
        original = replace(original, outputs=change(original.outputs))
    else:
        original = replace(original, gradients=(change(original.gradients[0]), *original.gradients[1:]))
    verdicts = rewriting.asymmetric_writing(
        model, original, images, targets, loss=None, bn="batch", dtype="float64"
    )
    rows = {row["form"]: row for row in (verdict.row("float64") for verdict in verdicts)}
    assert rows[form]["expected_to_hold"]
    assert not rows[form]["holds"]
    assert sum(row["holds"] for row in rows.values()) == 1


GATES = ("gate:shortcut,-1", "gate:exclusive,-6")


def cancelling(shortcut: str, seed: int) -> tuple[nn.Module, Tensor, Callable[[Tensor], Tensor]]:
    """Return a gated network, two images that are nearly one, and a loss in which they cancel."""
    model = build_model("preact14", width=4, shortcut=shortcut, seed=seed).double()
    generator = torch.Generator().manual_seed(seed)
    image, other = torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)
    weights = torch.randn(10, generator=generator, dtype=torch.float64)
    return (
        model,
        torch.stack([image, image + 1e-6 * other]),
        lambda outputs: (outputs[0] - outputs[1]) @ weights,
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shortcut", GATES)
def test_eq_9_holds_where_contributions_cancel(shortcut: str, seed: int, monkeypatch) -> None:
    """Gradients that are a millionth of what enters them agree to rounding of that, and not of themselves."""
    model, images, loss = cancelling(shortcut, seed)
    checks = check(model, images, loss=loss, bn="running", equations="9").checks.set_index("form")
    row = checks.loc["gradients"]
    assert row["expected_to_hold"]
    assert row["holds"], row
    monkeypatch.setattr(rewriting, "contribution_norms", lambda _, weights: [0.0] * len(weights))
    alone = check(model, images, loss=loss, bn="running", equations="9").checks.set_index("form")
    assert not alone.loc["gradients", "holds"]


@pytest.mark.parametrize("share", [1e-3, 1e-9])
@pytest.mark.parametrize("shortcut", GATES)
def test_what_is_off_beside_what_cancels_is_caught(shortcut: str, share: float) -> None:
    """One gradient that is off by a thousandth of what enters it fails, and so does one of far less."""
    model, images, loss = cancelling(shortcut, 0)
    given = {"loss": loss, "bn": "running", "dtype": "float64"}
    with captured(model, images, loss=loss, bn="running") as capture:
        original = rewriting.Original.of(capture)
    (at,) = [
        index
        for index, (name, _) in enumerate(model.named_parameters())
        if name.startswith("stage1.0.") and name.endswith("gate.conv.bias")
    ]
    with rewriting.traced_forward(
        model, images, None, rewriting.Bystander(), loss=loss, bn="running", units=None
    ) as forward:
        (enters,) = rewriting.contribution_norms(forward.value, [list(model.parameters())[at]])
    gradients = list(original.gradients)
    norm = float(gradients[at].norm())
    assert norm < 1e-3 * enters
    gradients[at] = gradients[at] * (1 + share * enters / norm)
    spoilt = replace(original, gradients=tuple(gradients))
    held_by_form = {
        verdict.form: verdict.row("float64")["holds"]
        for verdict in rewriting.asymmetric_writing(model, spoilt, images, None, **given)
    }
    assert held_by_form == {"outputs": True, "gradients": False}


def test_contributions_by_hand() -> None:
    """z = W x + b in two samples with ∂E/∂z = (3, −3): what enters ∂E/∂b is (3² + 3²)^½, and its sum is 0."""
    layer = nn.Linear(1, 1).double()
    twice = nn.Linear(1, 1, bias=False).double()
    inputs = torch.tensor([[2.0], [5.0]], dtype=torch.float64)
    loss = (3 * layer(inputs)[0] - 3 * layer(inputs)[1]).sum()
    loss = loss + 2 * twice(inputs)[0].sum() + twice(inputs)[1].sum()
    unused = nn.Parameter(torch.zeros(1))
    found = contribution_norms(loss, [layer.bias, layer.weight, twice.weight, unused])
    assert found[0] == pytest.approx(18**0.5)
    assert found[1] == pytest.approx((6**2 + 15**2) ** 0.5)
    assert found[2] == pytest.approx((4**2 + 5**2) ** 0.5)
    assert found[3] == 0


def test_contributions_add_up_in_squares_on_average() -> None:
    """Over a layer's two samples: (δ_1 ± δ_2)² averages to δ_1² + δ_2², within what eight draws allow."""
    layer = nn.Conv2d(1, 64, 1).double()
    inputs = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    (found,) = contribution_norms(layer(inputs).sum(), [layer.bias])
    assert found == pytest.approx((64 * 64) ** 0.5, rel=0.25)  # 64 sums of 64 ones each


@pytest.mark.parametrize(("seen", "off"), [("values", "product"), ("gradients", "jacobians")])
def test_a_plain_product_off_by_a_thousandth_is_caught(seen: str, off: str) -> None:
    """x_L = Π W_i x_l literally on linear blocks, and its gradient; either, off by a thousandth, fails."""
    with seed(0):
        model = nn.Sequential(
            nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 3, bias=False)
        )
    with captured(model.double(), rows(dtype=torch.float64), labels(), units=r"\d") as capture:
        honest = plain_rows(capture)
        port = capture.units[1].out if seen == "values" else capture.units[0].fork
        getattr(capture, seen)[port] = getattr(capture, seen)[port] * (1 + THOUSANDTH)
        spoilt = plain_rows(capture)
    assert honest["expected_to_hold"].all()
    assert honest["holds"].all()
    assert set(honest["form"]) == {"product", "jacobians"}
    assert set(spoilt[~spoilt["holds"]]["form"]) == {off}


def plain_rows(capture: Capture) -> pd.DataFrame:
    """Return the rows of the plain network's product."""
    return pd.DataFrame(evaluate(capture, ["plain"], None, "float64"))


def test_a_plain_network_that_overflows_fails() -> None:
    """Values beyond the range of float32 are not finite, and no check of them passes."""
    blocks = [nn.Linear(4, 4, bias=False) for _ in range(3)]
    with torch.no_grad():
        for block in blocks:
            block.weight.fill_(1e20)
    checks = check(
        nn.Sequential(*blocks), rows(), loss=total, units=r"\d", equations=["plain"], dtypes=[torch.float32]
    ).checks
    assert checks["expected_to_hold"].all()
    assert not checks[checks["form"] == "jacobians"].iloc[-1]["holds"]
    assert checks[~checks["holds"]]["finding"].str.contains("not finite").all()
