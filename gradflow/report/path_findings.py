"""Sentences about Jacobians, paths and lesions: what only some records hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradflow.plots import Network
from gradflow.record import Record
from gradflow.statistics import effective_lengths, last_iteration
from gradflow.wording import format_number as number


def describe_spectrum(network: Network) -> Iterator[str]:
    """Yield the sentences about the singular values of branches and spans."""
    values, jacobians = network.singular_values, network.jacobians
    branches = jacobians[jacobians["jacobian"] == "branch"]
    if len(branches):
        rms = branches["root_mean_square"]
        words = f"a root mean square singular value of {number(rms.min())} to {number(rms.max())}"
        largest = values[(values["jacobian"] == "branch") & (values["order"] == 1)]["singular_value"]
        if len(largest):
            words += f", and the largest lies between {number(largest.min())} and {number(largest.max())}"
        yield f"The Jacobians ∂F/∂x of {len(branches)} branches have {words}."
    spans = values[values["jacobian"] == "span"]
    for row in jacobians[jacobians["jacobian"] == "span"].to_dict("records"):
        start, end = row["span_start"], row["span_end"]
        words = f"the root mean square singular value is {number(row['root_mean_square'])}"
        own = spans[(spans["span_start"] == start) & (spans["span_end"] == end)].set_index("order")
        for order, name in ((1, "largest"), (-1, "smallest")):
            if order in own.index:
                words += f", the {name} {number(float(own.loc[order, 'singular_value']))}"
        yield f"From x{start} to x{end} {words}."


def describe_paths(record: Record) -> Iterator[str]:
    """Yield the sentence about the lengths of the paths that the gradient comes through."""
    paths = last_iteration(record.paths)
    effective = effective_lengths(paths)
    if effective.empty or not np.isfinite(effective["length"]).any():
        return
    count = int(paths["units"].max())
    shortest, longest = (number(float(effective[end].median())) for end in ("shortest", "longest"))
    mean = number(float(effective["length"].mean()))
    yield (
        f"Of all paths through the {count} units, those with {shortest} to {longest} branches bring nine "
        f"tenths of the sum of gradient norms; weighted by it, a path has {mean} branches, where the mean of "
        f"all paths is {number(count / 2)}."
    )


def describe_lesions(network: Network) -> Iterator[str]:
    """Yield the sentences about units left out or exchanged."""
    lesions = network.lesions
    if lesions.empty:
        return
    column = "error" if lesions["error"].notna().all() else "loss"
    whole = number(float(lesions.loc[lesions["lesion"] == "none", column].iloc[0]))
    single = lesions[(lesions["lesion"] == "remove") & (lesions["count"] == 1)]
    if len(single):
        worst = single.sort_values(column).to_dict("records")[-1]
        median, most = number(single[column].median()), number(worst[column])
        yield (
            f"With all units the {column} is {whole}; with one left out it is {median} in the median, and at "
            f"most {most}, without unit {worst['units']}."
        )
    for kind, what in (("remove", "units left out together"), ("reorder", "pairs of units exchanged")):
        several = lesions[(lesions["lesion"] == kind) & lesions["units"].isna()]
        if len(several):
            last = several.sort_values("count").to_dict("records")[-1]
            yield f"With {last['count']} {what} the {column} is {number(last[column])}."
