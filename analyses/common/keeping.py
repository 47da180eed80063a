"""Measurements kept on disk, one table a case and seed, so that a run takes up where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch

import gradflow
from gradflow.errors import RecordError
from gradflow.record.files import explained, write_file


def kept(
    work: Path, key: Mapping[str, Any], measure: Callable[[], pd.DataFrame], *, redraw: bool = False
) -> pd.DataFrame:
    """Return what was measured under `key` before, else measure it now.

    Args:
        work: directory of measurements.
        key: everything that decides the numbers, in JSON's types; versions are added.
        measure: makes the table.
        redraw: take what was measured by whichever versions, and measure nothing.

    Raises:
        RecordError: if `work` cannot be written, or nothing was measured and `redraw` forbids it.
    """
    full = {**key, "gradflow": gradflow.__version__, "torch": torch.__version__}
    name = "-".join(str(value).replace("/", "_").replace(":", "_") for value in key.values())
    table, told = work / f"{name}.parquet", work / f"{name}.json"
    with explained(work):
        if table.is_file() and told.is_file():
            made = json.loads(told.read_text(encoding="utf-8"))
            if made == full or (redraw and made.items() >= dict(key).items()):
                return pd.read_parquet(table)
        if redraw:
            raise RecordError(f"'{table}' was not measured: give --work as it was, or leave out --redraw")
        frame = measure()
        buffer = BytesIO()
        frame.to_parquet(buffer, index=False)
        work.mkdir(parents=True, exist_ok=True)
        write_file(table, buffer.getvalue())
        write_file(told, json.dumps(full).encode())  # last, for it completes the measurement
    return frame


def measure_all(
    work: Path,
    keys: Sequence[Mapping[str, Any]],
    measure: Callable[[Mapping[str, Any]], pd.DataFrame],
    *,
    redraw: bool = False,
) -> pd.DataFrame:
    """Return the tables of all `keys` one below the other, each with its key's values as columns."""
    frames = []
    for number, key in enumerate(keys, start=1):
        click.echo(f"{number}/{len(keys)} {', '.join(map(str, key.values()))}", err=True)
        frames.append(kept(work, key, lambda key=key: measure(key), redraw=redraw).assign(**key))
    return pd.concat(frames, ignore_index=True)
