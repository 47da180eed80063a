"""Every column of the `units` table, computed by hand on networks of two neurons."""

from __future__ import annotations

from math import sqrt

import pandas as pd
import pytest
import torch
from small_networks import Chain, LinearBranches, labels, rows, seeded

from gradflow import probe
from gradflow.record.schema import QUANTILES

A = [[1.0, 0.0], [1.0, -2.0]]
B = [[0.0, 1.0], [-1.0, 0.0]]
X = [[1.0, 2.0], [3.0, -1.0]]
C = [[3.0, 4.0], [1.0, -2.0]]
"""x₁ = x₀ + A x₀, x₂ = x₁ + B x₁, E = Σ c · x₂ over two samples, so ∂E/∂x₂ = c.

By hand:    A x₀ = (1, −3) and (3, 5)     x₁ = (2, −1) and (6, 4)
            B x₁ = (−1, −2) and (4, −6)   x₂ = (1, −3) and (10, −2)
            Bᵀ c = (−4, 3) and (2, 1)     ∂E/∂x₁ = (−1, 7) and (3, −1)
            Aᵀ ∂E/∂x₁ = (6, −14) and (2, 2)   ∂E/∂x₀ = (5, −7) and (5, 1)
"""


def weighted(outputs: torch.Tensor) -> torch.Tensor:
    """Return Σ c · x₂."""
    return (outputs * torch.tensor(C, dtype=outputs.dtype)).sum()


EXPECTED = {
    "unit": (0, 1),
    "stage": (0, 0),
    "batch": (2, 2),
    "numel": (4, 4),
    "x_norm": (sqrt(15), sqrt(57)),
    "shortcut_norm": (sqrt(15), sqrt(57)),
    "branch_norm": (sqrt(44), sqrt(57)),
    "sum_norm": (sqrt(57), sqrt(114)),
    "out_norm": (sqrt(57), sqrt(114)),
    "forward_cosine": (-1 / sqrt(15 * 44), 0.0),  # ⟨x, Ax⟩ = −5 and 4; B turns by a right angle
    "grad_sum_norm": (sqrt(60), sqrt(30)),
    "grad_out_norm": (sqrt(60), sqrt(30)),
    "grad_shortcut_norm": (sqrt(60), sqrt(30)),
    "grad_branch_norm": (sqrt(240), sqrt(30)),
    "grad_other_norm": (0.0, 0.0),
    "grad_in_norm": (sqrt(100), sqrt(60)),
    "backward_cosine": (-100 / sqrt(60 * 240), 0.0),  # ⟨s, b⟩ = −104 and 4; again a right angle
    "zero_samples": (0, 0),
    "span_end": (2, 2),
    "additivity_error": (0.0, 0.0),
    "param_norm": (sqrt(6), sqrt(2)),
    "param_grad_norm": (sqrt(330), sqrt(305)),  # Σ ∂E/∂x₁ x₀ᵀ and Σ c x₁ᵀ
    "nonfinite": (0, 0),
}

PER_SAMPLE = {
    "cancellation": ((-104 / 50, 4 / 10), (0.0, 0.0)),
    "survival": (sqrt(74 / 50), sqrt(26 / 10)),
    "span_cancellation": ((-38 / 25, -2 / 5), (0.0, 0.0)),  # Σb = (2, −11) and (4, 3), s = c
    "span_survival": (sqrt(74 / 25), sqrt(26 / 5)),
}
"""The two samples' values; quantiles between two numbers are on the line from one to the other."""

PER_SAMPLE["survival"] = (PER_SAMPLE["survival"], (sqrt(2), sqrt(2)))
PER_SAMPLE["span_survival"] = (PER_SAMPLE["span_survival"], (sqrt(2), sqrt(2)))


def measure(dtype: torch.dtype) -> pd.DataFrame:
    """Return the table of the network above."""
    model = LinearBranches(A, B).to(dtype)
    return probe(model, torch.tensor(X, dtype=dtype), loss=weighted).units


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_column_by_hand(dtype: torch.dtype) -> None:
    """Norms, cosines and parameters of a linear network of two units are those worked out by hand."""
    units = measure(dtype)
    for column, values in EXPECTED.items():
        assert units[column].tolist() == pytest.approx(values, rel=1e-6, abs=1e-15), column
    assert units["shortcut"].tolist() == ["identity", "identity"]
    assert units["post_activation"].tolist() == ["identity", "identity"]
    assert units["name"].tolist() == ["", ""]


