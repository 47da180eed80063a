"""`build_model`: from a specification to a network with seeded weights.

A specification is a zoo name, `torchvision:NAME`, `timm:NAME`, or `package.module:callable`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from gradflow.determinism import seeded
from gradflow.errors import UnknownModelError
from gradflow.importing import call_with, describe, import_dependency, import_object
from gradflow.models.network import ResidualNetwork, initialise
from gradflow.models.specification import ModelSpec, make_spec


def build_model(
    spec: str,
    *,
    num_classes: int = 10,
    seed: int = 0,
    shortcut: str = "identity",
    activation: str | None = None,
    width: int = 16,
    input_shape: Sequence[int] = (3, 32, 32),
) -> nn.Module:
    """Build a network, untrained, in training mode, in float32 on the CPU.

    The same arguments give the same bits on every call, and the process's random state is
    left as it was. A zoo network is a `ResidualNetwork`, whose `spec` holds every choice.

    Args:
        spec: `preact{N}`, `resnet{N}`, `plain{N}` with `-basic`, `-bottleneck` or `-single` where
            the depth does not say it; `torchvision:NAME`; `timm:NAME`; or `package.module:callable`,
            a function or class that returns a module and is given those of `num_classes`, `seed`
            and `input_shape` that its signature names.
        num_classes: outputs of the network.
        seed: of the initial weights.
        shortcut: the zoo's: `identity`, `none`, `conv`, `scale:λ`, `scale:λ,β`, `gate:exclusive,b`,
            `gate:shortcut,b`, `dropout:p` or `dropout:p,unscaled` (Table 1 of He et al. 2016).
        activation: the zoo's: `original`, `bn-after`, `relu-before`, `relu-only` or `full-preact`
            (Table 2); None is what the name says.
        width: the zoo's: channels of the first stage's 3×3 convolutions.
        input_shape: channels, height and width of an image; the zoo needs the channels only.

    Raises:
        UnknownModelError: if there is no such network; the message says what there is.
        InstallationError: if the package that has the network cannot be imported.
    """
    if ":" not in spec:
        if not input_shape:
            raise UnknownModelError(f"{spec}: input_shape is empty; expected channels, height and width")
        return build_from_spec(
            make_spec(
                spec,
                shortcut=shortcut,
                activation=activation,
                num_classes=num_classes,
                width=width,
                in_channels=input_shape[0],
                seed=seed,
            )
        )
    if (shortcut, activation, width) != ("identity", None, 16):
        raise UnknownModelError(
            f"{spec}: shortcut, activation and width are options of the zoo's networks, such as preact164"
        )
    if num_classes < 1 or seed < 0:
        raise UnknownModelError(
            f"{spec}: num_classes={num_classes} and seed={seed}; expected at least 1 and at least 0"
        )
    source, _, name = spec.partition(":")
    with seeded(seed):
        if source == "torchvision":
            return _torchvision(name, num_classes)
        if source == "timm":
            return _timm(name, num_classes, tuple(input_shape))
        return _users_own(spec, num_classes=num_classes, seed=seed, input_shape=tuple(input_shape))


def build_from_spec(spec: ModelSpec) -> ResidualNetwork:
    """Build the network of the zoo that `spec` describes, with the paper's initial weights."""
    network = empty_network(spec).to_empty(device="cpu")
    initialise(network, spec.seed)
    return network


def empty_network(spec: ModelSpec) -> ResidualNetwork:
    """Return the network without memory for its weights: names and shapes, at no cost.

    Torch's own initialisation does nothing on the meta device: it takes no time and draws no
    random number.
    """
    with torch.device("meta"):
        return ResidualNetwork(spec)


def _torchvision(name: str, num_classes: int) -> nn.Module:
    models = import_dependency("torchvision").models
    _require_listed(f"torchvision:{name}", name, models.list_models())
    return _called(
        f"torchvision:{name}", lambda: models.get_model(name, weights=None, num_classes=num_classes)
    )


def _timm(name: str, num_classes: int, input_shape: tuple[int, ...]) -> nn.Module:
    timm = import_dependency("timm")
    _require_listed(f"timm:{name}", name.partition(".")[0], timm.list_models())
    return _called(
        f"timm:{name}",
        lambda: timm.create_model(
            name, pretrained=False, num_classes=num_classes, in_chans=input_shape[0] if input_shape else 3
        ),
    )


def _users_own(spec: str, **offered: Any) -> nn.Module:
    factory = import_object(spec, UnknownModelError)
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        raise UnknownModelError(
            f"'{spec}' is of type {type(factory).__name__}; expected a callable that returns a module"
        )
    return _called(spec, lambda: call_with(factory, **offered))


def _called(spec: str, build: Callable[[], Any]) -> nn.Module:
    """Return the module that `build` makes.

    Raises:
        UnknownModelError: if it fails, for whatever reason, or makes something else.
    """
    try:
        model = build()
    except Exception as failure:
        raise UnknownModelError(f"'{spec}' could not be built: {describe(failure)}") from failure
    if not isinstance(model, nn.Module):
        raise UnknownModelError(f"'{spec}' returned {type(model).__name__}; expected a torch.nn.Module")
    return model


def _require_listed(spec: str, name: str, listed: list[str]) -> None:
    if name not in listed:
        close = difflib.get_close_matches(name, listed, n=3)
        near = f"; near it are {', '.join(close)}" if close else ""
        raise UnknownModelError(f"'{spec}': {spec.partition(':')[0]} has no model of this name{near}")
