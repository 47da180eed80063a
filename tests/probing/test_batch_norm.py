"""The three modes of batch normalisation: what each makes of statistics, samples and buffers."""

from __future__ import annotations

import cases
import pytest
import torch
from left_alone import Snapshot
from small_networks import ConvolutionalChain, labels, pictures, seeded
from torch import Tensor, nn

from gradflow import build_model, probe
from gradflow.errors import ProbeError
from gradflow.probing.batch_norm import MODES, BatchNormHandling


def network() -> nn.Module:
    """Return a small pre-activation network with running statistics that are not 0 and 1."""
    model = seeded(ConvolutionalChain).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.fill_(0.3)
            module.running_var.fill_(1.7)
    return model


def of_sample(index: int):
    """Return a loss that one sample alone enters."""
    return lambda outputs: outputs[index].square().sum()


IMAGES = pictures(4, dtype=torch.float64)


@pytest.mark.parametrize("bn", ["running", "frozen"])
def test_samples_do_not_see_each_other(bn: str) -> None:
    """With statistics held constant, a loss of one sample has no gradient at the others."""
    record = probe(network(), IMAGES, loss=of_sample(1), bn=bn)
    assert (record.units["zero_samples"] == 3).all()
    assert record.meta["samples_coupled"] is False
    assert record.meta["notes"] == []


def test_samples_are_coupled_by_batch_statistics() -> None:
    """Below a layer with the batch's statistics, one sample's loss has a gradient at all others."""
    record = probe(network(), IMAGES, loss=of_sample(1), bn="batch")
    assert record.units["zero_samples"].tolist() == [0, 0, 3]  # nothing is normalised above the last unit
    assert record.meta["samples_coupled"] is True
    assert "couple" in record.meta["notes"][0]


def test_per_sample_statements_hold_in_frozen_mode() -> None:
    """A sample's ρ and survival are the same whether the others' losses enter or not."""
    whole = [probe(network(), IMAGES, loss=of_sample(index), bn="frozen").units for index in range(4)]
    together = probe(network(), IMAGES, loss=lambda outputs: outputs.square().sum(), bn="frozen").units
    for column in ("cancellation", "survival"):
        for unit in range(3):
            alone = sorted(units[f"{column}_p50"][unit] for units in whole)
            assert together[f"{column}_min"][unit] == pytest.approx(alone[0], rel=1e-12)
            assert together[f"{column}_max"][unit] == pytest.approx(alone[3], rel=1e-12)


def test_frozen_mode_has_the_batch_statistics_forward() -> None:
    """Frozen and batch mode have one forward pass, and differ in the backward pass alone."""
    batch, frozen, running = (
        probe(network(), IMAGES, labels(4), bn=bn).units for bn in ("batch", "frozen", "running")
    )
    for column in ("x_norm", "branch_norm", "sum_norm", "forward_cosine"):
        assert frozen[column].tolist() == pytest.approx(batch[column].tolist(), rel=1e-12)
    assert frozen["grad_in_norm"].tolist() != pytest.approx(batch["grad_in_norm"].tolist(), rel=1e-3)
    assert frozen["branch_norm"].tolist() != pytest.approx(running["branch_norm"].tolist(), rel=1e-3)


def test_frozen_statistics_by_hand() -> None:
    """The gradient is that of (x − μ) / √(σ² + ε) with μ and σ² of this batch as constants."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).double()
    normalisation = model[1]
    with torch.no_grad():
        normalisation.weight.uniform_(0.5, 2)
    x = model[0](IMAGES).detach().requires_grad_()
    handling = BatchNormHandling("frozen")
    (ours,) = handling.overrides.values()
    found = ours(
        x, normalisation.running_mean, normalisation.running_var, normalisation.weight, None, training=True
    )
    (gradient,) = torch.autograd.grad(found.square().sum(), x)
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, correction=0)
    factor = normalisation.weight[:, None, None] / (variance + 1e-5).sqrt()
    by_hand = (x - mean) * factor
    assert torch.allclose(found, by_hand, rtol=1e-12, atol=1e-14)
    assert torch.allclose(gradient, 2 * by_hand * factor, rtol=1e-12, atol=1e-14)
    assert not handling.samples_coupled


def test_running_mode_is_evaluation_mode() -> None:
    """In running mode the loss is the evaluation-mode loss, and dropout passes everything."""
    model = build_model("resnet14", width=4, shortcut="dropout:0.5")
    images, targets = cases.images(2, 3, 8, 8)(), torch.tensor([1, 2])
    with torch.no_grad():
        expected = nn.functional.cross_entropy(model.eval()(images), targets)
    record = probe(model.train(), images, targets, bn="running")
    assert record.meta["loss"]["value"] == float(expected)
    assert "dropout" not in set(record.units["shortcut"])


def test_other_modes_are_training_mode_whatever_the_model_is_in() -> None:
    """A model in evaluation mode is measured in training mode, and is in evaluation mode afterwards."""
    model = network().eval()
    evaluated = probe(model, IMAGES, labels(4))
    assert not any(module.training for module in model.modules())
    assert evaluated.meta["loss"] == probe(model.train(), IMAGES, labels(4)).meta["loss"]


@pytest.mark.parametrize("bn", MODES)
@pytest.mark.parametrize("training", [True, False])
def test_buffers_and_modes_are_as_before(bn: str, training: bool) -> None:
    """No mode leaves a trace in running statistics, counters or training flags."""
    model = build_model("preact14", width=4).train(training)
    model.stage1[1].train(not training)
    before = Snapshot(model)
    probe(model, cases.images(2, 3, 8, 8)(), torch.tensor([1, 2]), bn=bn)
    before.assert_unchanged()


def test_networks_without_batch_normalisation_are_not_coupled() -> None:
    """Without a layer that uses batch statistics, samples are not coupled in any mode."""
    record = probe(cases.GPT2.build(), cases.GPT2.inputs(), cases.GPT2.targets(), bn="batch")
    assert record.meta["samples_coupled"] is False


def test_an_unknown_mode_is_refused() -> None:
    """The error lists the three modes."""
    with pytest.raises(ProbeError, match="bn must be one of batch, running, frozen, not 'eval'"):
        probe(network(), IMAGES, labels(4), bn="eval")


class Checkpointed(ConvolutionalChain):
    """Recomputes its branches in the backward pass, when the probe wants it to."""

    recompute = True

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for f in self.branches:
            x = x + (torch.utils.checkpoint.checkpoint(f, x, use_reentrant=False) if self.recompute else f(x))
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("bn", ["batch", "running"])
def test_recomputed_branches_are_normalised_in_the_same_way(bn: str) -> None:
    """Checkpointing runs the branch again in the backward pass, with the same statistics."""
    model = seeded(Checkpointed).double()
    recomputed = probe(model, IMAGES, labels(4), bn=bn).units
    model.recompute = False
    kept = probe(model, IMAGES, labels(4), bn=bn).units
    for column in ("branch_norm", "grad_branch_norm", "grad_in_norm", "param_grad_norm"):
        assert recomputed[column].tolist() == pytest.approx(kept[column].tolist(), rel=1e-12)


def test_recomputed_branches_cannot_be_frozen() -> None:
    """Frozen statistics do not reach what checkpointing runs again: that is refused, with a way out."""
    with pytest.raises(ProbeError, match="switch checkpointing off"):
        probe(seeded(Checkpointed).double(), IMAGES, labels(4), bn="frozen")
