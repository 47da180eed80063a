"""The networks of the two papers, for `gradflow models`; any other legal depth works too."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gradflow.models.building import empty_network
from gradflow.models.specification import LAYERS, ModelSpec, make_spec

_DEPTHS = (20, 32, 44, 56, 110, 164, 1001, 1202)

_SOURCES = {
    **{f"resnet{depth}": "He 2015, Table 6" for depth in (20, 32, 44, 56, 1202)},
    **{f"plain{depth}": "He 2015, Figure 6" for depth in (20, 32, 44, 56)},
    "resnet110": "He 2015, Table 6; He 2016, Tables 1 to 3",
    "resnet164": "He 2016, Tables 2 and 3",
    "resnet1001": "He 2016, Table 3",
    "preact110": "He 2016, Tables 2 and 3",
    "preact164": "He 2016, Tables 2 and 3",
    "preact1001": "He 2016, Tables 3 and 4",
    "resnet110-single": "He 2016, Table 3",
    "preact110-single": "He 2016, Table 3",
}


@dataclass(frozen=True)
class ModelDescription:
    """One line of `gradflow models`.

    Attributes:
        name: zoo name.
        depth: layers with weights on the longest path.
        unit: basic, bottleneck or single.
        units: residual units (in a plain network, the same groups of layers).
        parameters: elements of all parameters, batch normalisation's included, for 10 classes.
        source: where the papers have it; empty if they do not.
    """

    name: str
    depth: int
    unit: str
    units: int
    parameters: int
    source: str


def model_names() -> tuple[str, ...]:
    """Return the zoo names of the papers' networks, by family and depth."""
    names = [f"{family}{depth}" for family in ("preact", "resnet", "plain") for depth in _DEPTHS]
    return (*names, "preact110-single", "resnet110-single")


def describe_model(name: str) -> ModelDescription:
    """Describe the network of the zoo called `name`.

    Raises:
        UnknownModelError: if there is none.
    """
    spec = make_spec(name)
    return ModelDescription(
        name=spec.name,
        depth=spec.depth,
        unit=spec.unit,
        units=3 * spec.units_per_stage,
        parameters=count_parameters(spec),
        source=_SOURCES.get(spec.name, ""),
    )


def count_parameters(spec: ModelSpec) -> int:
    """Return the number of elements of the network's parameters, batch normalisation's included.

    From n = 2 units a stage on, each further n adds one more of the same units to each
    stage, so two small networks tell the size of a deep one.
    """
    one, two = (_parameters(replace(spec, depth=3 * LAYERS[spec.unit] * n + 2)) for n in (1, 2))
    return one + (spec.units_per_stage - 1) * (two - one)


def _parameters(spec: ModelSpec) -> int:
    return sum(parameter.numel() for parameter in empty_network(spec).parameters())
