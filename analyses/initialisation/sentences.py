"""Sentences about what was found, each made from the tables' numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from common.tables import with_interval

from gradflow.plots import format_number
from gradflow.theory import AGREES, CLOSE, DISAGREES, NEAR, OUTSIDE, UNDECIDED, UNIT_KINDS, UNPREDICTED
from initialisation.laws import LAWS
from initialisation.measuring import Measurement
from initialisation.tables import relative_gradients

_WORDS = {
    AGREES: "the prediction lies in the measured interval in",
    NEAR: f"outside it but within {100 * CLOSE:.0f} % in",
    DISAGREES: "they disagree in",
    UNDECIDED: "it is undecided in",
}
_INEQUALITY_WORDS = _WORDS | {AGREES: "as predicted in"}
_FORMS = {"by_units": "unit by unit", "padded": "with zero padding counted"}
_NEAR_CANCELLATION = -0.5


class Sentences:
    """What can be said about the measurements.

    Args:
        measurements: all of them.
        verdicts: what `verdicts.judge` makes of them.
    """

    def __init__(self, measurements: Sequence[Measurement], verdicts: pd.DataFrame) -> None:
        self._measurements = measurements
        self._verdicts = verdicts
        ratios = relative_gradients(measurements)
        self._ratios = ratios
        self._first = ratios[ratios["unit"] == 0]

    def sentence(self, law: str, network: str | None = None) -> str:
        """Return what is predicted, and in how many cases it is found."""
        title = LAWS[law].title
        found = self.tally(law, network)
        return f"{_capital(title)}, predicted: {LAWS[law].statement}. Found: {found}."

    def tally(self, law: str, network: str | None = None) -> str:
        """Return in how many depths and stages the prediction holds."""
        part = self._of(law, network)
        judged = part[~part["verdict"].isin([OUTSIDE, UNPREDICTED])]
        outside = int((part["verdict"] == OUTSIDE).sum())
        extra = f" ({outside} more were measured out of its conditions)" if outside else ""
        if judged.empty:
            return f"no case met its conditions{extra}"
        counts = judged["verdict"].value_counts()
        words = _WORDS if LAWS[law].relation == "=" else _INEQUALITY_WORDS
        said = [f"{text} {counts[verdict]}" for verdict, text in words.items() if verdict in counts]
        counted = "networks" if judged["stage"].isna().all() else "stages of networks"
        return f"{', '.join(said)} of {len(judged)} {counted}{extra}"

    def deviations(self, what: str, laws: Sequence[str]) -> str:
        """Return how far the measured values are from each form of a prediction, in the median."""
        words, deviations = [], []
        for law in laws:
            part = self._of(law)
            part = part[part["predicted"].notna() & (part["bn"] == part["bn"].iloc[-1])]
            deviations.append(100 * float(np.median(np.abs(part["value"] / part["predicted"] - 1))))
            form = next((text for ending, text in _FORMS.items() if law.endswith(ending)), "as stated")
            words.append(f"{deviations[-1]:.1f} % {form}")
        before, padded = deviations[-2:]
        effect = (
            " Counting zero padding brings the two closer."
            if padded < before
            else " Counting zero padding takes them further apart."
        )
        median = f"{what} is off the prediction, in the median over all depths and stages,"
        return f"{median} by {', '.join(words)}.{effect}"

    def spans(self) -> str:
        """Return how much the gradient grows over the deepest networks."""
        first = self._first
        deepest = first[first["depth"] == first["depth"].iloc[-1]].to_dict("records")
        ends = ", ".join(f"×{_number(row['ratio'])} in {row['network']}{row['depth']}" for row in deepest)
        growing = int((first["ratio"] > 1).sum())
        return (
            f"In {growing} of {len(first)} networks the gradient norm is larger at the first unit than at "
            f"the last. Between the two it changes by {ends}; the table below has all depths."
        )

    def trend(self) -> str:
        """Return how the gain of identity units nears 1 with depth."""
        rows = self._of("gain_nears_one").to_dict("records")
        if not rows:
            return ""
        slopes = "; ".join(f"{row['network']} ({row['depth']} layers) {with_interval(row)}" for row in rows)
        return f"The slope of ln |ratio − 1| against ln depth, predicted below 0, is: {slopes}."

    def decades(self) -> str:
        """Return the decades of the deepest plain network."""
        plain = [member.case for member in self._measurements if member.case.network == "plain"]
        deepest = max(plain, key=lambda case: int(case.depth.partition("-")[0]))
        mine = self._ratios[
            (self._ratios["network"] == "plain") & (self._ratios["depth"] == deepest.depth)
        ].set_index("unit")
        logs = {f"decades{end}": np.log10(mine.loc[0, f"ratio{end}"]) for end in ("", "_low", "_high")}
        predicted = float(mine.index.max() * np.log10(UNIT_KINDS[deepest.unit].plain_growth))
        return (
            f"Over all of {deepest.name} that makes {with_interval(logs, 'decades')} decades, where r^(K/2) "
            f"a unit would make {_number(predicted)}."
        )

    def post_activation(self) -> str:
        """Return how signal and gradient grow in post-activation networks."""
        parts = []
        for kind in UNIT_KINDS:
            energy, exponent = (
                part[(part["kind"] == kind) & (part["bn"] == bn)]["value"]
                for law, bn in (("energy_growth", "batch"), ("exponent", "frozen"))
                for part in (self._of(law, "resnet"),)
            )
            if len(energy):
                parts.append(
                    f"with {kind} units E[x²] grows by {_number(energy.min())} to {_number(energy.max())} "
                    f"a unit, and ‖g‖² goes with 1 / v to the power of {_number(exponent.min())} to "
                    f"{_number(exponent.max())}"
                )
        shapes = []
        for law in ("polynomial", "earlier_larger"):
            low = self._of(law, "resnet")["value_low"]
            shapes.append(f"{int((low > 0).sum())} of {len(low)}")
        return (
            f"{_capital('; '.join(parts))}. A power law in v fits better than an exponential in l in "
            f"{shapes[0]} stages, and earlier units have the larger gradients in {shapes[1]}."
        )

    def coupling(self) -> str:
        """Return by how much fits differ between the two BN modes."""
        keys = ["law", "network", "depth", "stage"]
        pairs = self._verdicts[self._verdicts["law"].isin(["exponent", "plain_growth"])].pivot_table(
            index=keys, columns="bn", values="value"
        )
        change = (pairs["batch"] / pairs["frozen"] - 1).abs().groupby("network").median()
        words = ", ".join(f"{100 * value:.1f} % ({name})" for name, value in change.items())
        return (
            "In BN mode `batch` the fitted exponents (preact, resnet) and growth (plain) differ from those "
            f"in `frozen`, in the median, by {words}."
        )

    def cancellation(self) -> str:
        """Return the extremes of ρ over all samples."""
        frozen = [m.records["frozen"].units for m in self._measurements if m.case.network != "plain"]
        least = min(float(units["cancellation_min"].min()) for units in frozen)
        most = max(float(units["cancellation_max"].max()) for units in frozen)
        judgement = "no sample comes" if least > _NEAR_CANCELLATION else "single samples do come"
        return (
            f"Over all samples, units, networks and seeds ρ lies between {_number(least)} and "
            f"{_number(most)}: {judgement} near −1."
        )

    def _of(self, law: str, network: str | None = None) -> pd.DataFrame:
        verdicts = self._verdicts[self._verdicts["law"] == law]
        return verdicts if network is None else verdicts[verdicts["network"] == network]


def _number(value: float) -> str:
    return format_number(float(value), 3)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
