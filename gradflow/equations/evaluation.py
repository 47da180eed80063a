"""Evaluating the equations on the tensors of one run: rows of the record's `checks` table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from gradflow.equations.flows import Tensors
from gradflow.equations.plain_products import plain_chains, plain_products
from gradflow.equations.span_statements import SpanStatements
from gradflow.equations.spans import Chain, Span, chain_of, chains
from gradflow.equations.sums import Norms
from gradflow.equations.unit_statements import unit_statements
from gradflow.equations.verdicts import Row, Verdict
from gradflow.probing.capture import Capture

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
    tensors = Tensors(capture, Norms(per_sample=per_sample), dtype)
    return [verdict.row(dtype) for verdict in _verdicts(tensors, numbers, spans)]


def _verdicts(tensors: Tensors, numbers: Collection[str], spans: Sequence[Span] | None) -> Iterator[Verdict]:
    capture = tensors.capture
    found, plain = chains(capture), plain_chains(capture)
    asked: dict[Chain, list[Span] | None] = dict.fromkeys(found) if spans is None else {}
    asked_plain: dict[Chain, list[Span] | None] = dict.fromkeys(plain) if spans is None else {}
    units = list(range(len(capture.units)))
    if spans is not None:
        units = [first for first, end in spans if end == first + 1]
        for span in spans:
            chain = chain_of(span, [*found, *plain])
            for group, those in ((asked, found), (asked_plain, plain)):
                if chain in those:
                    group.setdefault(chain, [])
                    group[chain] = [*(group[chain] or []), span]
    for index in units if any(number in numbers for number in OF_UNITS) else ():
        yield from unit_statements(tensors, index, numbers)
    for chain, wanted in asked.items() if any(number in numbers for number in OF_SPANS) else ():
        yield from SpanStatements(tensors, chain, numbers).verdicts(wanted)
    for chain, wanted in asked_plain.items() if "plain" in numbers else ():
        yield from plain_products(tensors, chain, wanted)
