"""What is expected to hold, and what is a finding: other writings, taps, changes of layout."""

from __future__ import annotations

from typing import Any

import cases
import pytest
import torch
from small_networks import Chain, LinearBranches, labels, rows, seeded
from torch import Tensor, nn

from gradflow import check
from gradflow.tolerances import sum_of_terms

UNROLLED = ("3", "4", "5", "6", "7", "8")


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
    checks = check(seeded(lambda: Chain(combine)), rows(), labels(), equations=UNROLLED).checks
    assert checks["expected_to_hold"].all()
    assert checks["holds"].all(), checks[~checks["holds"]].to_string()


def test_a_scale_in_the_addition_is_a_finding() -> None:
    """y = F(x) + ½ x written with torch.add's alpha is no identity unit, but λ = ½ makes it one of eq. 6."""
    model = seeded(lambda: Chain(lambda x, f: torch.add(f(x), x, alpha=0.5)))
    checks = check(model, rows(), labels(), equations=UNROLLED).checks
    scaled = checks["equation"].isin(["6", "7", "8"])
    assert not checks[~scaled]["expected_to_hold"].any()
    assert checks[scaled]["expected_to_hold"].all()
    assert checks[scaled]["holds"].all(), checks[scaled & ~checks["holds"]].to_string()


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
    checks = check(seeded(Tapped), rows(), loss=lambda value: value, equations=UNROLLED).checks
    backward = checks["equation"].isin(["5", "8"]) & (checks["form"] != "blocked")
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


class ReadsManyTimes(nn.Module):
    """Identity units whose branch reads x_l through twelve layers, with no one layer before them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 64)
        self.units = nn.ModuleList(nn.ModuleList(nn.Linear(64, 4) for _ in range(12)) for _ in range(3))
        self.head = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layers in self.units:
            read = torch.cat([torch.tanh(layer(x)) for layer in layers], 1)
            x = x + 1e-3 * nn.functional.pad(read, (0, 16))
        return self.head(x)


def test_a_branch_that_reads_x_many_times_is_no_failure() -> None:
    """Autograd rounds at each part that it adds up at a fork, and the tolerance counts them."""
    inputs = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    checks = check(seeded(ReadsManyTimes), inputs, labels(50), equations="58").checks
    assert checks["expected_to_hold"].all()
    assert checks["holds"].all(), checks[~checks["holds"]].to_string()
    assert (checks["error"] > sum_of_terms("float32", 3)).any()  # what one rounding a unit does not explain
    assert (checks[checks["dtype"] == "float64"]["detectable"] < 1e-8).all()


def test_a_product_below_the_normal_numbers_is_a_finding() -> None:
    """2⁻¹¹¹ of a small gradient is subnormal in float32, where rounding is not relative; not in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LinearBranches(*[0.1 * torch.randn(4, 4)] * 111, shortcut=0.5)
        weights = torch.randn(4, 4)
    checks = check(
        model, rows(4), loss=lambda x: 1e-9 * (x * weights.to(x)).sum(), equations="8"
    ).checks.set_index("dtype")
    assert checks[checks["expected_to_hold"]]["holds"].all()
    assert checks.loc["float64", "expected_to_hold"].all()
    blocked = checks[checks["form"] == "blocked"].loc["float32"]
    beyond = blocked[~blocked["expected_to_hold"]]
    assert 0 < len(beyond) < len(blocked)
    assert (beyond["finding"] == "the product of the shortcuts is below the normal numbers of float32").all()


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


