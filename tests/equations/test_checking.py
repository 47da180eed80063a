"""Equations 3, 4 and 5 on real networks: where they must hold, where not, and on which spans."""

from __future__ import annotations

from typing import Any

import cases
import pandas as pd
import pytest
import torch
from left_alone import Snapshot
from small_networks import Chain, LinearBranches, labels, rows, seeded
from torch import Tensor, nn

from gradflow import build_model, check, probe
from gradflow.errors import ProbeError
from gradflow.probing.capture import captured
from gradflow.record.schema import CHECKS
from gradflow.tolerances import UNIT_ROUNDOFF

PREACT20, PREACT29, RESNET20, RESNET29 = cases.ZOO


def checks_of(case: cases.Case, **options) -> pd.DataFrame:
    """Return the table of checks of a model of the table."""
    return check(case.build(), case.inputs(), case.targets(), **options).checks


@cases.each([PREACT20, PREACT29])
@pytest.mark.parametrize("bn", ["batch", "running", "frozen"])
def test_equations_hold_on_preactivation_networks(case: cases.Case, bn: str) -> None:
    """On identity units every equation holds on every span, in float32 and in float64."""
    checks = checks_of(case, bn=bn)
    identity = checks[checks["expected_to_hold"]]
    assert set(identity["dtype"]) == {"float32", "float64"}
    assert set(zip(identity["equation"], identity["form"], strict=True)) == {
        ("3", "forward"),
        ("4", "forward"),
        ("5", "telescoped"),
        ("5", "vjp"),
    }
    assert identity["holds"].all(), identity[~identity["holds"]].to_string()
    assert identity["finding"].isna().all()
    assert (identity["error"] <= identity["tolerance"]).all()


@cases.each([cases.GPT2])
def test_equations_hold_on_a_transformer(case: cases.Case) -> None:
    """Attention and MLP units of GPT-2 are of the form of eq. 3, all in one chain."""
    checks = checks_of(case)
    assert checks["expected_to_hold"].all()
    assert checks["holds"].all()
    assert (checks["span_end"] - checks["span_start"]).max() == 4


@cases.each([RESNET20, RESNET29, cases.RESNET18])
def test_post_activation_is_a_finding(case: cases.Case) -> None:
    """Where f is ReLU, the deviation is measured, far above rounding, and is no failure."""
    checks = checks_of(case)
    assert not checks["expected_to_hold"].any()
    measured = checks.dropna(subset=["error"])
    assert not measured["holds"].any()
    assert (measured["error"] > 100 * measured["tolerance"]).all()
    assert measured["finding"].str.contains("f is relu").all()


@cases.each([PREACT20, PREACT29])
def test_transitions_are_findings(case: cases.Case) -> None:
    """A unit that pads or projects is named as such; an end of another shape cannot be compared."""
    checks = checks_of(case, equations=["3"], dtypes=[torch.float64]).set_index("span_start")
    kind = "padding" if case is PREACT20 else "projection"
    for unit in (3, 6):
        assert not checks["expected_to_hold"][unit]
        assert not checks["holds"][unit]
        assert pd.isna(checks["error"][unit])
        assert checks["finding"][unit].startswith(f"h is a {kind} shortcut")
        assert "different shapes" in checks["finding"][unit]
    assert checks["finding"][2] == "f is batch_norm+relu"
    assert checks["error"][2] > 1e-3  # the activation at a stage's end is a deviation, not rounding


@pytest.mark.parametrize(
    ("shortcut", "words"),
    [
        ("scale:0.5", "scaled"),
        ("gate:shortcut,-1", "gated"),
        ("conv", "projection"),
        ("dropout:0.5", "dropout"),
    ],
)
def test_other_shortcuts_are_findings(shortcut: str, words: str) -> None:
    """Where h is no identity, eq. 3 does not hold, and the finding says what h is."""
    model = build_model("preact14", width=4, shortcut=shortcut)
    checks = check(model, cases.images(2, 3, 8, 8)(), torch.tensor([1, 2]), equations="3").checks
    first = checks[checks["span_start"] == 0]
    assert not first["expected_to_hold"].any()
    assert not first["holds"].any()
    assert first["finding"].str.contains(f"h is a {words} shortcut").all()


