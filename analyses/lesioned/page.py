"""The page of findings: `page.md.jinja`, filled from the records; no number is written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common.tables import with_interval
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gradflow.plots import Network, format_number
from gradflow.record import Record
from gradflow.statistics import effective_lengths
from lesioned.measuring import DRAWS, LESION_BATCH, PATH_BATCH, SAMPLES, TEST_IMAGES, Case


def write_page(
    paths: Mapping[Case, Record],
    lesions: Mapping[Case, Record],
    networks: Mapping[Case, Network],
    errors: Mapping[Case, float],
) -> str:
    """Return the page, in Markdown.

    Args:
        paths: the record of paths of each case.
        lesions: the record of lesions of each.
        networks: the latter's averages.
        errors: of the trained ones, on many test images.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    lengths = [_lengths(case, record) for case, record in paths.items()]
    first = next(iter(lesions.values())).meta
    counts = {case.title: len(record.meta["seeds"]) for case, record in paths.items()}
    return environment.get_template("page.md.jinja").render(
        data=str(first["data"]["name"]).removeprefix("folder:"),
        checkpoints=[_checkpoint(case, error) for case, error in errors.items()],
        lengths=lengths,
        paths_sentence=_sentence(lengths),
        lesions=[_lesions(case, networks[case]) for case in lesions],
        test_images=f"{TEST_IMAGES:,}",
        path_batch=PATH_BATCH,
        lesion_batch=LESION_BATCH,
        samples=SAMPLES,
        draws=DRAWS,
        repetitions=", ".join(f"{title} {count}" for title, count in counts.items()),
    )


def _checkpoint(case: Case, error: float) -> dict[str, Any]:
    assert case.checkpoint is not None
    return {
        "network": case.network,
        "sha256": case.checkpoint.sha256,
        "iteration": case.checkpoint.iteration,
        "error": f"{error:.3f}",
    }


def _lengths(case: Case, record: Record) -> dict[str, Any]:
    effective = effective_lengths(record.paths)
    by_seed = record.paths.pivot_table(index="seed", columns="length", values="gradient")
    ratio = np.log(by_seed[by_seed.columns.max()] / by_seed[0])
    return {
        "title": case.title,
        "trained": case.checkpoint is not None,
        "units": case.units,
        "half": case.units / 2,
        "weighted": float(effective["length"].mean()),
        "slope": float(ratio.mean()),
        "mean": format_number(case.units / 2),
        "effective": f"{format_number(effective['length'].mean())} (SD {effective['length'].std():.2g})",
        "shortest": format_number(float(effective["shortest"].median())),
        "longest": format_number(float(effective["longest"].median())),
        "ratio": format_number(float(np.exp(ratio.mean()))),
    }


def _sentence(lengths: list[dict[str, Any]]) -> str:
    """Say for trained and untrained networks whether the gradient falls with length, as Veit found."""
    words = []
    for trained, name in ((True, "trained"), (False, "untrained")):
        own = [row for row in lengths if row["trained"] == trained]
        falls = sum(row["slope"] < 0 for row in own)
        shorter = sum(row["weighted"] < row["half"] for row in own)
        if own:
            words.append(
                f"Of {len(own)} {name} network{'s' if len(own) > 1 else ''}, the gradient along the longest "
                f"path is smaller than along the shortest in {falls}, and the weighted mean length is below "
                f"that of all paths in {shorter}."
            )
    return " ".join(words) + " Veit et al. found both, in a trained ResNet-110."


def _lesions(case: Case, network: Network) -> dict[str, Any]:
    frame = network.lesions
    single = frame[(frame["lesion"] == "remove") & (frame["count"] == 1)].sort_values("error")
    worst = single.to_dict("records")[-1]
    return {
        "title": case.title,
        "whole": _error(frame[frame["lesion"] == "none"]),
        "median": format_number(float(single["error"].median())),
        "most": with_interval(worst, "error"),
        "worst": worst["units"],
        "several": _several(frame, "remove"),
        "exchanged": _several(frame, "reorder"),
    }


def _several(frame: pd.DataFrame, kind: str) -> str:
    chosen = frame[(frame["lesion"] == kind) & frame["units"].isna()].sort_values("count")
    return "<br>".join(f"{row['count']}: {with_interval(row, 'error')}" for row in chosen.to_dict("records"))


def _error(rows: pd.DataFrame) -> str:
    return with_interval(rows.to_dict("records")[0], "error")
