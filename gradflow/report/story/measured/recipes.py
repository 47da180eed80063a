"""What a training run's provenance says of its recipe."""

from __future__ import annotations

from typing import Any

from gradflow.report.story.sources import PROVENANCE, Analysis
from gradflow.report.story.values import Value, count


def tell_recipe(analysis: Analysis, network: str) -> dict[str, Any]:
    """Return how many iterations of how many a run made, by which recipe, and its number of classes.

    Raises:
        RecordError: if the provenance names the run and does not say so.
    """
    runs = analysis.provenance.get("runs")
    run = runs.get(network) if isinstance(runs, dict) else None
    if run is None:
        return {"made": None, "length": None, "recipe": "", "classes": None}
    try:
        recipe = run["recipe"]
        made, length, name = float(run["iteration"]), float(recipe["length"]), str(recipe["name"])
        classes = int(run["num_classes"])
    except (KeyError, TypeError, ValueError) as error:
        raise analysis.damaged(
            PROVENANCE, f"the run {network} does not say how far it was trained"
        ) from error

    def quoted(number: float, what: str) -> Value:
        return Value.of(analysis.source.key, PROVENANCE, f"{what} of the run {network}", number, count)

    return {"made": quoted(made, "iteration"), "length": quoted(length, "recipe length"), "recipe": name} | {
        "classes": quoted(classes, "num_classes")
    }