def test_default_spans() -> None:
    """Eq. 3 on each unit; eq. 4 and 5 from a chain's start to each l and from each l to its end."""
    model = seeded(lambda: Chain(units=4))
    checks = check(model, rows(), labels(), dtypes=[torch.float64]).checks

    def spans(equation: str, form: str) -> set[tuple[int, int]]:
        chosen = checks[(checks["equation"] == equation) & (checks["form"] == form)]
        assert not chosen.duplicated(["span_start", "span_end"]).any()
        return set(zip(chosen["span_start"], chosen["span_end"], strict=True))

    both = {(0, 1), (0, 2), (0, 3), (0, 4), (1, 4), (2, 4), (3, 4)}
    assert spans("3", "forward") == {(0, 1), (1, 2), (2, 3), (3, 4)}
    assert spans("4", "forward") == both
    assert spans("5", "telescoped") == both
    assert spans("5", "vjp") == {(0, 4), (1, 4), (2, 4), (3, 4)}


def test_spans_that_are_asked_for() -> None:
    """Any spans inside a chain may be asked for, and only those are checked."""
    model = seeded(lambda: Chain(units=5))
    asked = [(1, 4), (2, 3), (0, 5), (1, 3)]
    checks = check(model, rows(), labels(), spans=asked, dtypes=[torch.float64]).checks
    for form in ("telescoped", "vjp"):
        chosen = checks[checks["form"] == form]
        assert set(zip(chosen["span_start"], chosen["span_end"], strict=True)) == set(asked)
    assert checks["holds"].all()
    assert set(checks[checks["equation"] == "3"]["span_start"]) == {2}


@pytest.mark.parametrize("span", [(1, 5), (2, 2), (4, 3), (0, 100), (-1, 2), (3, 4)])
def test_spans_that_cannot_be_compared_are_refused(span: tuple[int, int]) -> None:
    """A span across a stage, or of no unit, is refused; the error names the spans that there are."""
    with pytest.raises(ProbeError, match=r"cannot be compared.*inside 0-2, 2-3, 4-5, 5-6, 7-9$") as refusal:
        checks_of(PREACT20, spans=[span])
    assert f"span {span[0]}-{span[1]} " in str(refusal.value)


@pytest.mark.parametrize(
    ("equations", "named"), [(["6"], "6"), (["3", "8", "x"], "8, x"), ([], r"\(none was asked for\)")]
)
def test_unknown_equations_are_refused(equations: list[str], named: str) -> None:
    """The error names what is not there, and lists what is."""
    with pytest.raises(ProbeError, match=f"cannot check equation {named}; there are 3, 4, 5"):
        check(Chain(), rows(), labels(), equations=equations)


def test_chosen_equations_alone() -> None:
    """Only the equations that are asked for are in the table, in either order of asking."""
    checks = check(Chain(), rows(), labels(), equations=("5", "3")).checks
    assert set(checks["equation"]) == {"3", "5"}


def test_dtypes() -> None:
    """The model's own dtype and float64 are checked, once each, or the dtypes that are asked for."""
    assert list(check(Chain(), rows(), labels()).checks["dtype"].unique()) == ["float32", "float64"]
    double = check(Chain().double(), rows(dtype=torch.float64), labels()).checks
    assert list(double["dtype"].unique()) == ["float64"]
    half = check(Chain(), rows(), labels(), dtypes=[torch.bfloat16]).checks
    assert list(half["dtype"].unique()) == ["bfloat16"]
    assert half["holds"].all()
    assert (half["error"] > 1e-5).any()  # and not float32 under another name


