"""Tables of the page, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from common.tables import table_line, with_interval

from gradflow.plots import format_number
from gradflow.statistics import aggregate
from gradflow.theory import AGREES, DISAGREES, NEAR, OUTSIDE, UNDECIDED
from gradflow.theory.published import COUPLED
from initialisation.laws import LAWS
from initialisation.measuring import Measurement


def relative_gradients(measurements: Sequence[Measurement]) -> pd.DataFrame:
    """Return ‖∂E/∂x_l‖ over the last unit's, averaged over seeds: `ratio` with its interval, by unit."""
    parts = []
    for measurement in measurements:
        units = measurement.records["batch"].units
        keys = units[["iteration", "seed", "batch_index", "unit"]]
        ratio = units["grad_in_norm"] / units["grad_in_norm"].iloc[-1]
        parts.append(keys.assign(network=measurement.case.network, depth=measurement.case.depth, ratio=ratio))
    return aggregate(pd.concat(parts), ["ratio"], by=("network", "depth", "unit"))


def spans_table(measurements: Sequence[Measurement], networks: Mapping[str, str]) -> str:
    """Return the growth from the last unit to the first, a row a depth, a column a network."""
    ratios = relative_gradients(measurements)
    first = ratios[ratios["unit"] == 0]
    columns = list(dict.fromkeys(first["network"]))
    lines = [table_line(["layers", *(networks[name] for name in columns)]), "|---" * (len(columns) + 1) + "|"]
    for depth, part in first.groupby("depth", sort=False):
        cells = {row["network"]: with_interval(row, "ratio", 2) for row in part.to_dict("records")}
        lines.append(table_line([str(depth), *(cells.get(name, "–") for name in columns)]))
    return "\n".join(lines)


def gains_table(verdicts: pd.DataFrame) -> str:
    """Return the median gain of identity and of transition units, a row a depth."""
    words = {"identity_gain": "identity units", "transition_gain": "transition units"}
    gains = verdicts[verdicts["law"].isin(words)]
    columns = list(dict.fromkeys(zip(gains["network"], gains["law"], strict=True)))
    names = [f"{network}, {words[law]}" for network, law in sorted(columns)]
    lines = [table_line(["layers", *names]), "|---" * (len(names) + 1) + "|"]
    for depth, part in gains.groupby("depth", sort=False):
        cells = {
            (row["network"], row["law"]): with_interval(row, digits=4) for row in part.to_dict("records")
        }
        lines.append(table_line([str(depth), *(cells.get(key, "–") for key in sorted(columns))]))
    return "\n".join(lines)


def summary_table(verdicts: pd.DataFrame) -> str:
    """Return a row a law: in how many depths and stages each verdict was reached."""
    columns = [AGREES, NEAR, DISAGREES, UNDECIDED, OUTSIDE]
    lines = [table_line(["Prediction", "Whose", *columns]), "|---" * (len(columns) + 2) + "|"]
    predicted = verdicts[verdicts["predicted"].notna() & (verdicts["outside"] != COUPLED)]
    for name, law in LAWS.items():
        counts = predicted.loc[predicted["law"] == name, "verdict"].value_counts()
        if len(counts):
            cells = [str(counts.get(verdict, "")) for verdict in columns]
            lines.append(table_line([law.title, law.source, *cells]))
    return "\n".join(lines)


def predictions_table(verdicts: pd.DataFrame) -> str:
    """Return a row a law, network and kind of unit: the deepest network's stages, and a count over depths.

    What has no prediction is left out, and so is the BN mode that a prediction is not about.
    """
    names = ["Prediction", "Network, BN", "Measured [95 %]", "Predicted", "Verdict", "All depths"]
    lines = [table_line(names), "|---" * len(names) + "|"]
    predicted = verdicts[verdicts["predicted"].notna() & (verdicts["outside"] != COUPLED)]
    for name, law in LAWS.items():
        part = predicted[predicted["law"] == name]
        title = f"**{law.title}**: {law.statement} *({law.source})*"
        for _, same in part.groupby(["network", "kind", "bn"], sort=False):
            lines.append(table_line([title, *_cells(same)]))
            title = ""  # said once
    return "\n".join(lines)


def _cells(same: pd.DataFrame) -> list[str]:
    deepest = same[same["depth"] == same["depth"].iloc[-1]]
    rows = deepest.to_dict("records")
    depth, bn = str(rows[0]["depth"]), rows[0]["bn"]
    several = "," in depth
    verdicts = [": ".join(filter(None, (row["verdict"], row["outside"]))) for row in rows]
    judged = same[same["verdict"] != OUTSIDE]
    agreeing = int(judged["verdict"].isin([AGREES, NEAR]).sum())
    predicted = [format_number(float(row["predicted"])) for row in rows]
    return [
        f"{rows[0]['network']}{'' if several else depth}, {bn}" + (f" ({depth} layers)" if several else ""),
        "<br>".join(with_interval(row) for row in rows),
        "<br>".join(_once(predicted)),
        "<br>".join(_once(verdicts)),
        f"{agreeing} of {len(judged)}" if len(judged) else "–",
    ]


def _once(cells: list[str]) -> list[str]:
    return cells if len(set(cells)) > 1 else cells[:1]
