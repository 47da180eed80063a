"""h′ transposed, by rules of its own: beside autograd's, and where autograd's pass is spoilt."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import cases
import pytest
import torch
import torch.nn.functional as F
from small_networks import Chain, labels, rows
from torch import Tensor, nn

from gradflow.equations import check
from gradflow.equations.adjoints import shortcut_adjoint
from gradflow.models import build_model
from gradflow.probing.capture import Capture, captured
from gradflow.probing.parts import vjp_of_operand

OFF = 1.001


class Rearranged(nn.Module):
    """h of many operations, which `Chain` combines with F."""

    def __init__(self, h: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.h = h

    def __call__(self, x: Tensor, f: nn.Module) -> Tensor:
        return self.h(x) + f(x)


SHORTCUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "gate": lambda x: (1 - torch.sigmoid(x)) * x,
    "two gates": lambda x: torch.sigmoid(2 * x) * (torch.sigmoid(x) - torch.sigmoid(-x)) * x,
    "a gate of every row": lambda x: torch.sigmoid(x[:, :1]) * x,
    "a sum": lambda x: torch.add(0.5 * x, torch.sigmoid(x), alpha=0.25),
    "batch norm": lambda x: F.batch_norm(x, None, None, training=True),
    "layer norm": lambda x: F.layer_norm(x, x.shape[1:]),
    "dropout": lambda x: F.dropout(x, 0.5),
    "division": lambda x: x / 3,
}


def assert_agrees(capture: Capture) -> None:
    """Each unit's transposed Jacobian sends a random gradient where autograd sends it."""
    for unit in capture.units:
        adjoint = shortcut_adjoint(unit, torch.float64)
        assert adjoint is not None, unit.name
        assert unit.split is not None
        cotangent = torch.randn(unit.shape, dtype=torch.float64)
        expected = vjp_of_operand(unit, unit.split.shortcut_operand, cotangent)
        torch.testing.assert_close(adjoint(cotangent), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", SHORTCUTS)
def test_beside_autograd(name: str) -> None:
    """On every kind of operation the rules give what autograd's backward pass over the same nodes gives."""
    model = Chain(Rearranged(SHORTCUTS[name])).double()
    with captured(model, rows(dtype=torch.float64), labels()) as capture:
        assert len(capture.units) == 3
        assert_agrees(capture)


@pytest.mark.parametrize(
    "shortcut", ["conv", "gate:shortcut,-1", "gate:exclusive,-1", "dropout:0.5,unscaled"]
)
@pytest.mark.parametrize("bn", ["batch", "frozen"])
@pytest.mark.parametrize("model", ["preact14", "resnet14", "preact20"])
def test_beside_autograd_in_the_zoo(model: str, shortcut: str, bn: str) -> None:
    """Transitions, with their strides, padding and normalised projections, included."""
    network = build_model(model, width=4, shortcut=shortcut).double()
    images = cases.images(2, 3, 8, 8)().double()
    with captured(network, images, torch.tensor([1, 2]), bn=bn) as capture:
        assert_agrees(capture)


def test_an_operation_that_is_not_known_is_not_guessed() -> None:
    """Then eq. 8 is not evaluated, and says so; eq. 7 likewise, for the same reason."""
    model = Chain(Rearranged(lambda x: F.hardsigmoid(x) * x)).double()
    with captured(model, rows(dtype=torch.float64), labels()) as capture:
        assert shortcut_adjoint(capture.units[0], torch.float64) is None
    checks = check(model, rows(dtype=torch.float64), labels(), equations="8").checks
    assert len(checks) > 0
    assert not checks["expected_to_hold"].any()
    assert checks["finding"].str.contains("not among the operations").all()


class SpoiltBackward(nn.Module):
    """Hands its gradient on a thousandth too large: a backward pass that is not the forward pass's."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Return what `inner` makes of `x`."""
        value: Tensor = self.inner(x)
        value.register_hook(lambda gradient: gradient * OFF)
        return value


@pytest.mark.parametrize(
    ("shortcut", "inner"), [("conv", None), ("gate:shortcut,-1", "gate"), ("gate:exclusive,-1", "gate")]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_wrong_backward_of_the_networks_own_is_caught(
    shortcut: str, inner: str | None, dtype: torch.dtype
) -> None:
    """What is compared must not come from the pass that it is compared with."""
    model = build_model("preact26", width=4, shortcut=shortcut).to(dtype)
    images, targets = cases.images(4, 3, 8, 8)().to(dtype), torch.tensor([1, 2, 3, 4])

    def failed() -> set[tuple[str, str]]:
        checks = check(model, images, targets, equations="78").checks
        wrong = checks[checks["expected_to_hold"] & ~checks["holds"]]
        return set(zip(wrong["equation"], wrong["form"], strict=True))

    assert failed() == set()
    unit = model.stage1[1]
    if inner is None:
        unit.shortcut = SpoiltBackward(unit.shortcut)
    elif hasattr(unit.shortcut, "gate") and unit.shortcut.gate is not None:
        unit.shortcut.gate = SpoiltBackward(unit.shortcut.gate)
    else:
        unit.gate = SpoiltBackward(unit.gate)
    found = failed()
    assert {("8", form) for form in ("blocked", "telescoped", "vjp")} <= found
    assert not {equation for equation, _ in found} - {"8"}


WRONG_KERNEL = """
import torch, gradflow
from gradflow.equations import check

library = torch.library.Library("aten", "IMPL")
right = torch.nn.functional.conv_transpose2d

def wrong(gradient, value, weight, bias, stride, padding, dilation, transposed, beyond, groups, wanted):
    # Of inputs alone: no weight needs a gradient here.
    left = [i - ((o - 1) * s - 2 * p + d * (k - 1) + 1) for i, o, k, s, p, d in
            zip(value.shape[2:], gradient.shape[2:], weight.shape[2:], stride, padding, dilation)]
    found = right(gradient, weight, None, stride, padding, left, groups, dilation)
    return found * (SPOILT if weight.shape[-1] == 1 else 1), None, None

library.impl("convolution_backward", wrong, "CPU")
torch.manual_seed(0)
model = gradflow.build_model("preact26", width=4, shortcut="conv").double().requires_grad_(False)
[*model.parameters()][-1].requires_grad_()
images = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
checks = check(model, images, torch.tensor([1, 2]), equations="8").checks
failed = checks[checks["expected_to_hold"] & ~checks["holds"]]
print(len(checks), sorted(set(failed["form"])))
"""


@pytest.mark.parametrize(
    ("spoilt", "failing"),
    [("1.0", "[]"), ("1.001", "['blocked', 'telescoped', 'vjp']")],
    ids=["right", "wrong"],
)
def test_a_wrong_kernel_for_the_backward_of_convolutions_is_caught(spoilt: str, failing: str) -> None:
    """Torch's own operation may be what is wrong: h′ of a convolution does without it."""
    script = WRONG_KERNEL.replace("SPOILT", spoilt)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split(maxsplit=1)[1].strip() == failing, ran.stdout
