"""From outputs and targets to the loss, and every way in which there is none."""

from __future__ import annotations

from types import SimpleNamespace

import cases
import pytest
import torch
import torch.nn.functional as F
from small_networks import CLASSES, Chain, labels, rows, seeded
from torch import Tensor, nn

from gradflow import probe
from gradflow.errors import GradflowError, NoResidualUnitError, ProbeError
from gradflow.probing.loss import error_rate, evaluate_loss

LOGITS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True) * 1.0
TOKENS = torch.randn(2, 4, 7, generator=torch.Generator().manual_seed(0), requires_grad=True) * 1.0


def test_class_indices_mean_cross_entropy() -> None:
    """Integer targets of the batch's length are classes."""
    targets = labels()
    assert evaluate_loss(LOGITS, targets, None) == F.cross_entropy(LOGITS, targets)


def _one(outputs: Tensor) -> Tensor:
    return outputs.mean()


def _two(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).mean()


def _any(*values: Tensor) -> Tensor:
    return values[0].mean()


def test_a_loss_is_called_with_targets_if_there_are_any() -> None:
    """One argument without targets, two with them; a loss that takes others is told what it was to take."""
    assert evaluate_loss(LOGITS, None, _one) == evaluate_loss(LOGITS, None, _any) == LOGITS.mean()
    targets = torch.ones(5, 3)
    assert evaluate_loss(LOGITS, targets, _two) == (LOGITS - 1).mean()
    assert evaluate_loss(LOGITS, targets, nn.MSELoss()) == F.mse_loss(LOGITS, targets)
    assert evaluate_loss(LOGITS, None, torch.mean) == LOGITS.mean()  # written in C: there is nothing to ask
    with pytest.raises(
        ProbeError, match=r"called as loss\(outputs\), for there are no .*_two\(outputs: .*targets"
    ):
        evaluate_loss(LOGITS, None, _two)
    with pytest.raises(
        ProbeError, match=r"called as loss\(outputs, targets\), and _one\(outputs: .* does not take"
    ):
        evaluate_loss(LOGITS, targets, _one)
    with pytest.raises(ProbeError, match=r"and MSELoss\(input: .*, target: .*\).* does not take that"):
        evaluate_loss(LOGITS, None, nn.MSELoss())

    def fails(outputs: Tensor) -> Tensor:
        raise TypeError(f"of its own, about {outputs.ndim}")

    with pytest.raises(TypeError, match="of its own, about 2"):
        evaluate_loss(LOGITS, None, fails)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8], ids=str)
def test_class_indices_of_any_integer_dtype(dtype: torch.dtype) -> None:
    """Other integers than int64 are classes too."""
    assert evaluate_loss(LOGITS, labels().to(dtype), None) == F.cross_entropy(LOGITS, labels())


def test_token_classes_are_those_of_the_last_dimension() -> None:
    """Outputs (batch, tokens, vocabulary) with targets (batch, tokens) give the mean over all tokens."""
    targets = torch.randint(0, 7, (2, 4))
    assert evaluate_loss(TOKENS, targets, None) == F.cross_entropy(TOKENS.flatten(0, 1), targets.flatten())


def test_dense_classes_are_those_of_the_second_dimension() -> None:
    """Outputs (batch, classes, H, W) with targets (batch, H, W) are torch's own case."""
    outputs = torch.randn(2, 3, 4, 5, requires_grad=True) * 1.0
    targets = torch.randint(0, 3, (2, 4, 5))
    assert evaluate_loss(outputs, targets, None) == F.cross_entropy(outputs, targets)


def test_ignored_classes_are_ignored() -> None:
    """−100 marks what does not count, as in torch."""
    targets = torch.tensor([0, -100, 2, 1, -100])
    assert evaluate_loss(LOGITS, targets, None) == F.cross_entropy(LOGITS, targets)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_values_mean_squared_error(dtype: torch.dtype) -> None:
    """Floating-point targets of the outputs' shape are values, in whatever precision they come."""
    targets = torch.zeros(5, 3, dtype=dtype)
    assert evaluate_loss(LOGITS, targets, None) == LOGITS.square().mean()


@pytest.mark.parametrize(
    "outputs",
    [
        {"logits": LOGITS, "loss": None},
        SimpleNamespace(logits=LOGITS),
        (LOGITS, "hidden states"),
        [LOGITS],
    ],
    ids=["dict", "object", "tuple", "list"],
)
def test_logits_are_looked_for_in_what_the_model_returns(outputs) -> None:
    """A model may return an object or dict with logits, or a tuple that begins with them."""
    assert evaluate_loss(outputs, labels(), None) == F.cross_entropy(LOGITS, labels())


def test_a_models_own_loss() -> None:
    """Without targets a model that returns a loss is differentiated at it."""
    own = LOGITS.sum()
    assert evaluate_loss({"loss": own}, None, None) == own
    assert evaluate_loss(SimpleNamespace(loss=own.reshape(1)), None, None).shape == ()


