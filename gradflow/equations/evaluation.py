"""Evaluating the equations on the tensors of one run: rows of the record's `checks` table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from gradflow.equations.plain_products import plain_chains, plain_products
from gradflow.equations.residuals import Norms
from gradflow.equations.span_statements import SpanStatements
from gradflow.equations.spans import Chain, Span, chain_of, chains, is_unit, not_comparable
from gradflow.equations.tensors import Tensors
from gradflow.equations.unit_statements import unit_statements
from gradflow.equations.verdicts import Row, Verdict
from gradflow.probing.capture import Capture
from gradflow.units.tracing import TracedUnit

OF_UNITS = ("1", "2", "3", "6")
OF_SPANS = ("4", "5", "7", "8")


def evaluate(
    capture: Capture,
    numbers: Collection[str],
    spans: Sequence[Span] | None,
    dtype: str,
    *,
    per_sample: bool = False,
) -> list[Row]:
    """Return a row for each equation, form and span.

    Args:
        capture: the tensors, with the graph whole.
        numbers: equations that are asked for; of eq. 9 nothing is evaluated here.
        spans: pairs (l, L) instead of the default ones, or None.
        dtype: name of the dtype in which the passes ran.
        per_sample: whether each sample is held to the tolerance, rather than the batch.

    Raises:
        ProbeError: if a span cannot be compared.
    """
    tensors = Tensors(capture.ending_at_additions(), Norms(per_sample=per_sample), dtype)
    return [verdict.row(dtype) for verdict in _verdicts(tensors, capture.units, numbers, spans)]


def skipped(capture: Capture, numbers: Collection[str], spans: Sequence[Span] | None) -> list[dict[str, str]]:
    """Return what of the equations that are asked for is not evaluated on `spans`, and why.

    Args:
        capture: the run.
        numbers: equations that are asked for.
        spans: pairs (l, L), none of which `evaluate` refuses, or None for the default ones.

    Returns:
        `what` and `why`, as the record's metadata have them.
    """
    if spans is None:
        return []
    found: list[dict[str, str]] = []
    if "9" in numbers:
        why = "it is about the whole network, and spans were asked for; leave out the spans to have it"
        found.append({"what": "equation 9", "why": why})
    known = chains(capture.ending_at_additions())
    of_spans = [number for number in numbers if number in OF_SPANS]
    for first, end in spans if of_spans else ():
        if chain_of((first, end), known) is None:
            what = f"equation{'s' if len(of_spans) > 1 else ''} {', '.join(of_spans)} on span {first}-{end}"
            found.append({"what": what, "why": "its ends have different shapes or were not reached"})
    return found


def _verdicts(
    tensors: Tensors, as_read: Sequence[TracedUnit], numbers: Collection[str], spans: Sequence[Span] | None
) -> Iterator[Verdict]:
    # Of units `as_read`, x_{l+1} is what the next one reads, as eq. 2 takes it.
    capture = tensors.capture
    found, plain = chains(capture), plain_chains(capture)
    asked: dict[Chain, list[Span] | None] = dict.fromkeys(found) if spans is None else {}
    asked_plain: dict[Chain, list[Span] | None] = dict.fromkeys(plain) if spans is None else {}
    units = list(range(len(capture.units)))
    if spans is not None:
        units = [first for first, end in spans if end == first + 1]
        for span in spans:
            chain = chain_of(span, [*found, *plain])
            if chain is None:
                if is_unit(span, len(capture.units)) and not set(numbers).isdisjoint(OF_UNITS):
                    continue  # what is said of one unit needs no chain
                raise not_comparable(span, [*found, *plain])
            for group, those in ((asked, found), (asked_plain, plain)):
                if chain in those:
                    group.setdefault(chain, [])
                    group[chain] = [*(group[chain] or []), span]
    for index in units if any(number in numbers for number in OF_UNITS) else ():
        yield from unit_statements(tensors, as_read[index], numbers)
    for chain, wanted in asked.items() if any(number in numbers for number in OF_SPANS) else ():
        yield from SpanStatements(tensors, chain, numbers).verdicts(wanted)
    for chain, wanted in asked_plain.items() if "plain" in numbers else ():
        yield from plain_products(tensors, chain, wanted)
