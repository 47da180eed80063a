"""Zaeemzadeh's ratio in training, over depths and seeds."""

from __future__ import annotations

from gradflow.report.story.parts import Numbers, Part, Picture
from gradflow.report.story.sources import Analysis
from gradflow.report.story.values import count


def measure(analysis: Analysis) -> Numbers:
    """Return the slope of ln |ratio − 1| against ln depth, before training and after it."""
    ratios = analysis.table("ratios.csv", numbers=("layers", "seed", "iteration", "identity"))
    verdicts = analysis.table(
        "verdicts.csv", text=("law", "verdict", "outside"), numbers=("at", "value", "predicted")
    )
    slopes = verdicts.where(verdicts.frame["law"] == "gain_nears_one")
    layers = sorted({int(depth) for depth in ratios.frame["layers"]})
    last = ratios.frame[ratios.frame["iteration"] == ratios.frame["iteration"].max()]
    return {
        "seeds": ratios.value("different seeds", ratios.frame["seed"].nunique(), count),
        "layers": ", ".join(map(str, layers)),
        "last": ratios.value("largest iteration", ratios.frame["iteration"].max(), count),
        "slopes": [
            {
                "at": slopes.value(f"at of gain_nears_one, iteration {row['at']:.0f}", row["at"], count),
                "value": slopes.cell(row, "value", f"gain_nears_one, iteration {row['at']:.0f}"),
                "verdict": row["verdict"],
                "outside": row["outside"],
            }
            for _, row in slopes.frame.sort_values("at").iterrows()
        ],
        "ratios": [
            (
                depth,
                ratios.value(
                    f"mean over seeds of identity, {depth} layers, last iteration",
                    last.loc[last["layers"] == depth, "identity"].mean(),
                    lambda number: f"{number:.3f}",
                ),
            )
            for depth in layers
        ],
    }


PART = Part(
    "ratios_in_training",
    "part_ratios.html.j2",
    measure,
    (
        Picture(
            "ratios",
            "median ratio of gradient norms of identity and transition units against the iteration, by depth",
            "Median over units of ‖g_l‖ / ‖g_{l+1}‖, mean over seeds; bands are 95 % intervals over seeds.",
        ),
    ),
)
"""The part on ratios in training."""
