"""Zoo networks told from the names and shapes of their weights."""

from __future__ import annotations

import pytest

from gradflow.models import make_spec, recognise, shapes_of
from gradflow.models.building import empty_network

# Variants that have a set of parameters of their own.
DISTINCT = [
    ("preact164", {}),
    ("resnet110", {"num_classes": 100}),
    ("resnet29", {"activation": "bn-after", "width": 8}),
    ("resnet20-bottleneck", {"activation": "relu-only"}),
    ("resnet20", {"shortcut": "conv"}),
    ("preact20", {"shortcut": "gate:exclusive,-6"}),
    ("resnet11", {"shortcut": "gate:shortcut,-6", "in_channels": 1}),
    ("plain29-bottleneck", {}),
    ("plain20-bottleneck", {"activation": "full-preact"}),
    ("preact110-single", {}),
    ("preact8", {}),
]


@pytest.mark.parametrize(("name", "options"), DISTINCT)
def test_a_network_is_recognised_by_its_shapes(name: str, options: dict[str, object]) -> None:
    """Name, variant, width and ends come back."""
    spec = make_spec(name, **options)
    found = recognise(shapes_of(empty_network(spec)))
    assert found == spec


@pytest.mark.parametrize("shortcut", ["scale:0.5", "dropout:0.5", "none", "identity"])
def test_variants_without_parameters_are_the_plainest_network(shortcut: str) -> None:
    """What has no parameters cannot be seen in them."""
    spec = make_spec("resnet20", shortcut=shortcut)
    assert recognise(shapes_of(empty_network(spec))) == make_spec("resnet20")


def test_one_tensor_more_less_or_other_is_no_zoo_network() -> None:
    """Recognition is exact: it names a network only if every tensor fits."""
    shapes = shapes_of(empty_network(make_spec("preact20")))
    last = "stage3.2.branch.conv2.weight"
    assert recognise(shapes) is not None
    assert recognise(shapes | {"extra.weight": (3,)}) is None
    assert recognise(shapes | {last: (64, 64, 1, 1)}) is None
    assert recognise({name: shape for name, shape in shapes.items() if name != last}) is None


def test_foreign_weights_are_not_recognised() -> None:
    """Nothing, another library's names, and an absurd depth are None."""
    assert recognise({}) is None
    assert recognise({"conv1.weight": (64, 3, 7, 7), "fc.weight": (10, 512)}) is None
    shapes = shapes_of(empty_network(make_spec("preact8")))
    assert recognise(shapes | {"stage1.9999.branch.conv1.weight": (16, 16, 3, 3)}) is None
