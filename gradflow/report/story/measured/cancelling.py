"""The −1 argument: of how many samples the branch comes near cancelling the shortcut."""

from __future__ import annotations

import pandas as pd

from gradflow.report.story.parts import Numbers, Part, Picture
from gradflow.report.story.sources import Analysis
from gradflow.report.story.values import count, percent, times

_COUNTS = ("silent", "pairs", "near_full", "near_along", "reaching")
_NUMBERS = (*_COUNTS, "negative", "least", "left_at_least", "least_left", "median_left", "most_left", "seeds")
_MEANS = ("least_cancellation", "least_survival", "all_samples")


def measure(analysis: Analysis) -> Numbers:
    """Return the counts over all networks, the extremes, and a row a network."""
    sheet = analysis.table(
        "numbers.csv", text=("model", "bn", "form", "verdict"), numbers=(*_NUMBERS, *_MEANS)
    )
    frame = sheet.frame
    least, left = sheet.row_of("least"), sheet.row_of("least_left")
    silent = frame[frame["silent"] > 0]
    spans = frame[frame["form"] != "unit"]
    untrained = frame[frame["bn"] != "running"]
    return {
        **{name: sheet.value(f"sum of {name} over all rows", frame[name].sum(), count) for name in _COUNTS},
        "least_survival": sheet.cell(left, "least_left", _row(left)),
        "least_survival_of": _row(left),
        "least": sheet.cell(least, "least", _row(least)),
        "least_of": _row(least),
        "left_at_least": sheet.cell(least, "left_at_least", _row(least), times),
        "silent_rows": [
            (_row(row), sheet.cell(row, "silent", _row(row), count)) for _, row in silent.iterrows()
        ],
        "lengthened": bool((spans["median_left"] > 1).all()),
        "spans": [
            {
                "of": f"{row['model']}, BN {row['bn']}",
                "median": sheet.cell(row, "median_left", _row(row), times),
                "negative": sheet.cell(row, "negative", _row(row), percent),
            }
            for _, row in spans.iterrows()
        ],
        "agreeing": sheet.value(
            "rows of untrained networks whose verdict is “agrees”",
            (untrained["verdict"] == "agrees").sum(),
            count,
        ),
        "judged": sheet.value("rows of untrained networks", len(untrained), count),
        "trained": len(untrained) < len(frame),
        "rows": [
            {
                "of": _row(row),
                "pairs": sheet.cell(row, "pairs", _row(row), count),
                "near": sheet.cell(row, "near_full", _row(row), count),
                "reaching": sheet.cell(row, "reaching", _row(row), count),
                "survival": sheet.cell(row, "least_survival", _row(row)),
                "least": sheet.cell(row, "least_cancellation", _row(row)),
                "all": sheet.cell(row, "all_samples", _row(row)),
                "verdict": row["verdict"],
            }
            for _, row in frame.iterrows()
        ],
    }


def _row(row: pd.Series) -> str:
    return f"{row['model']}, BN {row['bn']}, {row['form']}"


PART = Part(
    "minus_one",
    "part_minus_one.html.j2",
    measure,
    (
        Picture(
            "cancellation",
            "ρ of every sample by unit, and by span to the end of a run of identity units, with the line at "
            "−1",
            "ρ = ⟨b, s⟩ / ‖s‖², by unit on the left and by span on the right. The bands hold all samples: of "
            "untrained networks those of all seeds, of a trained one those of all batches. At −1 the part of "
            "the gradient along the shortcut is gone.",
        ),
        Picture(
            "survival",
            "what is left of the shortcut’s gradient in every sample, by unit and by span, with the line at "
            "0",
            "Survival, ‖s + b‖ / ‖s‖, likewise. Full cancellation would be 0.",
        ),
    ),
)
"""The part of the chapter on the −1 argument."""