def test_errors_are_of_the_size_of_rounding() -> None:
    """Errors are near, but below, the roundoff of the dtype in which the network ran, not of another."""
    checks = checks_of(PREACT20)
    identity = checks[checks["expected_to_hold"] & (checks["form"] != "vjp")]
    for dtype, errors in identity.groupby("dtype")["error"]:
        assert UNIT_ROUNDOFF[dtype] / 100 < errors.median() < UNIT_ROUNDOFF[dtype]


def test_the_models_own_precision_is_used_for_targets_too() -> None:
    """Floating-point targets are cast with the model, so that the float64 pass is one."""
    targets = torch.randn(5, 3)
    checks = check(Chain(), rows(), targets).checks
    assert checks["holds"].all()
    assert (checks[checks["dtype"] == "float64"]["error"] < 1e-15).all()


def test_the_record_is_that_of_a_probe() -> None:
    """Beside the checks the record has what `probe` measures, in the model's own dtype."""
    model = seeded(Chain)
    record = check(model, rows(), labels(), meta={"seeds": [4]})
    expected = probe(model, rows(), labels(), meta={"seeds": [4]})
    pd.testing.assert_frame_equal(record.units, expected.units)
    pd.testing.assert_frame_equal(record.parameters, expected.parameters)
    assert record.meta["dtype"] == "float32"
    assert set(record.checks["seed"]) == {4}
    assert record.checks.columns.tolist() == [column.name for column in CHECKS]


def test_model_and_parameters_are_as_before() -> None:
    """The float64 passes run on a copy: dtype, identity and bits of the parameters are unchanged."""
    model = PREACT20.build()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = Snapshot(model)
    check(model, PREACT20.inputs(), PREACT20.targets())
    before.assert_unchanged()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_paper_s_form_is_a_sum_of_products_of_single_branches() -> None:
    """One backward pass for ΣF gives what a vector-Jacobian product for each F_i, added up, gives."""
    model = seeded(lambda: Chain(units=4)).double()
    with captured(model, rows(dtype=torch.float64), labels()) as capture:
        together = capture.branch_sum_vjps(0, 3)
        cotangent = capture.gradients[capture.units[3].out]
        assert len(together) == 4
    x = model.stem(rows(dtype=torch.float64)).detach()
    for first in range(4):
        start = x.clone().requires_grad_()
        value, expected = start, torch.zeros_like(x)
        for f in model.branches[first:]:
            (product,) = torch.autograd.grad(f(value), start, cotangent, retain_graph=True)
            expected = expected + product
            value = value + f(value)
        assert torch.allclose(together[first], expected, rtol=1e-13, atol=1e-15)
        x = (x + model.branches[first](x)).detach()


def test_linear_networks_by_hand() -> None:
    """With F_i(x) = A_i x the paper's bracket is (I + A_2)(I + A_1) − I, whatever the batch."""
    a, b = torch.randn(3, 3).double(), torch.randn(3, 3).double()
    model = LinearBranches(a, b).double()
    with captured(model, rows(4, 3, torch.float64), loss=lambda y: y.sum()) as capture:
        (product, _) = capture.branch_sum_vjps(0, 1)
    identity = torch.eye(3).double()
    bracket = (identity + b) @ (identity + a) - identity
    assert torch.allclose(product, torch.ones(4, 3).double() @ bracket, rtol=1e-13)


@pytest.mark.parametrize(
    "combine",
    [
        lambda x, f: f(x).add_(x),
        lambda x, f: torch.add(x, f(x), alpha=0.5),
        lambda x, f: x + (f(x) + f(x)),
    ],
    ids=["in place", "alpha on the branch", "branch used twice"],
)
def test_equations_hold_however_an_identity_unit_is_written(combine) -> None:
    """Every identity unit is of the form of eq. 3: F is all that is added to x."""
    checks = check(seeded(lambda: Chain(combine)), rows(), labels()).checks
    assert checks["expected_to_hold"].all()
    assert checks["holds"].all(), checks[~checks["holds"]].to_string()


