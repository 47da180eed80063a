"""The page of findings: `page.md.jinja`, filled from the tables; no number is written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from common.tables import with_interval
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gradflow.plots import format_number
from gradflow.record import Record
from spectra.measuring import LARGEST, PROBES, Case
from spectra.tables import LAWS, SMALL


def write_page(
    measured: Mapping[Case, Record], depth: str, spans: pd.DataFrame, verdicts: pd.DataFrame
) -> str:
    """Return the page, in Markdown."""
    first = next(iter(measured.values())).meta
    jacobians = pd.concat([record.jacobians for record in measured.values()])
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    rezero = next((record for case, record in measured.items() if case.key == "rezero"), None)
    return environment.get_template("page.md.jinja").render(
        depth=depth,
        titles={case.key: case.title for case in measured},
        data=str(first["data"]["name"]).removeprefix("folder:"),
        seeds=len(first["seeds"]),
        batch=first["batch_size"],
        dtype=first["dtype"],
        largest=LARGEST,
        probes=PROBES,
        spans=spans.to_dict("records"),
        verdicts=verdicts.to_dict("records"),
        laws=LAWS,
        ranges={law: _range(verdicts[verdicts["law"] == law]) for law in LAWS},
        tallies={law: _tally(verdicts[verdicts["law"] == law]) for law in LAWS},
        small=SMALL,
        number=format_number,
        with_interval=with_interval,
        adjoint=format_number(float(jacobians["adjoint_error"].max()), 2),
        off_identity=None if rezero is None else format_number(_off_identity(rezero), 2),
    )


def _range(rows: pd.DataFrame) -> tuple[str, str, int]:
    """Return the least and the largest ratio, and how many there are."""
    return format_number(float(rows["value"].min())), format_number(float(rows["value"].max())), len(rows)


def _tally(rows: pd.DataFrame) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in rows["verdict"].value_counts().items())


def _off_identity(record: Record) -> float:
    """Return the largest |σ − 1| inside the stages of a network whose branches are 0."""
    inside = record.singular_values[record.singular_values["span_start"] > 0]
    return float((inside["singular_value"] - 1).abs().max())
