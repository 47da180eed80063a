"""What every analysis says about itself, and how it writes its output.

Where somebody keeps his files is nobody's business: paths in the command are masked to their last
names, and images are named, not located.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import gradflow
from gradflow.record import Record, mask_paths
from gradflow.record.files import explained, write_file

_PACKAGES = ("torch", "numpy", "scipy", "pandas", "matplotlib", "pillow")


def describe(
    command: Sequence[str], records: Iterable[Record], *, data: str, seeds: Mapping[str, str]
) -> dict[str, Any]:
    """Return an analysis's provenance, ready for JSON.

    Args:
        command: the command line, in words; paths in it are masked.
        records: everything that was measured.
        data: the name of the images.
        seeds: by network, in words.

    Returns:
        `command`, `data`, `seeds`, `measured` (first and last day), `written`, `devices`, `dtypes`,
        `threads`, `versions` (of what measured) and `written_with`.
    """
    metas = [record.meta for record in records]
    days = sorted(str(meta["created"])[:10] for meta in metas)
    return {
        "command": mask_paths(command),
        "data": data,
        "seeds": dict(seeds),
        "measured": sorted({days[0], days[-1]}),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "devices": sorted({meta["device"] for meta in metas}),
        "dtypes": sorted({meta["dtype"] for meta in metas}),
        "threads": sorted({meta["threads"] for meta in metas}),
        "versions": {
            name: ", ".join(sorted({meta["versions"][name] for meta in metas if name in meta["versions"]}))
            for name in sorted({name for meta in metas for name in meta["versions"]})
        },
        "written_with": {
            "gradflow": gradflow.__version__,
            "python": platform.python_version(),
            **{name: found for name in _PACKAGES if (found := _version(name))},
        },
    }


def describe_machine(command: Sequence[str]) -> dict[str, Any]:
    """Return where timings came from, ready for JSON.

    Args:
        command: the command line, in words; paths in it are masked.

    Returns:
        `command`, `written`, `cores`, `threads`, `machine` and `versions`.
    """
    return {
        "command": mask_paths(command),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "versions": {
            "gradflow": gradflow.__version__,
            "python": platform.python_version(),
            **{name: found for name in _PACKAGES if (found := _version(name))},
        },
    }


def to_json(value: Any) -> bytes:
    """Return `value` as indented JSON."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def write_output(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` into `folder`, each whole or not at all; other files there are left alone.

    Raises:
        RecordError: if the folder cannot be made or written.
    """
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_file(folder / name, content)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
