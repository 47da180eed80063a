"""The list of the papers' networks."""

from __future__ import annotations

import pytest

from gradflow.models import build_model, describe_model, model_names


def test_all_listed_names_can_be_described() -> None:
    """Each name is its own shortest form, and is of the papers' size."""
    descriptions = [describe_model(name) for name in model_names()]
    assert tuple(description.name for description in descriptions) == model_names()
    assert all(description.units > 0 and description.parameters > 0 for description in descriptions)


@pytest.mark.parametrize("name", ["preact56", "resnet164", "plain164", "preact1001", "resnet110-single"])
def test_counts_from_two_small_networks_are_those_of_the_deep_one(name: str) -> None:
    """The extrapolated count equals that of the built network."""
    built = sum(parameter.numel() for parameter in build_model(name).parameters())
    assert describe_model(name).parameters == built


def test_units_are_additions() -> None:
    """54 units in 110 and 164 layers, 108 with one layer a skip (Table 3)."""
    assert [describe_model(name).units for name in ("preact110", "preact164", "preact110-single")] == [
        54,
        54,
        108,
    ]
