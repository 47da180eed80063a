"""The predictions as functions, against simulations and loops that know none of the formulas."""

from __future__ import annotations

import numpy as np
import pytest

from gradflow.theory import correlations, shortcuts, slope, transformers, unnormalised


def test_dropout_gains_are_those_of_simulated_masks() -> None:
    """Root mean square of products of masks, rescaled and not."""
    generator = np.random.default_rng(0)
    k = np.arange(5)
    masks = generator.random((4, 200_000)) < 0.5
    kept = np.vstack([np.ones(200_000), np.cumprod(masks, axis=0)])
    unscaled = np.sqrt((kept**2).mean(axis=1))
    assert shortcuts.dropout_gain(k, 0.5, rescaled=False) == pytest.approx(unscaled, rel=0.02)
    assert shortcuts.dropout_gain(k, 0.5, rescaled=True) == pytest.approx(unscaled * 2.0**k, rel=0.02)


def test_gates_and_scales_multiply() -> None:
    """λ^k by hand; a gate at b_g = 0 lets half through, one at −6 nearly all."""
    k = np.array([0.0, 1.0, 3.0])
    assert shortcuts.scaled_gain(k, 0.5).tolist() == [1, 0.5, 0.125]
    assert shortcuts.gated_gain(k, 0.0) == pytest.approx([1, 0.5, 0.125])
    assert shortcuts.gated_gain(k, -6.0)[2] == pytest.approx((1 - 1 / (1 + np.exp(6))) ** 3)


def test_balduzzis_forms() -> None:
    """2^−L, (3/4)^L, and −½ as the slope of 1 / (β √L) on logarithms."""
    layers = np.array([1.0, 2.0, 4.0])
    assert correlations.plain(layers).tolist() == [0.5, 0.25, 0.0625]
    assert correlations.residual(layers)[1] == pytest.approx(0.5625)
    found = correlations.normalised_residual(layers, 0.1)
    assert found[0] == pytest.approx(10)
    assert slope(np.log(layers), np.log(found)) == pytest.approx(-0.5)


def test_rectifiers_of_uncorrelated_inputs_agree_in_a_quarter() -> None:
    """What Balduzzi's predictions take for granted, of independent normal inputs."""
    on = np.random.default_rng(0).normal(size=(2, 100_000)) > 0
    assert (on[0] & on[1]).mean() == pytest.approx(correlations.CO_ACTIVE, rel=0.03)


def test_networks_without_normalisation_double() -> None:
    """2^l at scale 1; a product of factors in general."""
    assert unnormalised.signal_variance(np.array([0, 3])).tolist() == [1, 8]
    assert unnormalised.gradient_energy(np.array([2])).tolist() == [4]
    assert unnormalised.scaled_signal(np.array([1.0, 0.5])) == pytest.approx(2 * 1.25)
    deep, deeper = (unnormalised.scaled_signal(0.9 ** np.arange(1, depth)) for depth in (100, 1000))
    assert deep == pytest.approx(deeper)


def test_post_normalised_gradients_fall_by_two_thirds() -> None:
    """(2/3)^(k/2): two thirds in two layers."""
    assert transformers.post_norm_decay(np.array([0, 2])) == pytest.approx([1, 2 / 3])
