"""What is a unit does not depend on the type of a network's numbers."""

from __future__ import annotations

import pytest
import torch
from architectures import WITH_UNITS
from architectures.row import Architecture

from gradflow import find_units
from gradflow.units.calling import map_tensors

CASTING = [row for row in WITH_UNITS if row.name.startswith(("Mamba", "Jamba", "Llama", "T5", "ConvNeXt V2"))]
"""Rows that compute a part of themselves in float32, whatever they are in."""


@pytest.mark.parametrize("row", CASTING, ids=lambda row: row.name)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_units_are_those_of_single_precision(row: Architecture, dtype: torch.dtype) -> None:
    """Units, their kinds and whose parameters they hold are the same in float64, bfloat16 and float32."""
    inputs = map_tensors(row.inputs(), lambda value: value.to(dtype) if value.is_floating_point() else value)
    assert list(find_units(row.build().to(dtype), inputs)) == list(find_units(row.build(), row.inputs()))


def test_the_casting_rows_are_there() -> None:
    """A renamed row does not drop out of the test above in silence."""
    assert len(CASTING) == 7
