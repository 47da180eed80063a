"""A gradient of exactly 0 in units is said first, with the place and what is known about it."""

from __future__ import annotations

import pytest
import torch
from small_networks import Chain, labels, rows, seeded
from torch import Tensor, nn

import gradflow
from gradflow.findings import Limit, find_violations, findings
from gradflow.record import Record
from gradflow.statistics import depth_trends

VANISHED = "The gradient is exactly 0 in"


def post_activation(units: int = 6) -> Chain:
    """Return a network of units x ← ReLU(x + F(x))."""
    return seeded(lambda: Chain(lambda x, f: torch.relu(x + f(x)), units, 8))  # type: ignore[return-value]


def probed(model: nn.Module) -> Record:
    """Return a probe of `model` on vectors of 8."""
    return gradflow.probe(model, rows(5, 8), labels())


def dead_from(unit: int) -> Chain:
    """Return a post-activation network of which the ReLU behind the addition of one unit is off."""
    model = post_activation()
    with torch.no_grad():
        model.branches[unit][2].bias.fill_(-1e3)
    return model


@pytest.mark.parametrize("unit", [0, 3, 5])
def test_a_dead_relu_behind_the_addition(unit: int) -> None:
    """All units from there down have none; the others' rates name none of these units."""
    record = probed(dead_from(unit))
    zero = (record.units["grad_in_norm"] == 0).tolist()
    assert zero == [index <= unit for index in range(6)]
    first, *others = findings(record)
    assert first.startswith(f"{VANISHED} {unit + 1} of 6 units, ")
    assert (f"in unit {unit} (identity)" if unit == 0 else f"from unit {unit} (identity) downwards") in first
    assert f"‖∂E/∂y_{unit}‖ is 0: f, which is relu, lets nothing through for the whole batch" in first
    parameters = record.parameters["grad_norm"]
    assert (
        f"{(parameters == 0).sum()} of {len(parameters)} parameter tensors get a gradient of exactly 0"
        in first
    )
    over = [sentence for sentence in others if sentence.startswith("Over ")]
    expected = {
        0: "Over units 1 to 5, from the last unit's output back to unit 1's input",
        3: "Over units 4 to 5,",
    }
    assert over[0].startswith(expected[unit]) if unit in expected else not over
    assert not any("Over all" in sentence for sentence in others)


def test_a_healthy_network_has_a_gradient_everywhere() -> None:
    """Nothing is 0, and the rate is over all units."""
    said = findings(probed(post_activation()))
    assert not any("exactly 0" in sentence for sentence in said)
    assert any(sentence.startswith("Over all 6 units, ") for sentence in said)


def test_rates_name_only_units_that_they_are_of() -> None:
    """First and last unit of a fit are those whose norms are in it, and growth is theirs."""
    trends = depth_trends(probed(dead_from(3)).units)
    stage, whole = trends.to_dict("records")
    assert (stage["first_unit"], stage["last_unit"], stage["points"]) == (3, 5, 3)  # x_4, x_5 and x_6
    assert (whole["first_unit"], whole["last_unit"], whole["points"]) == (4, 5, 3)


def test_passes_with_fewer_units_are_left_out_of_the_rates() -> None:
    """Of two batches, one with zeros: the rate is the other's, and the finding says in how many it is 0."""
    records = [
        gradflow.probe(model, rows(5, 8), labels(), meta={"seeds": [seed]})
        for seed, model in enumerate((dead_from(3), post_activation()))
    ]
    said = findings(Record.concat(records))
    assert "(in 1 of 2 passes, here the first of them)" in said[0]
    alone = findings(records[1])
    assert [one for one in said if one.startswith("Over all 6 units")] == [
        one for one in alone if one.startswith("Over all 6 units")
    ]


def test_a_head_of_zeros_learns() -> None:
    """Nothing comes back to the last unit; the head's weight is named, and its bias is not."""
    model = seeded(lambda: Chain(units=3, width=8))
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    first = findings(probed(model))[0]
    assert first.startswith(f"{VANISHED} 3 of 3 units, from unit 2 (identity) downwards")
    assert "a factor behind it is 0 (head.weight); it gets a gradient itself" in first


def test_a_loss_that_hands_nothing_back() -> None:
    """No factor is 0, and so none is named."""
    model = seeded(lambda: Chain(units=3, width=8))
    record = gradflow.probe(model, rows(5, 8), loss=lambda outputs: torch.relu(outputs - 1e6).sum())
    assert "from what follows it, the head or the loss." in findings(record)[0]


class Blocking(nn.Module):
    """Two units with something between them that hands no gradient on."""

    def __init__(self) -> None:
        super().__init__()
        self.units = seeded(lambda: Chain(units=4, width=8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.units.stem(x)
        for index, f in enumerate(self.units.branches):
            if index == 2:
                x = torch.clamp(x, -1e-9, 1e-9)
            x = x + f(x)
        return self.units.head(x)


def test_a_gradient_that_is_lost_between_units() -> None:
    """What stands there is named."""
    first = findings(probed(Blocking()))[0]
    assert first.startswith(f"{VANISHED} 2 of 4 units, from unit 1")
    assert "what stands between its addition and x_2 (clamp) hands nothing on" in first


def test_numbers_that_underflow() -> None:
    """Below the smallest number of the type 0 may be rounding, and is said so; elsewhere it is not."""
    model = seeded(lambda: Chain(lambda x, f: 1e-12 * x + 1e-12 * f(x), 6, 8))
    first = findings(gradflow.probe(model, rows(5, 8), loss=torch.sum))[0]
    assert first.startswith(VANISHED)
    assert "numbers this small become 0 in float32" in first
    assert "become 0" not in findings(probed(dead_from(3)))[0]


def test_the_gate_names_the_unit_in_which_the_gradient_vanishes() -> None:
    """That unit, and not one of those before it, which have no number."""
    (violation,) = find_violations(probed(dead_from(3)), [Limit("decay_per_unit", ">", 100)])
    assert violation.where.startswith("unit 3 ")
    assert "decay_per_unit is infinite" in str(violation)
    assert violation.others == 3
    assert find_violations(probed(post_activation()), [Limit("decay_per_unit", ">", 100)]) == []
