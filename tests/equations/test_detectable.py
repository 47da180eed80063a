"""What a check says that it would catch, it catches: each term is changed by a little more than that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pandas as pd
import pytest
import torch
from small_networks import CLASSES, Chain, labels, rows
from torch import Tensor, nn

from gradflow import build_model
from gradflow.determinism import seeded
from gradflow.equations.evaluation import evaluate
from gradflow.probing.capture import Capture, captured

SPANS = [(0, 3), (1, 3), (0, 2), (2, 3)]

LITTLE_MORE = 1.001

DTYPE = "float32"
"""Passes run in float64 and are held to the tolerance of float32: so small a change as float64's own
tolerance allows for is itself rounded, by a tenth of it."""


def relu_identity(x: Tensor, f: nn.Module) -> Tensor:
    """ReLU's mask alone."""
    return torch.relu(x + f(x))


def relu_seldom(x: Tensor, f: nn.Module) -> Tensor:
    """ReLUs that let little through."""
    return torch.relu(x + (f(x) - 0.3))


def relu_scaled(x: Tensor, f: nn.Module) -> Tensor:
    """A mask and a constant."""
    return torch.relu(0.3 * x + f(x))


def relu_dropped(x: Tensor, f: nn.Module) -> Tensor:
    """Two masks."""
    return torch.relu(nn.functional.dropout(x, 0.5) + f(x))


def relu_gated(x: Tensor, f: nn.Module) -> Tensor:
    """A mask and a gate."""
    return torch.relu((1 - torch.sigmoid(3 * x)) * x + f(x))


def identity(x: Tensor, f: nn.Module) -> Tensor:
    """Eq. 3."""
    return x + f(x)


def scaled(x: Tensor, f: nn.Module) -> Tensor:
    """A constant."""
    return 0.3 * x + f(x)


def dropped(x: Tensor, f: nn.Module) -> Tensor:
    """A dropout's mask, which leaves a fifth."""
    return nn.functional.dropout(x, 0.8) + f(x)


def gated(x: Tensor, f: nn.Module) -> Tensor:
    """A gate that is nearly shut where x is large."""
    return (1 - torch.sigmoid(3 * x)) * x + f(x)


KINDS = (
    identity,
    scaled,
    dropped,
    gated,
    relu_identity,
    relu_seldom,
    relu_scaled,
    relu_dropped,
    relu_gated,
)


@contextmanager
def opened(combine: Callable, seed: int) -> Iterator[Capture]:
    """Open a capture of a chain of three units in float64, with inputs of that seed."""
    with seeded(seed):
        model = Chain(combine, units=3, width=16).double()
        inputs = torch.randn(8, 16, dtype=torch.float64)
        with captured(model, inputs, torch.arange(8) % CLASSES) as capture:
            yield capture


def verdicts(capture: Capture, span: tuple[int, int]) -> pd.DataFrame:
    """Return what must hold on a span, by equation and form."""
    found = pd.DataFrame(evaluate(capture, "145678", [span], DTYPE))
    return found[found["expected_to_hold"]].set_index(["equation", "form"])


