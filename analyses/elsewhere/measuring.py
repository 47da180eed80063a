"""One seed of every net and transformer, on noise or on images."""

from __future__ import annotations

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from elsewhere.connected import all_nets, depth_rows, forward
from gradflow.models.transformer import Transformer

WIDTH = 512
TRANSFORMER_WIDTH = 128
TRANSFORMER_DEPTHS = (2, 4, 8, 16, 32)
PATCH = 8


def measure_connected(inputs: Tensor, seed: int) -> pd.DataFrame:
    """Return for every net its rows of `depth_rows`, with `co_active` and `uncorrelated`.

    Args:
        inputs: vectors (batch, features); other than `WIDTH` features are projected onto as many.
        seed: of weights.
    """
    vectors = standardised(inputs, WIDTH, seed)
    frames = []
    for net in all_nets():
        run = forward(net, vectors, seed)
        same = {"net": net.name, "co_active": run.co_active, "uncorrelated": run.uncorrelated}
        frames.append(pd.DataFrame(depth_rows(net, run, seed)).assign(**same))
    return pd.concat(frames, ignore_index=True)


def measure_transformers(images: Tensor, targets: Tensor, seed: int) -> pd.DataFrame:
    """Return ‖∂E/∂W₂‖ of each layer of pre- and post-LN transformers of several depths.

    Args:
        images: (batch, 3, 32, 32); each is a sequence of sixteen patches.
        targets: labels (batch,).
        seed: of weights.

    Returns:
        `norm` (pre or post), `layers` L, `layer` l from 1 to L, `gradient` ‖∂E/∂W₂‖.
    """
    patches = F.unfold(images, PATCH, stride=PATCH).transpose(1, 2)
    batch, tokens, features = patches.shape
    x = standardised(patches.reshape(-1, features), TRANSFORMER_WIDTH, seed).reshape(batch, tokens, -1)
    rows = []
    for first in (True, False):
        for layers in TRANSFORMER_DEPTHS:
            model = Transformer(layers, TRANSFORMER_WIDTH, 10, normalise_first=first, seed=seed).double()
            loss = F.cross_entropy(model(x), targets)
            gradients = torch.autograd.grad(loss, model.feed_forward_weights())
            same = {"norm": "pre" if first else "post", "layers": layers}
            rows += [
                {**same, "layer": layer, "gradient": float(gradient.norm())}
                for layer, gradient in enumerate(gradients, start=1)
            ]
    return pd.DataFrame(rows)


def standardised(vectors: Tensor, width: int, seed: int) -> Tensor:
    """Return `vectors`, centred, projected at random onto `width` features, of mean square 1, in float64."""
    centred = vectors.flatten(1).double()
    centred = centred - centred.mean(0)
    if centred.shape[1] != width:
        generator = torch.Generator().manual_seed(seed + 20_000)
        centred = centred @ torch.randn(centred.shape[1], width, generator=generator, dtype=torch.float64)
    return centred / centred.square().mean().sqrt()


def noise(batch: int, seed: int) -> Tensor:
    """Return independent standard normal vectors (batch, `WIDTH`)."""
    generator = torch.Generator().manual_seed(seed + 30_000)
    return torch.randn(batch, WIDTH, generator=generator, dtype=torch.float64)
