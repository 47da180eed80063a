"""The scripts of analyses/ can be imported while one of their test files runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

ANALYSES = Path(__file__).parents[2] / "analyses"


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Iterator[None]:
    """The scripts import each other as they do when one of them is run; threads are put back."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ANALYSES))
        yield
    torch.set_num_threads(threads)