def test_a_scale_in_the_addition_is_a_finding() -> None:
    """y = F(x) + ½ x written with torch.add's alpha is no identity unit, and no failure."""
    model = seeded(lambda: Chain(lambda x, f: torch.add(f(x), x, alpha=0.5)))
    checks = check(model, rows(), labels()).checks
    assert not checks["expected_to_hold"].any()


class Tapped(Chain):
    """A network whose loss sees every x_l, so that eq. 5 has a term for each tap."""

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.stem(x), 0.0
        for f in self.branches:
            total = total + x.square().mean()
            x = x + f(x)
        return self.head(x).square().mean() + total


def test_eq_5_is_not_expected_to_hold_with_consumers_outside() -> None:
    """Eq. 5 is for a loss that sees x_l through x_L alone; with taps its deviation is a finding."""
    checks = check(seeded(Tapped), rows(), loss=lambda value: value).checks
    backward = checks["equation"] == "5"
    assert checks[~backward]["expected_to_hold"].all()
    assert checks[~backward]["holds"].all()
    assert not checks[backward]["expected_to_hold"].any()
    assert not checks[backward]["holds"].any()
    assert checks[backward]["finding"].notna().all()


def test_eq_5_is_expected_to_hold_above_the_last_tap() -> None:
    """A consumer outside the span changes nothing inside it, one at its end included."""

    class TappedOnce(Chain):
        def forward(self, x: Tensor) -> Tensor:
            x, total = self.stem(x), 0.0
            for index, f in enumerate(self.branches):
                total = total + (x.square().mean() if index == 2 else 0.0)
                x = x + f(x)
            return self.head(x).square().mean() + total

    model = seeded(lambda: TappedOnce(units=4))
    checks = check(model, rows(), loss=lambda value: value, spans=[(0, 2), (3, 4)], equations="5").checks
    assert checks["expected_to_hold"].all()
    assert checks["holds"].all()


class ChangesLayout(nn.Module):
    """Two identity units on images and two on channels last, with a permutation between."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.convolutions = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.linears = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.convolutions:
            x = x + torch.tanh(layer(x))
        x = x.permute(0, 2, 3, 1)
        for layer in self.linears:
            x = x + torch.tanh(layer(x))
        return x.square().mean()


@pytest.mark.parametrize("side", [4, 5])
def test_a_change_of_layout_is_no_failure(side: int) -> None:
    """Where x_{l+1} is y_l in another order, nothing that is expected to hold fails."""
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    checks = check(seeded(ChangesLayout), images, loss=lambda value: value).checks
    failed = checks[checks["expected_to_hold"] & ~checks["holds"]]
    assert failed.empty, failed.to_string()


@cases.each(
    [case for case in cases.COUNTED if case.name in {"twins_svt_small", "deit_tiny_patch16_224", "llama"}]
)
def test_nothing_fails_on_networks_from_elsewhere(case: cases.Counted) -> None:
    """What is expected to hold on other people's networks does, and there is some of it."""

    def loss(outputs: Any) -> Tensor:
        return (outputs if isinstance(outputs, Tensor) else outputs.logits).square().mean()

    checks = check(case.build(), case.inputs(), loss=loss, dtypes=[torch.float32]).checks
    expected = checks[checks["expected_to_hold"]]
    assert len(expected) > 10
    assert expected["holds"].all(), expected[~expected["holds"]].to_string()


def test_names_may_come_from_a_generator() -> None:
    """`units` may be any iterable, though the model runs several times."""
    model = build_model("preact20", width=4)
    names = (f"stage1.{index}" for index in range(3))
    checks = check(model, PREACT20.inputs(), PREACT20.targets(), units=names).checks
    assert set(checks["span_end"]) == {1, 2, 3}


def test_named_blocks_are_findings() -> None:
    """A plain network's block has no shortcut, so eq. 3 is not about it, and that is said."""
    model = build_model("plain20", width=4)
    checks = check(model, PREACT20.inputs(), PREACT20.targets(), units=r"stage1\.\d", equations="3").checks
    assert not checks["expected_to_hold"].any()
    assert checks["finding"].str.contains("it has no shortcut").all()