def test_a_users_loss_gets_outputs_and_targets() -> None:
    """A loss is called with outputs and targets, or with outputs alone where there are no targets."""
    assert (
        evaluate_loss("outputs", "targets", lambda *given: LOGITS.sum() * (given == ("outputs", "targets")))
        == LOGITS.sum()
    )
    assert (
        evaluate_loss("outputs", None, lambda *given: LOGITS.sum() * (given == ("outputs",))) == LOGITS.sum()
    )


REFUSED = {
    "nothing": (LOGITS, None, None, "there is nothing to differentiate: give targets, or a loss"),
    "list of targets": (LOGITS, [0, 1], None, r"targets of type list need a loss of their own \(loss=\)"),
    "not one number": (LOGITS, None, lambda y: y, r"the loss must be one number, not \(5, 3\); reduce it"),
    "no tensor": (LOGITS, None, lambda _: 3.0, "the loss must be one number, not float; reduce it"),
    "no gradient": (LOGITS, None, lambda y: y.detach().sum(), "no gradient flows from the loss"),
    "class beyond the outputs": (
        LOGITS,
        torch.tensor([0, 1, 2, 3, 0]),
        None,
        "a target names class 3, but the model has 3 outputs",
    ),
    "negative class": (LOGITS, torch.tensor([0, 1, -1, 2, 0]), None, "class -1"),
    "too few targets": (
        LOGITS,
        torch.zeros(4, dtype=torch.long),
        None,
        r"class targets of shape \(4,\) do not fit outputs of \(5, 3\)",
    ),
    "too few values": (
        LOGITS,
        torch.zeros(5),
        None,
        r"targets of shape \(5,\) do not fit outputs of \(5, 3\)",
    ),
    "truth values": (LOGITS, torch.ones(5, dtype=torch.bool), None, "bool"),
    "no logits": (
        {"hidden": LOGITS},
        labels(),
        None,
        r"returned dict without 'logits'; give a loss \(loss=\)",
    ),
}


@pytest.mark.parametrize("problem", REFUSED)
def test_losses_that_are_none_are_refused(problem: str) -> None:
    """Each error says what came and what is expected, in one line."""
    outputs, targets, loss, message = REFUSED[problem]
    with pytest.raises(ProbeError, match=message) as refusal:
        evaluate_loss(outputs, targets, loss)
    assert "\n" not in str(refusal.value)


def test_losses_are_named_in_the_record() -> None:
    """The record says which loss it was, and its value."""
    model = seeded(Chain)

    def own_loss(outputs: Tensor) -> Tensor:
        return outputs.sum()

    for targets, loss, name in (
        (labels(), None, "cross_entropy"),
        (torch.zeros(5, CLASSES), None, "mse_loss"),
        (None, own_loss, "own_loss"),
        (labels(), nn.CrossEntropyLoss(), "CrossEntropyLoss"),
    ):
        found = probe(model, rows(), targets, loss=loss).meta["loss"]
        assert found["name"].endswith(name)
        assert isinstance(found["value"], float)


def test_a_token_models_own_loss() -> None:
    """A language model that is given labels returns its loss; no targets are needed."""
    inputs = cases.GPT2.inputs()
    record = probe(cases.GPT2.build().eval(), {**inputs, "labels": inputs["input_ids"]}, bn="running")
    assert record.meta["loss"]["name"] == "the model's own"
    assert (record.units["grad_in_norm"] > 0).all()


@pytest.mark.parametrize("inputs", [torch.zeros(0, 4), (), {}, ("text",)], ids=repr)
def test_empty_batches_are_refused(inputs) -> None:
    """No sample, or no tensor at all, is refused before the model runs."""
    with pytest.raises(ProbeError, match="the batch is empty"):
        probe(Chain(), inputs, labels())


def test_frozen_models_are_refused_with_the_reason() -> None:
    """Where no parameter needs a gradient there is no branch to be seen: the error says what to switch on."""
    with pytest.raises(GradflowError, match="requires_grad"):
        probe(Chain().requires_grad_(False), rows(), labels())


def test_named_blocks_of_frozen_models_are_measured_or_refused() -> None:
    """A named block needs no parameter, so without any it is measured, or refused by an error of ours."""
    for model in (Chain().requires_grad_(False), nn.Sequential(nn.Tanh(), nn.Tanh())):
        names = ["branches.1"] if isinstance(model, Chain) else ["1"]
        try:
            units = probe(model, rows(), loss=lambda outputs: outputs.square().sum(), units=names).units
        except GradflowError as refusal:
            assert "\n" not in str(refusal)  # noqa: PT017 - either answer is right
        else:
            assert units["grad_in_norm"].notna().all()


def test_a_network_without_units_is_refused() -> None:
    """A network without units is refused before anything is differentiated."""
    with pytest.raises(NoResidualUnitError, match="no residual unit"):
        probe(nn.Sequential(nn.Linear(4, 3)), rows(), labels())


def test_a_sample_of_nan_counts_as_wrong() -> None:
    """Outputs that hold a NaN have no largest one, whatever class `argmax` makes of them."""
    outputs = torch.tensor([[1.0, 0.0], [float("nan"), 0.0], [0.0, float("nan")], [0.0, 1.0]])
    assert error_rate(outputs, torch.tensor([0, 0, 1, 1])) == 0.5
