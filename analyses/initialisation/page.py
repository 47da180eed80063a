"""The page of findings: `page.md.jinja`, filled from the tables; no number or verdict is written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from common.pages import render

from gradflow.theory import AGREES, CLOSE, DISAGREES, NEAR, UNDECIDED
from initialisation.drawing import NETWORKS
from initialisation.measuring import DEEP, Measurement
from initialisation.sentences import Sentences
from initialisation.tables import gains_table, predictions_table, spans_table, summary_table

_CAPTIONS = {
    "gradient-norm-by-depth": (
        "Gradient norm relative to the last unit's (BN mode batch); bands are 95 % intervals over seeds. The "
        "last panel has its span, first unit over last, in decades."
    ),
    "pre-activation-laws": (
        "The deepest pre-activation network of each kind (thin: seeds; thick: mean): growth of the signal, "
        "gradient energy against channel variance; below, the fitted exponents at all depths with intervals."
    ),
    "plain-networks": (
        "Plain networks: decades against convolutions (the inset has the shallower networks), and growth a "
        "convolution in each stage with intervals."
    ),
    "shares-and-gains": (
        "Branch share after the first unit of each stage, and what the median identity and transition unit "
        "multiplies the gradient norm by."
    ),
}


def write_page(measurements: Sequence[Measurement], verdicts: pd.DataFrame, figures: Sequence[str]) -> str:
    """Return the page, in Markdown.

    Args:
        measurements: all of them.
        verdicts: what `verdicts.judge` makes of them.
        figures: names of the figures' files, without their endings.
    """
    by_depth = {measurement.case.depth: measurement.case for measurement in measurements}
    networks = list(dict.fromkeys(measurement.case.network for measurement in measurements))
    data = measurements[0].records["batch"].meta["data"]
    said = Sentences(measurements, verdicts)
    return render(
        Path(__file__).with_name("page.md.jinja"),
        kinds=[NETWORKS[name] for name in networks],
        depths=list(by_depth),
        data=str(data["name"]).removeprefix("folder:"),
        split=data["split"],
        has=networks.__contains__,
        sentence=said.sentence,
        tally=said.tally,
        deviations=said.deviations,
        gains_table=lambda: gains_table(verdicts),
        spans_sentence=said.spans,
        trend_sentence=said.trend,
        decades_sentence=said.decades,
        post_activation_sentence=said.post_activation,
        coupling_sentence=said.coupling,
        cancellation_sentence=said.cancellation,
        spans_table=lambda: spans_table(measurements, NETWORKS),
        predictions_table=lambda: predictions_table(verdicts),
        summary_table=lambda: summary_table(verdicts),
        figures={name: _CAPTIONS[name] for name in figures},
        batches="; ".join(
            f"{depth} layers: {case.seeds} seeds, batches of {case.batch_size}"
            for depth, case in by_depth.items()
        ),
        deep=DEEP,
        close=f"{100 * CLOSE:.0f} %",
        AGREES=AGREES,
        NEAR=NEAR,
        DISAGREES=DISAGREES,
        UNDECIDED=UNDECIDED,
    )
