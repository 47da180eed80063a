"""Comparing two records: may they be, which units belong together, what differs, and in words."""

from __future__ import annotations

from gradflow.comparison.comparability import ASPECTS, compact, differences_in_measuring
from gradflow.comparison.comparing import ENOUGH, QUANTITIES, Comparison, compare_records
from gradflow.comparison.resampling import Summary
from gradflow.comparison.words import NAMES, describe

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
    "differences_in_measuring",
]
