"""The shortcuts of Table 1: how they are written, and what they compute."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradflow.errors import UnknownModelError
from gradflow.models import build_model
from gradflow.models.shortcuts import Gate, GatedShortcut, Padding, ShortcutVariant, UnscaledDropout

numbers = st.integers(-20, 20).map(lambda tenths: f"{tenths / 4:g}")


@given(
    st.one_of(
        st.sampled_from(["identity", "none", "conv", "dropout:0.5", "dropout:0.25,unscaled"]),
        numbers.map(lambda scale: f"scale:{scale}"),
        st.tuples(numbers, numbers).map(lambda both: "scale:" + ",".join(both)),
        numbers.map(lambda bias: f"gate:exclusive,{bias}"),
        numbers.map(lambda bias: f"gate:shortcut,{bias}"),
    )
)
def test_a_variant_is_written_as_it_is_read(text: str) -> None:
    """Reading a variant and writing it gives the same words."""
    assert str(ShortcutVariant.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "identical", "scale", "scale:", "scale:x", "scale:1,2,3", "gate:-6", "gate:exclusive", "gate:both,1",
     "dropout:1", "dropout:-0.1", "dropout:0.5,scaled", "conv:1", "none:", "scale:nan", "scale:inf"],
)  # fmt: skip
def test_an_unknown_variant_is_refused_with_the_known_ones(text: str) -> None:
    """What is no variant is an error that lists the forms."""
    with pytest.raises(UnknownModelError, match=r"unknown shortcut .*; expected identity, none, conv, scale"):
        ShortcutVariant.parse(text)


def test_padding_subsamples_and_adds_zero_channels() -> None:
    """Option A by hand: every second pixel of every second row, the new channels last and zero."""
    x = torch.arange(2 * 5 * 4, dtype=torch.float32).reshape(1, 2, 5, 4)
    y = Padding(2, 5, 2)(x)
    assert y.shape == (1, 5, 3, 2)
    assert y[0, 0].tolist() == [[0, 2], [8, 10], [16, 18]]
    assert torch.all(y[0, 2:] == 0)


def test_unscaled_dropout_keeps_values_and_halves_the_mean() -> None:
    """Kept elements are unchanged, one half is dropped, and eval mode multiplies by one half."""
    torch.manual_seed(0)
    x = torch.ones(200, 500)
    dropout = UnscaledDropout(0.5)
    y = dropout(x)
    assert set(y.unique().tolist()) == {0.0, 1.0}
    assert y.mean().item() == pytest.approx(0.5, abs=5 * 0.5 / x.numel() ** 0.5)
    assert torch.all(dropout.eval()(x) == 0.5)


def test_rescaled_dropout_is_torchs() -> None:
    """`dropout:0.5` divides kept elements by 1 − p and does nothing in eval mode."""
    dropout = build_model("resnet8", shortcut="dropout:0.5").stage1[0].shortcut
    x = torch.ones(100, 100)
    assert set(dropout(x).unique().tolist()) == {0.0, 2.0}
    assert torch.all(dropout.eval()(x) == 1)


def test_a_gates_shortcut_is_one_minus_g() -> None:
    """With zero weights and bias b the shortcut is (1 − σ(b)) x."""
    gate = Gate(2, 2, 1, bias=-1.5)
    torch.nn.init.zeros_(gate.conv.weight)
    gate.start_bias()
    x = torch.randn(3, 2, 4, 4)
    expected = (1 - torch.tensor(-1.5).sigmoid()) * x
    torch.testing.assert_close(GatedShortcut(torch.nn.Identity(), gate)(x), expected)


@pytest.mark.parametrize("stage", [1, 2])
def test_exclusive_gating_weighs_both_paths_with_one_gate(stage: int) -> None:
    """In ordinary and transition units y = (1 − g) T(x) + g F(x), g computed once."""
    model = build_model("preact20-bottleneck", shortcut="gate:exclusive,-1", width=4)
    unit = model.get_submodule(f"stage{stage}.0")
    calls: list[torch.Tensor] = []
    unit.gate.register_forward_hook(lambda _module, _inputs, output: calls.append(output))
    x = torch.randn(2, unit.gate.conv.in_channels, 8, 8)
    y = unit(x)
    assert len(calls) == 1
    a = unit.pre_activation(x)
    expected = (1 - calls[0]) * unit.shortcut.transition(a) + calls[0] * unit.branch(a)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)


def test_constant_scaling_weighs_shortcut_and_branch() -> None:
    """`scale:λ,β` gives λ T(x) + β F(x), `scale:λ` leaves F alone."""
    x = torch.randn(2, 16, 8, 8)
    plain = build_model("preact14").stage2[0]
    both = build_model("preact14", shortcut="scale:0.25,0.5").stage2[0]
    one = build_model("preact14", shortcut="scale:0.25").stage2[0]
    a = plain.pre_activation(x)
    torch.testing.assert_close(both(x), 0.25 * plain.shortcut(a) + 0.5 * plain.branch(a))
    torch.testing.assert_close(one(x), 0.25 * plain.shortcut(a) + plain.branch(a))


@pytest.mark.parametrize(
    "shortcut", ["scale:0.5", "conv", "gate:shortcut,-6", "gate:exclusive,-6", "dropout:0.5"]
)
def test_a_variant_stands_in_every_unit_behind_the_transition(shortcut: str) -> None:
    """All nine units have the variant; transitions keep their padding in front of it."""
    model = build_model("resnet20", shortcut=shortcut)
    units = [*model.stage1, *model.stage2, *model.stage3]
    assert all(not isinstance(unit.shortcut, torch.nn.Identity) for unit in units)
    with_padding = [any(isinstance(part, Padding) for part in unit.shortcut.modules()) for unit in units]
    assert [index for index, padded in enumerate(with_padding) if padded] == [3, 6]
