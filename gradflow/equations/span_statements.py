"""Equations 4, 5, 7 and 8: statements about the signal and the gradient of a span of units."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gradflow.equations.flows import Flow, Variant
from gradflow.equations.residuals import Residual
from gradflow.equations.spans import Chain, Span
from gradflow.equations.tensors import Tensors
from gradflow.equations.verdicts import NOT_EVALUATED, Verdict, why_not, why_not_backward
from gradflow.tolerances import carried_sum, sum_of_terms, vector_jacobian_product

Found = tuple[Span, Residual | None]


@dataclass(frozen=True)
class _Case:
    """One variant of the sums on a chain, and the equations that it is evaluated for."""

    variant: Variant
    numbers: tuple[str, ...]

    def form(self, name: str) -> str:
        """Return the name of a form of this variant."""
        if not self.variant.masks:
            return name
        return "masked" if name == "forward" else f"masked {name}"


class SpanStatements:
    """What is evaluated on one chain of units.

    Where every h is the identity, λ is 1 and eq. 7 and 8 are eq. 4 and 5: what is evaluated
    once is given for both.

    Args:
        tensors: of the run.
        chain: the units.
        numbers: equations that are asked for.
    """

    def __init__(self, tensors: Tensors, chain: Chain, numbers: Collection[str]) -> None:
        self._tensors = tensors
        self._capture = tensors.capture
        self._chain = chain
        self._numbers = numbers
        units = tensors.capture.units[chain.first : chain.end]
        self._has_shortcuts = all(unit.split is not None for unit in units)
        self._reasons = {
            case.variant: [why_not(unit, case.variant) for unit in units] for case in self._cases()
        }
        # Of h forward, and of its transpose backward.
        self._carrying: dict[bool, Flow] = {
            forward: Flow(
                tensors, chain, Variant(shortcuts=self._has_shortcuts and not chain.identity), forward
            )
            for forward in (True, False)
        }
        # The edges of a branch meet the shortcut's at the fork, and one another in the branch's part.
        self._additions = max(1, *(2 * len(unit.branch_edges) - 1 for unit in units))
        self._layers = tensors.layers(chain.first, chain.end)

    def verdicts(self, spans: Sequence[Span] | None) -> Iterator[Verdict]:
        """Yield the verdicts on `spans`, or on those from the chain's start and to its end."""
        for case in self._cases():
            if self._asked(case, "4", "7"):
                for span, residual in self._sweep(case, spans, forward=True):
                    yield from self._say(case, ("4", "7"), "forward", span, residual)
            if self._asked(case, "5", "8"):
                sizes = dict(self._sweep(case, spans, forward=False))
                for span, residual in sizes.items():
                    yield from self._say(case, ("5", "8"), "telescoped", span, residual)
                ends: dict[int, list[int]] = {}
                for first, end in sizes:
                    # A pass of its own for each end: by default only the one that all units share.
                    if spans is not None or end == self._chain.end:
                        ends.setdefault(end, []).append(first)
                for end, starts in ends.items():
                    yield from self._backward_passes(case, end, starts, sizes)

    def _cases(self) -> Iterator[_Case]:
        masks = self._chain.post_activation == "relu"
        if self._chain.identity:
            yield _Case(Variant(), ("4", "5", "7", "8"))
            if masks:
                yield _Case(Variant(masks=True), ("4", "5", "7", "8"))
            return
        yield _Case(Variant(), ("4", "5"))
        if self._has_shortcuts:
            yield _Case(Variant(shortcuts=True), ("7", "8"))
            if masks:
                yield _Case(Variant(shortcuts=True, masks=True), ("7", "8"))

    def _asked(self, case: _Case, *numbers: str) -> list[str]:
        return [number for number in numbers if number in self._numbers and number in case.numbers]

    def _sweep(self, case: _Case, spans: Sequence[Span] | None, *, forward: bool) -> Iterator[Found]:
        """Yield the residuals of the sums on the spans that are asked for."""
        flow = Flow(self._tensors, self._chain, case.variant, forward)
        first, end = self._chain.first, self._chain.end
        near, far = (first, end) if forward else (end, first)
        if spans is None:
            others = [position for position in range(first, end + 1) if position != near]
            groups = {near: others}
            if not forward and self._chain.post_activation == "relu":
                # How far a gradient is off, unit by unit; of a signal eq. 3 says it.
                groups |= {unit + 1: [unit] for unit in range(first + 1, end - 1)}
                if not flow.multiplies() and end - first > 1:
                    groups[first + 1] = [first]
        else:
            groups = {}
            for start, stop in spans:
                origin, goal = (start, stop) if forward else (stop, start)
                groups.setdefault(origin, []).append(goal)
        for origin, goals in groups.items():
            for goal, residual in flow.along(origin, goals):
                yield (min(origin, goal), max(origin, goal)), residual
        if spans is None and end - first > 1 and flow.multiplies():
            inner = [position for position in range(first, end + 1) if position not in (near, far)]
            for position, residual in flow.against(far, inner):
                yield (min(position, far), max(position, far)), residual

    def _backward_passes(
        self, case: _Case, end: int, starts: Sequence[int], sizes: dict[Span, Residual | None]
    ) -> Iterator[Verdict]:
        """Yield the verdicts that take backward passes of their own: one or two for each `end`."""
        first = min(starts)
        at_end = self._capture.gradients.get(self._capture.units[end - 1].out)
        exact = self._chain.post_activation == "identity" or case.variant.masks
        carried = case.variant.shortcuts or case.variant.masks
        path = None
        if at_end is not None and exact and self._asked(case, "8"):
            path = self._capture.shortcut_path(first, end - 1, at_end)
        if path is not None:
            blocked = dict(self._blocked(case, end, starts, path, first))
            for start in starts:
                residual = blocked.get(start)
                beyond = None if residual is None else self._underflow(residual, path[start - first])
                yield from self._say(case, ("8",), "blocked", (start, end), residual, beyond)
        if carried and not exact:
            return
        vjps: list[Tensor] | None = None
        arriving: list[Tensor] = []
        if at_end is not None and all(sizes[start, end] is not None for start in starts):
            cotangents = arriving = [at_end] * (end - first)
            if carried:
                back = Flow(self._tensors, self._chain, case.variant, forward=False).carried_back(end, first)
                arriving, cotangents = ([], []) if back is None else (back.forks, back.totals)
            if arriving:
                vjps = self._capture.branch_sum_vjps(first, [value.to(at_end.dtype) for value in cotangents])
        for start in starts:
            residual, size = None, sizes[start, end]
            whole = self._capture.gradients.get(self._capture.units[start].fork)
            if vjps is not None and size is not None and whole is not None:
                left = torch.sub(whole.double(), arriving[start - first].double())
                left.sub_(vjps[start - first].double())
                came, norms = arriving[start - first], self._tensors.norms
                sizes_of_terms = (
                    self._tensors.size(whole),
                    self._tensors.size(came) if came is at_end else norms(came.double()),
                    norms(vjps[start - first].double()),
                )
                residual = replace(size, norm=norms(left), smallest=np.min(sizes_of_terms, axis=0))
            yield from self._say(case, ("5", "8"), "vjp", (start, end), residual)

    def _blocked(
        self, case: _Case, end: int, starts: Sequence[int], arrived: Sequence[Tensor], first: int
    ) -> Iterator[tuple[int, Residual | None]]:
        """Yield the residual of Π h′_i ∂E/∂x_L and what arrived with the branches blocked."""
        flow = Flow(self._tensors, self._chain, case.variant, forward=False)
        running = flow.begin_along(end, follow=False)
        for unit in range(end - 1, min(starts) - 1, -1):
            before = flow.before(unit)
            if running is None or before is None:
                return
            running.carry(before)
            size = running.weigh()
            if unit in starts:
                compared = running.compare(arrived[unit - first].double(), size)
                # The product is the one term, and what one of its factors is off by, all of it is.
                yield unit, replace(compared, smallest=size)

    def _underflow(self, product: Residual, arrived: Tensor) -> str | None:
        """Say if a product of factors is too small for the dtype: then rounding is no longer relative.

        While the root mean square of its elements is a normal number, what subnormal ones lose,
        half the smallest of them each, is no more than the unit roundoff of the whole.
        """
        least = torch.finfo(getattr(torch, self._tensors.dtype)).tiny * arrived[0].numel() ** 0.5
        if not self._tensors.norms.per_sample:
            least *= len(arrived) ** 0.5
        if ((product.smallest > 0) & (product.smallest < least)).any():
            return f"the product of the shortcuts is below the normal numbers of {self._tensors.dtype}"
        return None

    def _say(
        self,
        case: _Case,
        numbers: tuple[str, ...],
        form: str,
        span: Span,
        residual: Residual | None,
        beyond: str | None = None,
    ) -> Iterator[Verdict]:
        of_units = self._reasons[case.variant][slice(*self._within(span))]
        reasons = list(dict.fromkeys(filter(None, [*of_units, beyond])))
        if case.variant.shortcuts and self._carrying[form == "forward"].unknown:
            reasons.append(NOT_EVALUATED)
        if form != "forward":
            # With the branches blocked a gradient is sent from x_L alone: what the loss does is no matter.
            reasons += why_not_backward(self._capture, span, taps=form != "blocked")
        tolerance = self._tolerance(case, form, span)
        for number in self._asked(case, *numbers):
            yield Verdict(number, case.form(form), span, self._chain.stage, residual, tolerance, reasons)

    def _tolerance(self, case: _Case, form: str, span: Span) -> float:
        count, dtype = span[1] - span[0], self._tensors.dtype
        additions = self._additions if form in {"telescoped", "vjp"} else 1
        tolerance, extra = sum_of_terms(dtype, count, additions), 0.0
        if form == "vjp":
            extra = vector_jacobian_product(dtype, count, *self._layers) - sum_of_terms(dtype, count)
        if case.variant.shortcuts or case.variant.masks:
            carrying = self._carrying[form == "forward"]
            roundings = carrying.roundings if case.variant.shortcuts else 0.0
            tolerance = carried_sum(dtype, count, roundings, additions)
        return tolerance + extra

    def _within(self, span: Span) -> Span:
        return span[0] - self._chain.first, span[1] - self._chain.first