class ReadsBeforeActivation(Chain):
    """Post-activation units of which the head also reads one y, as a pyramid's does, and f may be wrong.

    Args:
        tapped: the unit whose y it reads; None for none.
        wrong: the unit whose f hands back a thousandth too much; None for none.
        shortcut: λ.
    """

    def __init__(self, tapped: int | None, wrong: int | None = None, shortcut: float = 1.0) -> None:
        super().__init__(units=5)
        self.tapped, self.wrong, self.shortcut = tapped, wrong, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return the head's outputs, with the mean of the y that was read added to them."""
        x, read = torch.relu(self.stem(x)), torch.zeros(())
        for index, f in enumerate(self.branches):
            y = (x if self.shortcut == 1 else self.shortcut * x) + f(x)
            if index == self.wrong and y.requires_grad:
                y.register_hook(lambda gradient: 1.001 * gradient)
            x = torch.relu(y)
            read = y.mean() if index == self.tapped else read
        return self.head(x) + read * torch.arange(3)


SPANS = [(start, end) for start in range(5) for end in range(start + 1, 6)]
READ = "something besides f also uses y_l"


def masked_sums(model: nn.Module, number: str) -> Any:
    """Return the rows of a statement's masked sums on all spans."""
    checks = check(model, rows(), labels(), equations=number, spans=SPANS).checks
    return checks[checks["form"].isin(["masked telescoped", "masked vjp"])]


@pytest.mark.parametrize("tapped", [1, 4])
@pytest.mark.parametrize(("shortcut", "number"), [(1.0, "5"), (0.5, "8")])
def test_a_reader_of_y_before_its_relu_is_no_failure(shortcut: float, number: str, tapped: int) -> None:
    """With the masks in place the gradient is f's alone: spans with such a unit are findings, others hold."""
    model = seeded(lambda: ReadsBeforeActivation(tapped, shortcut=shortcut))
    sums = masked_sums(model, number)
    inside = (sums["span_start"] <= tapped) & (tapped < sums["span_end"])
    assert set(sums[inside]["finding"]) == {READ}
    assert not sums[inside]["holds"].any()
    assert sums[~inside]["expected_to_hold"].all()
    assert sums[~inside]["holds"].all()


def test_a_reader_of_y_is_nothing_to_the_blocked_form() -> None:
    """What the shortcuts alone hand back is sent from x_L, and no reader sends anything."""
    model = seeded(lambda: ReadsBeforeActivation(1, shortcut=0.5))
    checks = check(model, rows(), labels(), equations="8", spans=SPANS).checks
    blocked = checks[checks["form"] == "masked blocked"]
    assert len(blocked) == 2 * len(SPANS)
    assert blocked["expected_to_hold"].all()
    assert blocked["holds"].all()


@pytest.mark.parametrize("tapped", [None, 1])
def test_a_wrong_backward_of_f_is_no_reader_of_y(tapped: int | None) -> None:
    """Control: ∂E/∂y_l is off there as well, and that has to fail, also beside a unit that is read."""
    sums = masked_sums(seeded(lambda: ReadsBeforeActivation(tapped, wrong=3)), "5")
    off = (sums["span_start"] <= 3) & (sums["span_end"] > 3)
    read = (sums["span_start"] <= 1) & (sums["span_end"] > 1) & (tapped is not None)
    assert sums[~read]["expected_to_hold"].all()
    assert not sums[off]["holds"].any()
    assert sums[~off & ~read]["holds"].all()


def test_a_wrong_backward_in_a_branch_is_for_gradcheck() -> None:
    """As the documentation says: both sides take ∂F from autograd, so only finite differences see it."""

    class ThousandthTooMuch(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, value: Tensor) -> Tensor:
            return value.clone()

        @staticmethod
        def backward(_: Any, gradient: Tensor) -> Tensor:
            return 1.001 * gradient

    model = seeded(lambda: Chain(lambda x, f: x + ThousandthTooMuch.apply(f(x))))
    checks = check(model, rows(), labels(), equations="58").checks
    assert checks["expected_to_hold"].all()
    assert checks["holds"].all()
    value = torch.ones(2, dtype=torch.float64, requires_grad=True)
    assert not torch.autograd.gradcheck(ThousandthTooMuch.apply, value, raise_exception=False, rtol=1e-4)