class Subtracting(LinearBranches):
    """y = x − (−A) x, which is x + A x."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for weight in self.weights:
            x = x - torch.nn.functional.linear(x, -weight)
        return x


def test_a_subtracted_branch_by_hand() -> None:
    """F is what is added: x − f(x) has the numbers of x + F(x) with F = −f, angles and cancellation too."""
    inputs = torch.tensor(X, dtype=torch.float64)
    units = probe(Subtracting(A, B).double(), inputs, loss=weighted).units
    pd.testing.assert_frame_equal(units, measure(torch.float64))
    assert units["forward_cosine"][0] == pytest.approx(EXPECTED["forward_cosine"][0])


@pytest.mark.parametrize("column", PER_SAMPLE)
@pytest.mark.parametrize("suffix", QUANTILES)
def test_per_sample_columns_by_hand(column: str, suffix: str) -> None:
    """Cancellation and survival, of units and of spans to the end, at each quantile over two samples."""
    units = measure(torch.float64)
    for unit, samples in enumerate(PER_SAMPLE[column]):
        low, high = sorted(samples)
        expected = low + QUANTILES[suffix] * (high - low)
        assert units[f"{column}_{suffix}"][unit] == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_parameters_table_by_hand() -> None:
    """Each weight has its unit, its norm and its gradient's norm; the step's norm is over all of them."""
    record = probe(LinearBranches(A, B).double(), torch.tensor(X).double(), loss=weighted)
    parameters = record.parameters
    assert parameters["name"].tolist() == ["weights.0", "weights.1"]
    assert parameters["unit"].tolist() == [0, 1]
    assert parameters["numel"].tolist() == [4, 4]
    assert parameters["norm"].tolist() == pytest.approx([sqrt(6), sqrt(2)])
    assert parameters["grad_norm"].tolist() == pytest.approx([sqrt(330), sqrt(305)])
    (step,) = record.steps.itertuples()
    assert step.loss == 5.0
    assert step.param_grad_norm == pytest.approx(sqrt(635))


@pytest.mark.parametrize("scale", [0.5, 2.0, -0.25])
def test_a_scaled_shortcut_multiplies_by_its_scale(scale: float) -> None:
    """Where the branch is blocked, what arrives k units down is λ^k of what left, exactly."""
    zero = torch.zeros(3, 3)
    model = LinearBranches(zero, zero, zero, shortcut=scale)
    units = probe(model, rows(width=3), loss=lambda outputs: outputs.sum()).units
    assert units["shortcut"].tolist() == ["scaled"] * 3
    assert (units["grad_shortcut_norm"] == abs(scale) * units["grad_sum_norm"]).all()
    # Of h(x_l) and x_l, measured apart, the last digit of float32 may differ.
    assert units["shortcut_norm"].tolist() == pytest.approx(abs(scale) * units["x_norm"], rel=2e-7)
    assert units["grad_in_norm"][0] == abs(scale) ** 3 * units["grad_out_norm"][2]
    assert (units["grad_branch_norm"] == 0).all()
    assert units["backward_cosine"].isna().all()  # of a vector of zeros there is none
    assert (units["cancellation_p50"] == 0).all()
    assert (units["survival_p50"] == 1).all()


@pytest.mark.parametrize("width", [2, 3, 64, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_full_cancellation(dtype: torch.dtype, width: int) -> None:
    """F(x) = −x takes away the whole gradient: cancellation −1, survival 0, for every sample."""
    model = LinearBranches(-torch.eye(width)).to(dtype)
    out = rows(7, width, dtype) + 3  # a gradient whose elements all have one sign
    units = probe(model, rows(7, width, dtype), loss=lambda outputs: (outputs * out).sum()).units
    for suffix in QUANTILES:
        assert units[f"cancellation_{suffix}"][0] == pytest.approx(-1, abs=1e-6)
        assert units[f"survival_{suffix}"][0] == pytest.approx(0, abs=1e-6)
        assert units[f"span_cancellation_{suffix}"][0] == pytest.approx(-1, abs=1e-6)
        assert units[f"span_survival_{suffix}"][0] == 0
    assert units["grad_in_norm"][0] == 0
    assert units["backward_cosine"][0] == pytest.approx(-1)


def test_only_the_part_along_the_shortcut_is_gone_at_minus_one() -> None:
    """With b = −s + b⊥ cancellation is −1 while ‖b⊥‖ / ‖s‖ of the gradient survives."""
    turn = torch.tensor([[0.0, -3.0], [3.0, 0.0]]) - torch.eye(2)
    units = probe(LinearBranches(turn).double(), rows(4, 2, torch.float64), loss=lambda y: y.sum()).units
    assert units["cancellation_p50"][0] == pytest.approx(-1)
    assert units["survival_p50"][0] == pytest.approx(3)


def test_samples_without_gradient_are_counted_and_left_out() -> None:
    """A sample whose shortcut carries nothing has no ratio: it is counted, and the others stand."""
    weights = torch.tensor([1.0, 0.0, 2.0])

    def loss(outputs: torch.Tensor) -> torch.Tensor:
        return (weights[:, None] * outputs).sum()

    units = probe(LinearBranches(2 * torch.eye(2)), rows(3, 2), loss=loss).units
    assert units["zero_samples"][0] == 1
    for suffix in QUANTILES:
        assert units[f"cancellation_{suffix}"][0] == pytest.approx(2)
        assert units[f"survival_{suffix}"][0] == pytest.approx(3)


def test_consumers_outside_the_unit() -> None:
    """What reaches x_l from outside is read as such: 2 a sample and element for a tap 2 Σ x_l."""

    class Tapped(Chain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            total = torch.zeros(())
            for f in self.branches:
                total = total + 2 * x.sum()
                x = x + f(x)
            return total + x.sum()

    units = probe(seeded(Tapped).double(), rows(dtype=torch.float64), loss=lambda total: total).units
    assert units["grad_other_norm"].tolist() == pytest.approx([sqrt(5 * 4 * 4)] * 3)
    assert (units["additivity_error"] <= 1e-15).all()
    assert units["span_end"].isna().all()
    assert units["span_survival_p50"].isna().all()


def test_taps_leave_the_spans_above_them() -> None:
    """A span is measured where nothing but the units reaches it, so from above the last tap on."""

    class Tapped(Chain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x, total = self.stem(x), torch.zeros(())
            for index, f in enumerate(self.branches):
                if index == 1:
                    total = total + x.square().sum()
                x = x + f(x)
            return total + x.square().sum()

    units = probe(seeded(lambda: Tapped(units=4)), rows(), loss=lambda total: total).units
    assert units["span_end"].isna().tolist() == [True, True, False, False]
    assert units["span_end"].tolist()[2:] == [4, 4]


def test_out_of_a_unit_is_into_the_next() -> None:
    """In a chain of identities y_l, x_{l+1} and the next x_l are one tensor, and so are their gradients."""
    units = probe(seeded(Chain), rows(), labels()).units
    assert units["sum_norm"].tolist() == units["out_norm"].tolist()
    assert units["out_norm"].tolist()[:-1] == units["x_norm"].tolist()[1:]
    assert units["grad_out_norm"].tolist()[:-1] == units["grad_in_norm"].tolist()[1:]
    assert units["grad_shortcut_norm"].tolist() == units["grad_sum_norm"].tolist()


@pytest.mark.parametrize("even", [False, True], ids=["shortcuts alike", "branches alike"])
def test_samples_of_any_ratio_between_branch_and_shortcut(even: bool) -> None:
    """ρ of each sample is right in float32, whether its ‖b‖ / ‖s‖ is a thousandth, a thousand, or between."""
    ratios = torch.logspace(-3, 3, 7, dtype=torch.float64)[:, None]

    class OwnScale(Chain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            return x + ratios.to(x.dtype) * torch.tanh(self.branches[0](x))

    def loss(outputs: torch.Tensor) -> torch.Tensor:
        weights = torch.linspace(1, 2, 64).to(outputs.dtype) / (ratios.to(outputs.dtype) if even else 1)
        return (weights * outputs).sum()

    model = seeded(lambda: OwnScale(units=1, width=64))
    narrow = probe(model, rows(7, 64), loss=loss).units
    wide = probe(model.double(), rows(7, 64, torch.float64), loss=loss).units
    for suffix in QUANTILES:
        for column in ("cancellation", "survival"):
            expected = pytest.approx(wide[f"{column}_{suffix}"][0], rel=1e-4, abs=1e-6)
            assert narrow[f"{column}_{suffix}"][0] == expected


def test_a_loss_without_slope() -> None:
    """Where every gradient is zero, norms are 0 and ratios are null: nothing is divided by nothing."""
    units = probe(seeded(Chain), rows(), loss=lambda outputs: 0 * outputs.sum()).units
    for column in units.filter(regex="^grad_.*_norm$").columns:
        assert (units[column] == 0).all(), column
    assert (units["zero_samples"] == 5).all()
    assert units.filter(regex="cancellation|survival|backward_cosine|additivity").isna().all(axis=None)
    assert units["forward_cosine"].notna().all()
