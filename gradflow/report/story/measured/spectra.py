"""By how much spans of units stretch: singular values of Jacobians, beside predictions."""

from __future__ import annotations

from gradflow.report.story.naming import FAMILIES
from gradflow.report.story.parts import Numbers, Part, Picture
from gradflow.report.story.sources import Analysis
from gradflow.report.story.values import count

_NETWORKS = FAMILIES | {
    "scaled": "pre-activation, branches scaled down",
    "rezero": "pre-activation, branches × 0 (ReZero)",
}
_LAWS = {
    "mean_square": "E σ² = Π (1 + m_l)",
    "largest": "the largest σ (free multiplicative Brownian motion)",
}


def measure(analysis: Analysis) -> Numbers:
    """Return the network's root mean square and largest singular value, and the predictions' verdicts."""
    spans = analysis.table("spans.csv", text=("network", "span"), numbers=("root_mean_square", "largest"))
    laws = analysis.table("predictions.csv", text=("law", "network", "span", "verdict"), numbers=("value",))
    whole = spans.frame[spans.frame["span"] == "network"]
    return {
        "rows": [
            {
                "network": _NETWORKS.get(row["network"], row["network"]),
                "root": spans.cell(row, "root_mean_square", f"{row['network']}, network"),
                "largest": spans.cell(row, "largest", f"{row['network']}, network"),
            }
            for _, row in whole.iterrows()
        ],
        "laws": [
            {
                "law": _LAWS.get(str(law), str(law)),
                "least": laws.value(f"least value of {law}", part["value"].min()),
                "most": laws.value(f"largest value of {law}", part["value"].max()),
                "verdicts": [
                    (laws.value(f"rows of {law} whose verdict is “{verdict}”", number, count), verdict)
                    for verdict, number in part["verdict"].value_counts(sort=False).items()
                ],
            }
            for law, part in laws.frame.groupby("law", sort=False)
        ],
    }


PART = Part(
    "jacobian_spectra",
    "part_spectra.html.j2",
    measure,
    (
        Picture(
            "spans",
            "singular values of every span with their intervals, beside the predictions",
            "Every span with its interval over seeds, often smaller than the mark; dashes are the "
            "predictions.",
        ),
    ),
)
"""The part on singular values."""
