"""Comparing two records: may they be, which units belong together, what differs, and in words."""

from __future__ import annotations

from gradflow.comparison.comparability import ASPECTS, compact, differences_in_measuring, how_to_measure_alike
from gradflow.comparison.comparing import QUANTITIES, Comparison, compare_records
from gradflow.comparison.resampling import Summary
from gradflow.comparison.words import NAMES, describe, describe_repetitions
from gradflow.repetitions import ENOUGH

__all__ = [
    "ASPECTS",
    "ENOUGH",
    "NAMES",
    "QUANTITIES",
    "Comparison",
    "Summary",
    "compact",
    "compare_records",
    "describe",
    "describe_repetitions",
    "differences_in_measuring",
    "how_to_measure_alike",
]
