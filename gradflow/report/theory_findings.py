"""Sentences about predictions beside what a run measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from markupsafe import Markup

from gradflow.report.typesetting import typeset
from gradflow.theory import AGREES, DISAGREES, LAWS, NEAR, OUTSIDE, UNDECIDED
from gradflow.theory.verdicts import LEAST_SEEDS
from gradflow.wording import format_number as number


def describe_theory(verdicts: pd.DataFrame) -> Iterator[Markup]:
    """Yield a sentence for each prediction whose conditions the run meets; the table has the others too.

    The sentences are HTML, with formulas typeset.

    Args:
        verdicts: `theory.compare` of the run's record.
    """
    for name, part in verdicts.groupby("law", sort=False):
        if (part["verdict"] == OUTSIDE).all():
            continue
        law = LAWS[str(name)]
        rows = part.to_dict("records")
        measured = ", ".join(
            number(row["value"])
            + (f" ({number(row['value_low'])} to {number(row['value_high'])})" if _has_interval(row) else "")
            for row in rows
        )
        where = f" in stages {rows[0]['stage']} to {rows[-1]['stage']}" if len(rows) > 1 else ""
        above = {"=": "", ">": "above ", "<": "below "}[law.relation]
        predicted = f"{above}{number(float(part['predicted'].iloc[0]))}"
        yield typeset(
            f"Theory: {law.title} is predicted to be {predicted} ({law.source}); measured {measured}{where}. "
            f"{_verdict(part)}"
        )


def _has_interval(row: dict[object, object]) -> bool:
    return bool(np.isfinite(float(str(row["value_low"]))))


def _verdict(part: pd.DataFrame) -> str:
    outside = part.loc[part["verdict"] == OUTSIDE, "outside"].drop_duplicates().tolist()
    judged = part.loc[part["verdict"] != OUTSIDE, "verdict"].value_counts()
    total = int(judged.sum())
    said = [
        f"it {verdict}" + (f" in {judged[verdict]} of {total}" if len(part) > 1 else "")
        for verdict in (AGREES, NEAR, DISAGREES)
        if verdict in judged
    ]
    said += _why_undecided(part[part["verdict"] == UNDECIDED], total)
    if outside:
        said.append(f"out of its conditions: {'; '.join(outside)}")
    words = "; ".join(said)
    return f"{words[:1].upper()}{words[1:]}."


def _why_undecided(undecided: pd.DataFrame, total: int) -> Iterator[str]:
    """Yield what keeps predictions undecided, and in how many of `total` it does."""
    few = undecided["seeds"] < LEAST_SEEDS
    bare = ~few & undecided["value_low"].isna()
    straddling = ~few & ~bare
    enough = f"--seeds 0-{LEAST_SEEDS - 1} measures so many"
    reasons = {
        f"of fewer than {LEAST_SEEDS} seeds nothing is decided: {enough}": few,
        "without an interval nothing is decided": bare,
        "the interval reaches to both sides of it, so nothing is decided": straddling,
    }
    for words, chosen in reasons.items():
        if chosen.any():
            yield words + (f" (in {int(chosen.sum())} of {total})" if total > 1 else "")
