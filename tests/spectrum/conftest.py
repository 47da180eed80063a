"""Random numbers that these tests draw are the same on every run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gradflow.determinism import seeded


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Weights and inputs that a test does not seed itself repeat."""
    with seeded(0):
        yield
