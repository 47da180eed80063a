"""Evaluating the equations on the tensors of one run: rows of the record's `checks` table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from gradflow.equations.spans import (
    Chain,
    Span,
    chain_of,
    chains,
    default_spans,
    is_comparable,
    kind_of,
    why_not,
)
from gradflow.equations.statements import Array, Form, Residual, RunningSum
from gradflow.probing.capture import Capture
from gradflow.tolerances import sum_of_terms, vector_jacobian_product
from gradflow.units.finding import stages
from gradflow.units.tracing import TracedUnit

Row = dict[str, Any]


def evaluate(capture: Capture, numbers: Sequence[str], spans: Sequence[Span] | None, dtype: str) -> list[Row]:
    """Return a row for each equation, form and span.

    Args:
        capture: the tensors, with the graph whole.
        numbers: equations that are asked for.
        spans: pairs (l, L) instead of the default ones, or None.
        dtype: name of the dtype in which the passes ran.

    Raises:
        ProbeError: if a span cannot be compared.
    """
    return list(_Evaluation(capture, dtype).rows(numbers, spans))


class _Evaluation:
    def __init__(self, capture: Capture, dtype: str) -> None:
        self._capture = capture
        self._units = capture.units
        self._dtype = dtype
        self._chains = chains(capture)
        self._stages = stages(capture.units)

    def rows(self, numbers: Sequence[str], spans: Sequence[Span] | None) -> Iterator[Row]:
        """Yield the rows of all equations in `numbers`."""
        if spans is None:
            if "3" in numbers:
                yield from (self._unit_row(unit) for unit in self._units)
            asked = {chain: default_spans(chain) for chain in self._chains}
        else:
            asked = {}
            for span in spans:
                asked.setdefault(chain_of(span, self._chains), []).append(span)
            if "3" in numbers:
                yield from (self._unit_row(self._units[first]) for first, end in spans if end == first + 1)
        for chain, wanted in asked.items():
            if "4" in numbers:
                yield from self._spans("4", "forward", chain, wanted)
            if "5" in numbers:
                yield from self._spans("5", "telescoped", chain, wanted)
                # A pass of its own for each end: by default only the end that all units share.
                to_end = wanted if spans is not None else [span for span in wanted if span[1] == chain.end]
                yield from self._paper_form(chain, to_end)

    def _unit_row(self, unit: TracedUnit) -> Row:
        chain = Chain(unit.index, unit.index, self._stages[unit.index], *kind_of(unit))
        residual = None
        if is_comparable(self._capture, unit):
            ((_, residual),) = self._sweep("forward", chain, [(unit.index, chain.end)])
        return self._row("3", "forward", (unit.index, chain.end), chain, residual)

    def _spans(self, number: str, form: Form, chain: Chain, spans: Sequence[Span]) -> Iterator[Row]:
        for span, residual in self._sweep(form, chain, spans):
            yield self._row(number, form, span, chain, residual)

    def _sweep(
        self, form: Form, chain: Chain, spans: Sequence[Span]
    ) -> Iterator[tuple[Span, Residual | None]]:
        """Yield the residual of v_L = v_l + Σ t_i on each span, growing spans that share an end.

        Forward v is x and t is F (eq. 4). Backward v is ∂E/∂x and t is −b (eq. 5).
        """
        shared = chain.first
        from_start = [end for start, end in spans if start == shared]
        if from_start:
            yield from self._grow(form, chain, shared, sorted(from_start))
        to_end: dict[int, list[int]] = {}
        for start, end in spans:
            if start != shared:
                to_end.setdefault(end, []).append(start)
        for end, starts in to_end.items():
            yield from self._grow(form, chain, end, sorted(starts, reverse=True))

    def _grow(
        self, form: Form, chain: Chain, anchor: int, others: Sequence[int]
    ) -> Iterator[tuple[Span, Residual | None]]:
        """Yield the residuals of all spans between `anchor` and each of `others`, nearest first."""
        forward = others[0] > anchor
        at_anchor = self._at(form, chain, anchor)
        running = None if at_anchor is None else RunningSum(at_anchor)
        position = anchor
        for other in others:
            while position != other:
                index = position if forward else position - 1
                term, beside = self._term(form, index), self._beside(form, chain, index)
                if running is None or term is None or beside is None:
                    running = None
                else:
                    running.add(term if forward == (form == "forward") else -term, beside)
                position += 1 if forward else -1
            at_other = self._at(form, chain, other)
            span = (anchor, other) if forward else (other, anchor)
            yield span, None if running is None or at_other is None else running.compare(at_other)

    def _paper_form(self, chain: Chain, spans: Sequence[Span]) -> Iterator[Row]:
        """Eq. 5 as the paper writes it: one extra backward pass for each end that is asked for."""
        ends: dict[int, list[int]] = {}
        for start, end in spans:
            ends.setdefault(end, []).append(start)
        for end, starts in ends.items():
            first = min(starts)
            at_end = self._at("telescoped", chain, end)
            # The terms that enter are those of the telescoped form: its scale is this one's.
            sizes = dict(self._grow("telescoped", chain, end, sorted(starts, reverse=True)))
            vjps = None
            if at_end is not None and None not in sizes.values():
                vjps = self._capture.branch_sum_vjps(first, end - 1)
            for start in starts:
                size, arriving = sizes[start, end], self._at("telescoped", chain, start)
                residual = None
                if vjps is not None and size is not None and arriving is not None and at_end is not None:
                    whole = RunningSum(at_end)
                    whole.add(_flat(vjps[start - first]), at_end)
                    residual = replace(size, norm=whole.compare(arriving).norm)
                yield self._row("5", "vjp", (start, end), chain, residual)

    def _at(self, form: Form, chain: Chain, position: int) -> Array | None:
        """Return x_l (backward: ∂E/∂x_l) for l = `position` of `chain`."""
        last = position == chain.end
        port = self._units[chain.last].out if last else self._units[position].fork
        found = (self._capture.values if form == "forward" else self._capture.gradients).get(port)
        return None if found is None else _flat(found)

    def _beside(self, form: Form, chain: Chain, index: int) -> Array | None:
        """Return what the term of unit `index` is added to: x_i forward, ∂E/∂x_{i+1} backward."""
        return self._at(form, chain, index if form == "forward" else index + 1)

    def _term(self, form: Form, index: int) -> Array | None:
        """Return F_i, or b_i."""
        found = self._capture.branches[index] if form == "forward" else self._capture.branch_parts[index]
        return None if found is None else _flat(found)

    def _row(self, number: str, form: Form, span: Span, chain: Chain, residual: Residual | None) -> Row:
        units = span[1] - span[0]
        tolerance = sum_of_terms(self._dtype, units)
        if form == "vjp":
            layers, reduction = self._layers(span)
            tolerance = vector_jacobian_product(self._dtype, units, layers, reduction)
        error = residual.error if residual is not None else None
        comparable = residual is not None
        return {
            "equation": number,
            "form": form,
            "span_start": span[0],
            "span_end": span[1],
            "stage": chain.stage,
            "dtype": self._dtype,
            "error": error,
            "tolerance": tolerance,
            "holds": error is not None and error <= tolerance,
            "expected_to_hold": chain.plain
            and not self._tapped(number, span)
            and self._reached(number, span),
            "detectable": residual.detectable(tolerance) if residual is not None else None,
            "finding": self._finding(number, span, comparable, error),
        }

    def _tapped(self, number: str, span: Span) -> bool:
        """Whether a gradient from outside reaches the span: eq. 5 has no term for it."""
        return number == "5" and not self._capture.other.isdisjoint(range(*span))

    def _reached(self, number: str, span: Span) -> bool:
        """Whether the loss depends on the span at all, as eq. 5 presumes."""
        ports = (self._units[index].out for index in range(*span))
        return number != "5" or all(port in self._capture.gradients for port in ports)

    def _finding(self, number: str, span: Span, comparable: bool, error: float | None) -> str | None:
        reasons = dict.fromkeys(why_not(self._units[index]) for index in range(*span))
        if self._tapped(number, span):
            reasons["something outside the units also uses x_l"] = None
        if not self._reached(number, span):
            reasons["the loss does not depend on it"] = None
        words = "; ".join(reason for reason in reasons if reason)
        if not comparable:
            words = "; ".join(filter(None, [words, "its ends have different shapes or were not reached"]))
        elif error is None:
            words = "; ".join(filter(None, [words, "a term is not finite"]))
        return words or None

    def _layers(self, span: Span) -> tuple[int, int]:
        """Return the most weight layers of a branch, and the longest reduction of one of them.

        A weight of shape (out, in, …) reduces over all but its first dimension forward, and
        over all but its second backward.
        """
        branches = [self._units[index].branch_parameters for index in range(*span)]
        weights = [[parameter for parameter in branch if parameter.ndim > 1] for branch in branches]
        lengths = [weight.numel() // min(weight.shape[:2]) for branch in weights for weight in branch]
        return max(1, *(len(branch) for branch in weights)), max([1, *lengths])


def _flat(tensor: Tensor) -> Array:
    """Return the elements in float64, samples first, in one order for every memory layout."""
    return np.asarray(tensor.detach().double().cpu().contiguous().reshape(-1).numpy())
