"""The paper's Tables 1 and 2 at initialisation: how gradients flow before training, beside its errors.

    python analyses/tables_at_initialisation.py --table 1 --data folder:IMAGES --data-name cifar10-jpeg75

measures every case of the table, untrained, with ten seeds each, checks the equations on one, and writes
figures, numbers, provenance and a page to `reports/table1_at_initialisation/`. What was measured is kept
under `--work`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pandas as pd
import provenance
import torch
from common.images import Images, load_batch
from common.keeping import measure_all
from common.options import COUNT, image_options, run_options
from common.refusal import in_one_line
from common.tables import to_csv
from common.writing import Result, write_result
from paper_tables.cases import CASES
from paper_tables.figures import draw_figures
from paper_tables.measuring import measure_checks, measure_units
from paper_tables.page import write_page
from paper_tables.summary import summarise_cases, summarise_checks, summarise_units


@click.command(context_settings={"show_default": True})
@image_options
@click.option("--table", type=click.IntRange(1, 2), default=1, help="Which of the paper's tables.")
@click.option("--depth", type=COUNT, help="Layers, for a trial; by default the table's own.")
@click.option("--seeds", type=COUNT, default=10, help="How many.")
@click.option("--batch-size", type=COUNT, default=8, help="Images a batch.")
@click.option("--check-batch-size", type=COUNT, default=2, help="The same where equations are checked.")
@run_options(
    "tables_at_initialisation",
    out="Where the result goes; by default reports/table1_at_initialisation or its like.",
)
def main(
    data: str,
    data_name: str | None,
    table: int,
    depth: int | None,
    seeds: int,
    batch_size: int,
    check_batch_size: int,
    threads: int,
    work: Path,
    out: Path | None,
    redraw: bool,
) -> None:
    """Measure the untrained networks of one of the paper's tables side by side."""
    torch.set_num_threads(threads)
    out = out or Path(f"reports/table{table}_at_initialisation")
    images = Images(data, data_name)
    cases = {case.name: case for case in (case.at_depth(depth) for case in CASES) if case.table == table}
    same = {"data": images.shown, "what": "units", "batch_size": batch_size}
    checked = {**same, "what": "checks", "batch_size": check_batch_size}

    def measure(key: Mapping[str, Any]) -> pd.DataFrame:
        inputs, targets, _ = load_batch(images, key["batch_size"], key["seed"])
        by_kind = measure_units if key["what"] == "units" else measure_checks
        return by_kind(cases[key["case"]], inputs, targets, key["seed"])

    with in_one_line():
        each = [{"case": name, "seed": seed, **same} for name in cases for seed in range(seeds)]
        units = measure_all(work, each, measure, redraw=redraw)
        once = [{"case": name, "seed": 0, **checked} for name in cases]
        checks = measure_all(work, once, measure, redraw=redraw)
        by_unit, by_case = summarise_units(units), summarise_cases(units)
        equations = summarise_checks(checks)
        figures = draw_figures(list(cases.values()), by_unit)
        tables = {"numbers.csv": to_csv(by_unit), "cases.csv": to_csv(by_case)}
        tables["equations.csv"] = to_csv(equations)
        told = provenance.describe_machine(["python", *sys.argv])
        told |= {"data": images.shown, "seeds": f"0-{seeds - 1}"}
        told |= {"dtype": "float32; float64 without shortcuts and for checks"}
        page = write_page(
            list(cases.values()), by_case, equations, images.shown, seeds, batch_size, check_batch_size
        )
        write_result(out, Result(figures, tables, told, page), redraw=redraw)
    click.echo(f"wrote {out / 'README.md'}")


if __name__ == "__main__":
    main()
