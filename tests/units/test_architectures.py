"""Units of public architectures: as many, and of the kinds, as their sources say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from architectures import ARCHITECTURES, FAMILIES, WITH_UNITS
from architectures.row import Architecture
from torch import Tensor, nn

from gradflow import find_units
from gradflow.errors import NoResidualUnitError
from gradflow.units.calling import map_tensors
from gradflow.units.finding import FoundUnits

WITHOUT_UNITS = [row for row in ARCHITECTURES if not row.units]
FULL_WITH_UNITS = [row for row in ARCHITECTURES if row.full is not None and row.full.units]
FULL_WITHOUT_UNITS = [row for row in ARCHITECTURES if row.full is not None and not row.full.units]


def each(rows: Sequence[Architecture]) -> pytest.MarkDecorator:
    """Run a test once for each row, as its argument `row`."""
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.name)


def kinds(found: FoundUnits) -> dict[str, int]:
    """Return how many units of each kind were found, in the table's notation."""
    return dict(
        Counter(
            unit.shortcut if unit.post_activation == "identity" else f"{unit.shortcut}>{unit.post_activation}"
            for unit in found
        )
    )


def reasons(row: Architecture) -> list[str]:
    """Return why additions are passed over in the row's network, which has no unit or has some."""
    model, inputs = row.build(), row.inputs()
    if not row.units:  # beside a unit of our own, so that what was passed over is not lost in an error
        return [over.reason for over in find_units(BesideAUnit(model), {"inputs": inputs}).passed_over]
    return [over.reason for over in find_units(model, inputs).passed_over]


class BesideAUnit(nn.Module):
    """A network, and after it a unit of its own.

    Args:
        network: is called with what it would be called with.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.linear = nn.Linear(3, 3)

    def forward(self, inputs: object) -> Tensor:
        if isinstance(inputs, dict):
            self.network(**inputs)
        else:
            self.network(*inputs) if isinstance(inputs, tuple) else self.network(inputs)
        x = self.linear(torch.ones(2, 3))
        return x + self.linear(x)


def test_the_table_is_as_large_as_promised() -> None:
    """There are at least 40 public architectures with units, from four libraries, each once."""
    names = [row.name for row in ARCHITECTURES]
    assert len(set(names)) == len(names)
    public = [row for row in WITH_UNITS if not row.source.startswith("tests/")]
    assert len(public) >= 40
    assert {row.source.partition(".")[0].partition(" ")[0] for row in public} == {
        "torch",
        "torchvision",
        "timm",
        "transformers",
    }
    assert all(rows for rows in FAMILIES.values())


@each(WITH_UNITS)
def test_found_equals_expected(row: Architecture) -> None:
    """As many units of each kind are found as the architecture's source says that there are."""
    assert kinds(find_units(row.build(), row.inputs())) == dict(row.units)


@each(WITHOUT_UNITS)
def test_what_only_looks_residual_is_not_mistaken_for_it(row: Architecture) -> None:
    """A network without units, or whose units cannot be measured, is refused."""
    with pytest.raises(NoResidualUnitError, match="no residual unit"):
        find_units(row.build(), row.inputs())


@each(ARCHITECTURES)
def test_other_additions_are_passed_over_for_the_reasons_that_the_row_gives(row: Architecture) -> None:
    """No addition is passed over for another reason than the row's, and each of those reasons is given."""
    given = set(reasons(row))
    assert {reason for reason in given if not reason.startswith(row.passed_over)} == set()
    for expected in row.passed_over:
        assert any(reason.startswith(expected) for reason in given), expected
    if row.unsupported:
        assert given, "what is not supported is said at run time"


def on_meta(row: Architecture) -> FoundUnits:
    """Return the units of the network that people use, on the meta device."""
    assert row.full is not None
    with torch.device("meta"):
        model = row.full.build()
    return find_units(model, map_tensors(row.full.inputs(), lambda value: value.to("meta")))


@each(FULL_WITH_UNITS)
def test_counts_of_the_networks_that_people_use(row: Architecture) -> None:
    """Found equals expected in the network of full size, too, of which the meta device computes nothing."""
    assert row.full is not None
    assert Counter(unit.shortcut for unit in on_meta(row)) == Counter(row.full.units)


@each(FULL_WITHOUT_UNITS)
def test_full_networks_without_units_are_refused(row: Architecture) -> None:
    """So it is where there is no unit."""
    with pytest.raises(NoResidualUnitError, match="no residual unit"):
        on_meta(row)


def test_a_wrong_expectation_fails() -> None:
    """The comparison above tells a unit more from a unit less, and a projection from an identity."""
    row = WITH_UNITS[0]
    found = kinds(find_units(row.build(), row.inputs()))
    (first, *_), counts = row.units, dict(row.units)
    assert found != counts | {first: counts[first] + 1}
    assert found != {re.sub("projection", "padding", kind): count for kind, count in counts.items()}
