"""Findings in plain words: true of networks that were built to have them, and absent from others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from _records import make_record
from small_networks import Chain, LinearBranches, labels, rows, seeded
from torch import nn

import gradflow
from gradflow.findings import findings
from gradflow.record import Record


def said_of(model: nn.Module) -> str:
    """Return the findings about a probe of `model`."""
    return "\n".join(findings(gradflow.probe(model, rows(), labels())))


def scaling(*factors: float) -> str:
    """Return the findings about units y = x + a x with the loss Σ y."""
    model = LinearBranches(*(factor * torch.eye(4) for factor in factors))
    return "\n".join(findings(gradflow.probe(model, rows(), loss=torch.sum)))


TROUBLES = (
    *("next to nothing", "cancel:", "Nothing comes back", "NaN or infinite", "The loss is not finite"),
    *("exactly 0", "was dropped", "F is 0", "last normalisation is missing"),
)


def test_a_healthy_network_has_no_troubles() -> None:
    """Only rates and shares are said of a network in which all is well."""
    said = said_of(seeded(Chain))
    assert "the gradient norm" in said
    assert not any(trouble in said for trouble in TROUBLES)


def test_rates_are_those_of_the_network() -> None:
    """Growth by 1.5 a unit with one of 3 among them: the rate, and the unit in which it is most."""
    said = scaling(0.5, 0.5, 2.0, 0.5)
    assert "It grows most in unit 2 (identity): ×3." in said
    assert "it grows to ×10.1" in said  # 1.5³ · 3
    assert "It shrinks most in unit 1 (identity): ×0.5." in scaling(0.0, -0.5, 0.0)


def test_a_fit_and_its_ends_may_differ_in_direction() -> None:
    """‖g‖ over 8, 1, 1, 1, 4 units: fitted it shrinks, from end to end it grows; no direction is claimed."""
    said = scaling(0.0, 1.0, -0.875, 0.0, 0.0, 0.0, 7.0)
    assert "the gradient norm changes: stage 0" in said
    assert "the gradient norm grows: stage 0" in scaling(0.5, 0.5, 0.5)
    assert "the gradient norm shrinks: stage 0" in scaling(-0.5, -0.5, -0.5)


def test_a_gradient_that_stays_has_no_direction() -> None:
    """Branches of zeros change nothing, and no unit stands out; a thousandth does change something."""
    said = scaling(0.0, 0.0, 0.0).replace("\u00a0", " ")
    assert "the gradient norm stays as it is: stage 0 (units 0 to 2) to ×1.000" in said
    assert "included, it stays as it is, at ×1.000." in said
    assert "The shortcut carries 100 % of the gradient's energy, ‖s‖² / (‖s‖² + ‖b‖²), in every unit." in said
    assert "Forward, the branch adds 0 % of the signal's energy in every unit." in said
    for word in ("shrinks", "grows", " most in", " least in"):
        assert word not in said
    said = scaling(1e-3, 1e-3, 1e-3)
    assert "the gradient norm grows: stage 0" in said
    assert "It grows most in unit" in said
    assert "the gradient norm shrinks: stage 0" in scaling(-1e-3, -1e-3, -1e-3)
    # A change a unit that is too small to be written adds up.
    assert "the gradient norm grows: stage 0 (units 0 to 9) to ×1.002, that is ×1.000" in scaling(
        *[2e-4] * 10
    )


def test_repetitions_that_all_stay() -> None:
    """An interval within rounding of 1 is no disagreement in direction; one that spans more is."""
    records = [make_record(stages=(4,), growth=growth, seed=seed) for seed, growth in enumerate((0.9, 1.1))]
    assert "in no direction that the repetitions agree on" in "\n".join(findings(Record.concat(records)))
    model = LinearBranches(*[torch.zeros(4, 4)] * 3)
    same = [gradflow.probe(model, rows(), loss=torch.sum, meta={"seeds": [seed]}) for seed in range(2)]
    assert "the gradient norm stays as it is" in "\n".join(findings(Record.concat(same)))


def test_units_that_do_nothing() -> None:
    """A branch of a thousandth of the norm does nothing, one of a tenth does something."""
    said = scaling(0.5, 1e-3, 0.5, 0.0)
    assert "2 units do next to nothing: the branch has at most 10⁻⁴ % of the signal's energy" in said.replace(
        "\u00a0", " "
    )
    assert "in unit 1 (identity), unit 3 (identity)." in said
    assert "1 unit does next to nothing" in scaling(0.5, 1e-3)
    assert "next to nothing" not in scaling(0.5, 0.1)


def test_units_that_cancel() -> None:
    """At a = −0.9 a tenth of signal and gradient is left; at −0.4 it is more than half, and not said."""
    said = scaling(0.1, -0.9, -0.7)
    assert "Backward, shortcut and branch cancel" in said
    assert (
        "in unit 1 (identity), unit 2 (identity); least in unit 1 (identity), where ‖s + b‖ / ‖s‖ is 0.1"
        in said
    )
    assert "ρ = ⟨b, s⟩ / ‖s‖² is −0.9." in said
    assert "Forward, shortcut and branch cancel" in said
    assert "where ‖y‖ / ‖h‖ is 0.1 at a cosine of −1." in said
    assert "cancel:" not in scaling(0.1, -0.4)


def test_the_last_iteration_is_described() -> None:
    """Of a recording with several iterations the findings are the last one's."""
    records = [make_record(stages=(4,), growth=growth, iteration=at) for at, growth in ((0, 2.0), (10, 0.5))]
    assert "the gradient norm shrinks" in "\n".join(findings(Record.concat(records)))
    assert "the gradient norm grows" in "\n".join(findings(Record.concat(records[::-1][1:])))


def test_nothing_finite_is_said_so() -> None:
    """A record without a number says that, and not nothing."""
    record = make_record(stages=(2,), checks=False)
    floats = [name for name in record.units if record.units[name].dtype == np.float64]
    units = record.units.assign(**dict.fromkeys(floats, np.nan))
    assert findings(Record(units, meta=record.meta)) == ["Nothing was finite, so there is nothing to say."]


def test_findings_need_no_torch() -> None:
    """They are read from a record where torch is not installed."""
    code = "import gradflow.findings, sys; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    root = Path(gradflow.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "False False"
