"""Measuring on a CUDA device: the numbers of the host, and the state of the device left alone."""

from __future__ import annotations

import warnings

import pytest
import torch
from agreement import assert_agree, both, tolerance
from left_alone import Snapshot
from small_networks import Chain, labels, rows, seeded
from torch import nn

import gradflow
from gradflow.equations import check
from gradflow.probing import probe

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device is visible: CUDA_VISIBLE_DEVICES=0"
)

NETWORKS = ["preact20", "resnet20", "preact29"]


def network(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return a narrow network of the zoo on the device."""
    return gradflow.build_model(name, width=4, seed=0).to("cuda", dtype)


def batch(dtype: torch.dtype = torch.float64, samples: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images and targets on the device."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(samples, 3, 16, 16, generator=generator, dtype=dtype)
    return images.cuda(), labels(samples, 10).cuda()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_device_measures_what_the_host_does(name: str, layout: torch.memory_format) -> None:
    """In float64 both give the same numbers, whichever kernels made them."""
    images, targets = batch()
    model = network(name).to(memory_format=layout)
    there = probe(model, images.contiguous(memory_format=layout), targets)
    here = probe(model.cpu(), images.cpu(), targets.cpu())
    assert there.meta["device"] != here.meta["device"]
    assert_agree(there.units, here.units, tolerance(model))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_probe_agrees_with_the_oracle(dtype: torch.dtype) -> None:
    """Hooks in one pass and one differentiation for each number agree on the device, too."""
    with torch.backends.cudnn.flags(deterministic=True, allow_tf32=False):
        both(network("preact20", dtype), *batch(dtype))


def test_everything_is_left_as_it_was() -> None:
    """Weights, statistics, gradients and the device's random numbers are bit for bit what they were."""
    model = nn.Sequential(network("preact20"), nn.Dropout(0.5))
    images, targets = batch()
    model(images).sum().backward()
    before, random = Snapshot(model), torch.cuda.get_rng_state()
    probe(model, images, targets)
    before.assert_unchanged()
    assert torch.equal(torch.cuda.get_rng_state(), random)


def test_nothing_stays_on_the_device() -> None:
    """Memory after many probes is what it was after the first."""
    model = network("preact20", torch.float32)
    images, targets = batch(torch.float32)
    probe(model, images, targets)
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated()
    for _ in range(10):
        probe(model, images, targets)
    assert torch.cuda.memory_allocated() == held


def waits(model: nn.Module) -> int:
    """Return how often a probe waits for the device."""
    images, targets = batch(torch.float32)
    probe(model, images, targets)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            probe(model, images, targets)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return len([one for one in caught if "called a synchronizing" in str(one.message)])


def test_it_waits_for_the_device_as_often_for_many_units_as_for_few() -> None:
    """A look at a number of each unit would stop the device at each of them."""
    assert waits(network("preact56", torch.float32)) == waits(network("preact20", torch.float32)) > 0


def test_numbers_that_are_not_finite_are_counted() -> None:
    """As many as on the host, in the same units."""
    model = network("preact20")
    with torch.no_grad():
        next(model.stage2[1].branch.parameters()).fill_(float("inf"))
    images, targets = batch()
    there = probe(model, images, targets).units["nonfinite"]
    here = probe(model.cpu(), images.cpu(), targets.cpu()).units["nonfinite"]
    assert there.tolist() == here.tolist()
    assert there.sum() > 0


@pytest.mark.parametrize("name", ["preact20", "resnet20"])
def test_the_same_statements_hold_as_on_the_host(name: str) -> None:
    """What is exact holds on the device, too, and what does not hold on the host does not hold there."""
    images, targets = batch()
    model = network(name)
    there = check(model, images, targets).checks
    here = check(model.cpu(), images.cpu(), targets.cpu()).checks
    same = ["equation", "form", "dtype", "span_start", "span_end", "expected_to_hold", "holds"]
    apart = there[same].compare(here[same])
    assert apart.empty, f"{there.loc[apart.index, [*same, 'error', 'tolerance', 'finding']]}"
    assert there.loc[there["expected_to_hold"], "holds"].sum() > 20


def test_half_precision_by_autocast() -> None:
    """Under autocast the numbers are those of float32 to the rounding of bfloat16."""
    model = seeded(Chain).cuda()
    inputs, targets = rows().cuda(), labels().cuda()
    exact = probe(model, inputs, targets).units
    with torch.autocast("cuda", dtype=torch.bfloat16):
        rounded = probe(model, inputs, targets).units
    for column in ("x_norm", "branch_norm", "grad_in_norm", "grad_branch_norm"):
        assert rounded[column].tolist() == pytest.approx(exact[column].tolist(), rel=0.03)
