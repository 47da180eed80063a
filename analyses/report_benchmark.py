"""What a report costs: time and memory to make one on long training runs, and until a browser shows it.

The runs are made of a few measured probes (`reporting/records.py` says how). Run it on a machine that
does nothing else:

    python analyses/report_benchmark.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # scripts are run by path, and share modules

from benchmark.page import limits_table, made_by
from provenance import describe_machine, to_json, write_output
from reporting.measuring import time_paint, time_reading, time_report
from reporting.records import SEEDS, save_runs

from gradflow.record import Record, load_record

NETWORK, PROBES, RUNS = "preact164", 640, 20
DEEP, DEEP_PROBES = "preact1001", 1000
TIMES = (1, 2, 4, 8)
"""Reading is timed of runs with so many times the probes: the least is where constant costs show most."""


@click.command()
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Fresh processes.")
@click.option("--network", default=NETWORK, show_default=True)
@click.option("--deep", default=DEEP, show_default=True, help="The network with a thousand layers.")
@click.option("--probes", type=click.IntRange(min=8), default=PROBES, show_default=True)
@click.option("--deep-probes", type=click.IntRange(min=8), default=DEEP_PROBES, show_default=True)
@click.option("--runs", type=click.IntRange(min=1), default=RUNS, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reports/report_benchmark"),
    show_default=True,
)
def main(repeats: int, network: str, deep: str, probes: int, deep_probes: int, runs: int, out: Path) -> None:
    """Measure what reports cost, and write numbers and provenance to a folder."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = _measure(folder, network, "0-9", 32, checked=True)
        found["one"] = _report(rows, folder / "one", 1, probes, repeats)
        found["paint"] = time_paint(folder / "one" / "out" / "report.html", max(repeats, 3))
        found["many"] = _report(rows, folder / "many", runs, probes, 1)
        found["reading"] = _reading(rows, folder, probes, repeats)
        deep_rows = _measure(folder, deep, "0", 2, checked=False)
        found["deep"] = _report(deep_rows, folder / "deep", 1, deep_probes, 1)
        found["deep paint"] = time_paint(folder / "deep" / "out" / "report.html", 1)
    found["provenance"] = describe_machine([Path(sys.argv[0]).name, *sys.argv[1:]])
    page = _page(found, network, deep)
    write_output(out, {"numbers.json": to_json(found), "README.md": page.encode()})
    print(page)


def _measure(folder: Path, network: str, seeds: str, batch: int, *, checked: bool) -> Record:
    """Return probes of `network` under `seeds`, with the equation checks of the first seed."""
    probes = _run("probe", network, seeds, batch, folder / f"probes-{network}")
    if not checked:
        return probes
    return replace(probes, checks=_run("check", network, "0", batch, folder / f"checks-{network}").checks)


def _run(command: str, network: str, seeds: str, batch: int, path: Path) -> Record:
    words = [sys.executable, "-m", "gradflow", command, "--model", network, "--seeds", seeds]
    subprocess.run([*words, "--batch-size", str(batch), "--out", str(path)], check=True, capture_output=True)
    return load_record(path)


def _report(rows: Record, folder: Path, runs: int, probes: int, repeats: int) -> dict[str, Any]:
    made = save_runs(rows, folder / "runs", runs, probes)
    return {"runs": runs, "probes": probes, "rows": made} | time_report(
        folder / "runs", folder / "out", repeats
    )


def _reading(rows: Record, folder: Path, probes: int, repeats: int) -> dict[str, Any]:
    counts, times = [], []
    for many in TIMES:
        place = folder / f"times-{many}"
        counts.append(save_runs(rows, place, 1, probes * many))
        times.append(time_reading(next(place.iterdir()), repeats))
        shutil.rmtree(place)
    slope = float(np.polyfit(np.log(counts), np.log(times), 1)[0])
    return {"rows": counts, "cpu_s": times, "exponent": slope}


def _time(found: dict[str, Any]) -> str:
    return f"{found['seconds']:.1f} s ({found['cpu_s']:.1f} s of CPU)"


def _page(found: dict[str, Any], network: str, deep: str) -> str:
    one, many, deepest, paint = (found[key] for key in ("one", "many", "deep", "paint"))
    reading = found["reading"]
    least, most = reading["cpu_s"][0], reading["cpu_s"][-1]
    told = f"{one['probes']} probes of {network}, {one['rows']:,} rows"
    told_deep = f"{deepest['probes']} probes of {deep}, {deepest['rows']:,} rows"
    rows = [
        (f"`gradflow report` on a training run ({told})", f"{_time(one)}", "15 s"),
        ("its peak memory", f"{one['peak_MiB'] / 1024:.2f} GiB", "1 GB"),
        ("its page", f"{one['page_MB']:.1f} MB", "8 MB"),
        ("whether it loads torch", "yes" if one["torch"] else "no", "no"),
        (f"on {many['runs']} such runs ({many['rows']:,} rows)", f"{_time(many)}", "60 s"),
        ("its peak memory", f"{many['peak_MiB'] / 1024:.2f} GiB", "–"),
        ("its page", f"{many['page_MB']:.1f} MB", "–"),
        (
            f"CPU time to read a run of {reading['rows'][0]:,} rows, and of {reading['rows'][-1]:,}",
            f"{least:.2f} s, {most:.2f} s: as rows to the {reading['exponent']:.2f}",
            "to the 1",
        ),
        (
            f"`gradflow report` on a run of a thousand layers ({told_deep})",
            f"{_time(deepest)}, {deepest['peak_MiB'] / 1024:.2f} GiB, {deepest['page_MB']:.1f} MB",
            "it works",
        ),
    ]
    if paint is not None:
        rows += [
            ("first contentful paint of the page, in chromium", f"{paint['first']:.2f} s", "1 s"),
            ("largest contentful paint, the page not being scrolled", f"{paint['largest']:.2f} s", "–"),
            ("from scrolling to the interactive view until it is drawn", f"{paint['explored']:.2f} s", "–"),
        ]
    return (
        "# What a report costs\n\n"
        f"Each training run is made of {SEEDS} measured probes of the network under as many seeds (of the "
        "deep one: of one), with the equation checks of the first seed: probe k is one of them, its norms "
        "times a smooth factor that turns over the run, every number times noise of 2 %, so that tables are "
        "as hard to compress as measured ones. Steps are 100 a probe. Every report is made by a fresh "
        "process, and its time includes the start; memory is the process’s peak; medians.\n\n"
        f"{limits_table(rows)}\n\n"
        f"{made_by(found['provenance'])}"
    )


if __name__ == "__main__":
    main()