def terms(capture: Capture, span: tuple[int, int], form: str) -> list[tuple[dict | list, object]]:
    """Return where the terms of a statement on a span are kept."""
    inside = range(*span)
    forward = form in {"forward", "masked"}
    ends = [capture.units[span[0]].fork, capture.units[span[1] - 1].out]
    kept = capture.values if forward else capture.gradients
    between = capture.branches if forward else capture.branch_parts
    return [(kept, port) for port in ends] + [(between, unit) for unit in inside]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("combine", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_detectable_is_caught_in_every_term(combine: Callable, seed: int) -> None:
    """Each end and each branch's term, off by a thousandth more than that, fails the row that said so.

    What is off by a third of it in the smallest of them is not caught, so the bound is no mere caution.
    """
    tried: dict[tuple[str, str], list[bool]] = {}
    for span in SPANS:
        with opened(combine, seed) as capture:
            honest = verdicts(capture, span)
            assert honest["holds"].all()
            for statement, row in honest.iterrows():
                number, form = statement
                if number in {"1", "6"} or form.endswith(("vjp", "blocked")):
                    continue
                assert row["detectable"] > 0
                passed = []
                for place, key in terms(capture, span, form):
                    kept = place[key]
                    for factor in (LITTLE_MORE, 1 / 3):
                        place[key] = kept * (1 + factor * row["detectable"])
                        # Where a unit's y is changed with it, its sign stays, and so does the mask.
                        holds = verdicts(capture, span).loc[statement, "holds"]
                        if factor == LITTLE_MORE:
                            assert not holds, (span, statement, key)
                        else:
                            passed.append(bool(holds))
                    place[key] = kept
                tried.setdefault(statement, []).append(any(passed))
    masked = combine.__name__.startswith("relu")
    assert {form for _, form in tried} == (
        {"masked", "masked telescoped"} if masked else {"forward", "telescoped"}
    )
    assert all(any(found) for found in tried.values())


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "combine", [identity, dropped, relu_identity, relu_gated], ids=lambda kind: kind.__name__
)
@pytest.mark.parametrize("form", ["vjp", "blocked"])
def test_passes_of_their_own_catch_what_they_say(
    combine: Callable, seed: int, form: str, monkeypatch
) -> None:
    """The product with the sum of branches, and what arrives with the branches blocked, likewise."""
    change = 0.0
    name = {"vjp": "branch_sum_vjps", "blocked": "shortcut_path"}[form]
    real = getattr(Capture, name)

    def spoilt(self: Capture, *given: object) -> object:
        found = real(self, *given)
        found[0] = found[0] * (1 + change)
        return found

    statement = ("8", f"masked {form}" if combine.__name__.startswith("relu") else form)
    with opened(combine, seed) as capture:
        row = verdicts(capture, (0, 3)).loc[statement]
        assert row["holds"]
        assert row["detectable"] > 0
        monkeypatch.setattr(Capture, name, spoilt)
        change = LITTLE_MORE * row["detectable"]
        assert not verdicts(capture, (0, 3)).loc[statement, "holds"]
        change = row["tolerance"] / 100
        assert verdicts(capture, (0, 3)).loc[statement, "holds"]


@pytest.mark.parametrize("shortcut", ["conv", "gate:exclusive,-1"])
@pytest.mark.parametrize("seed", [0, 1])
def test_terms_that_a_convolution_carries(shortcut: str, seed: int) -> None:
    """A 1×1 convolution and its normalisation on the shortcut carry a term as they carry the value."""
    model = build_model("preact26", width=4, shortcut=shortcut, seed=seed).double()
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    span = (0, 3)
    with captured(model, images, torch.tensor([1, 2])) as capture:
        honest = verdicts(capture, span)
        for statement in (("7", "forward"), ("8", "telescoped")):
            row = honest.loc[statement]
            assert row["holds"]
            assert row["detectable"] < 1e-2
            for place, key in terms(capture, span, statement[1]):
                kept = place[key]
                place[key] = kept * (1 + LITTLE_MORE * row["detectable"])
                assert not verdicts(capture, span).loc[statement, "holds"], (statement, key)
                place[key] = kept


@pytest.mark.parametrize("part", ["shortcuts", "branches"])
@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_either_operand_of_an_addition(part: str, scale: float) -> None:
    """Eq. 1 names what it catches in the smaller of shortcut and branch, whichever that is."""
    with seeded(0):
        model = Chain(lambda x, f: scale * x + f(x)).double()
    with captured(model, rows(dtype=torch.float64), labels()) as capture:
        row = verdicts(capture, (1, 2)).loc["1", "forward"]
        kept = getattr(capture, part)
        kept[1] = kept[1] * (1 + LITTLE_MORE * row["detectable"])
        assert not verdicts(capture, (1, 2)).loc["1", "forward"]["holds"]


def test_a_term_that_a_mask_takes_whole_cannot_be_seen() -> None:
    """Where ReLU lets nothing of a branch through, no change of it is seen, and none is promised."""
    with seeded(0):
        model = Chain(lambda x, f: torch.relu(x + (f(x) - 1e3)), units=2).double()
    with captured(model, rows(dtype=torch.float64), labels()) as capture:
        found = pd.DataFrame(evaluate(capture, "4", [(0, 1)], DTYPE))
    assert set(found["form"]) == {"forward", "masked"}
    masked = found[found["form"] == "masked"]
    assert masked["holds"].all()
    assert masked["detectable"].isna().all()
