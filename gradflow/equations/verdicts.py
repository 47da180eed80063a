"""From a residual to a row of the record's `checks` table: does it hold, and should it?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gradflow.equations.flows import Variant
from gradflow.equations.residuals import Residual
from gradflow.equations.spans import Span
from gradflow.probing.capture import Capture
from gradflow.statements import EQUATIONS
from gradflow.units.tracing import TracedUnit

Row = dict[str, Any]

FORMULAS = {(equation.number, equation.form): equation.formula for equation in EQUATIONS}

NOT_COMPARABLE = "its ends have different shapes or were not reached"
NOT_FINITE = "a term is not finite"
NOTHING_ENTERS = "its terms are all zero, and something is left"
NOTHING_TO_COMPARE = "every term is zero, so there was nothing to compare"
NOT_COMPARED = "are zero in every term, and were not compared"
NOT_EVALUATED = "what stands on its way is not among the operations that can be evaluated again"


@dataclass(frozen=True)
class Verdict:
    """One statement on one span.

    Attributes:
        number: the equation's.
        form: the equation's.
        span: (l, L).
        stage: of the span.
        residual: what is left of it; None where it could not be evaluated.
        tolerance: the largest error that rounding explains.
        reasons: why it is not expected to hold; none where it is.
        absent: why there is no residual, if there is none.
    """

    number: str
    form: str
    span: Span
    stage: int
    residual: Residual | None
    tolerance: float
    reasons: Sequence[str] = ()
    absent: str = NOT_COMPARABLE

    def row(self, dtype: str) -> Row:
        """Return the row of the `checks` table."""
        error = self.residual.error if self.residual is not None else None
        finite = self.residual is None or self.residual.finite
        nothing = self.residual is not None and self.residual.nothing
        reasons = list(self.reasons)
        if self.residual is None:
            reasons.append(self.absent)
        elif nothing:
            reasons.append(NOTHING_TO_COMPARE)
        elif error is None:
            reasons.append(NOTHING_ENTERS if finite else NOT_FINITE)
        elif self.residual.empty:
            compared = "tensors" if self.number == "9" else "samples"
            reasons.append(f"{self.residual.empty} of {len(self.residual.scale)} {compared} {NOT_COMPARED}")
        return {
            "equation": self.number,
            "form": self.form,
            "formula": FORMULAS[self.number, self.form],
            "span_start": self.span[0],
            "span_end": self.span[1],
            "stage": self.stage,
            "dtype": dtype,
            "error": error,
            "tolerance": self.tolerance,
            "holds": error is not None and error <= self.tolerance,
            # What could not be compared says nothing, and neither does that nothing equals nothing; what is
            # not finite fails, whatever the form.
            "expected_to_hold": self.residual is not None and not nothing and not (self.reasons and finite),
            "detectable": self.residual.detectable(self.tolerance) if self.residual is not None else None,
            "finding": "; ".join(reasons) or None,
        }


def why_not(unit: TracedUnit, variant: Variant) -> str | None:
    """Say what a unit does that a statement has no factor for; None if nothing."""
    reasons = []
    if unit.shortcut == "none":
        reasons.append("it has no shortcut")
    elif unit.shortcut != "identity" and not variant.shortcuts:
        reasons.append(f"h is a {unit.shortcut} shortcut")
    if unit.post_activation not in ({"identity", "relu"} if variant.masks else {"identity"}):
        reasons.append(f"f is {unit.post_activation}")
    straight = unit.out == unit.total or unit.post_activation != "identity"
    if not reasons and not (straight and (unit.shortcut_is_fork or variant.shortcuts)):
        reasons.append("x is rearranged on its way through the unit")
    return " and ".join(reasons) or None


def why_not_backward(capture: Capture, span: Span, *, taps: bool = True) -> Iterator[str]:
    """Yield why a statement about gradients need not hold on `span`.

    Args:
        capture: the run.
        span: (l, L).
        taps: whether what reaches x_l from outside the units, or y_l from beside f, matters to it.
    """
    if taps and not capture.other.isdisjoint(range(*span)):
        yield "something outside the units also uses x_l"
    if taps and any(
        capture.units[index].out != capture.units[index].total
        for index in capture.before_activation.intersection(range(*span))
    ):
        yield "something besides f also uses y_l"
    if not all(capture.units[index].out in capture.gradients for index in range(*span)):
        yield "the loss does not depend on it"
